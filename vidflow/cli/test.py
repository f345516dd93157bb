"""``vidflow test``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vidflow.cli.console import print_json, print_line


def run_test(
    run: Annotated[Path, typer.Option("--run", help="Folder of a run, such as runs/tsm.")],
    checkpoint: Annotated[
        str, typer.Option(help="best, last, or the path of a weights file or checkpoint folder.")
    ] = "best",
    split: Annotated[
        str | None, typer.Option(help="Split to test on.", show_default="the config's data.test_split")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the run's config; repeatable."),
    ] = None,
    dump: Annotated[Path | None, typer.Option(help="Parquet file for the scores of all samples.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test a trained run: top-1, top-5, mean class accuracy and macro-F1, or mAP for multi-label sets."""
    from vidflow.engine.runs import RunFolder
    from vidflow.engine.testing import evaluate_run

    folder = RunFolder(run)
    report = evaluate_run(folder, folder.config(set_ or []), checkpoint=checkpoint, split=split, dump=dump)
    if not report.is_main_process:
        return
    if as_json:
        values = asdict(report)
        del values["is_main_process"]
        print_json(values)
        return
    print_line(f"{report.weights} on {report.split}, {report.num_samples} samples")
    for name, value in report.metrics.items():
        print_line(f"  {name:<26} {value:.4f}")
