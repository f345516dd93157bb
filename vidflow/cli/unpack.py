"""``vidflow unpack``."""

from pathlib import Path
from typing import Annotated

import typer

from vidflow.cli.options import AsJson, PackedRoot, Quiet


def unpack(
    root: PackedRoot,
    out: Annotated[Path, typer.Argument(help="Folder to write files to.")],
    split: Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")] = None,
    where: Annotated[
        str, typer.Option("--where", help="Only samples that this query keeps, such as 'duration > 2 and label < 200'.")
    ] = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the samples of a packed data set as files again, with a list that `vidflow shard --annotations` takes.

    Files that are there with the same content are kept, so that an interrupted run can go on; others are never
    overwritten.
    """
    from dataclasses import asdict

    from vidflow.cli.console import errors, print_json, print_line, print_warning, progress
    from vidflow.dataset import PackedDataset
    from vidflow.shards.packed_samples import choose
    from vidflow.shards.unpacking import CLASSES_NAME, LIST_NAME, SKELETONS_NAME
    from vidflow.shards.unpacking import unpack as run

    dataset = PackedDataset.open(root)
    positions = choose(dataset, split, where)
    with progress("unpacking", len(positions), quiet=quiet or not errors.is_terminal) as bar:
        report = run(dataset, out, positions, on_progress=lambda done: bar.update(bar.task_ids[0], completed=done))
    for warning in report.warnings:
        print_warning(warning)
    if as_json:
        print_json({"out": str(out), **asdict(report)})
        return
    kept = f", {report.num_kept} were there already" if report.num_kept else ""
    print_line(f"{out}: {report.num_samples} samples, {report.size / 1e6:.1f} MB{kept}")
    kinds = set(dataset.column("kind")[positions].tolist())
    # Arrays lie under other names than the list has, and several kinds need several commands.
    if (out / LIST_NAME).exists() and kinds in ({"video"}, {"audio"}, {"frames"}):
        kind = "" if kinds == {"video"} else f"--kind {kinds.pop()} "
        multi = " --multi-label" if dataset.info.multi_label else ""
        if (skeletons := out / SKELETONS_NAME).is_dir():
            multi += f" --skeletons {skeletons}"
        lists = f"--annotations {out / LIST_NAME} --classes {out / CLASSES_NAME}{multi}"
        print_line(f"  pack them again: vidflow shard {kind}{lists} --out DIR")
