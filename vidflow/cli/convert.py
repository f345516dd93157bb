"""``vidflow convert``."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="File of weights: .pth of MMAction2, TSM's authors or torchvision, or safetensors; path or URL."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="File to write, *.safetensors.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Name of the model, such as tsm-r50; by default the one that fits.")
    ] = None,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Join the branches of training into single convolutions (MobileOne).")
    ] = False,
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="Skeleton layout, such as kinect20, where the file's keypoints fit several."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Turn a file of weights into safetensors with vidflow's names, without running what a pickle holds."""
    from vidflow.cli.console import out as stdout
    from vidflow.cli.console import print_json, progress
    from vidflow.models.weights.convert import convert as convert_file
    from vidflow.models.weights.source import is_url

    with progress("download", None, unit="bytes", quiet=not is_url(source)) as bar:
        report = convert_file(
            source,
            out,
            model=model,
            deploy=deploy,
            layout=layout,
            on_bytes=lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total),
        )
    if json:
        print_json(report.as_dict())
        return
    lines = [f"{source}: {report.format}, names of {report.origin}, {report.num_tensors} tensors"]
    if report.model:
        options = ", ".join(f"{name} {value}" for name, value in report.options.items())
        lines.append(f"model: {report.model} ({options})")
    if report.head_missing:
        fits = f"; it fits {', '.join(report.candidates)}" if report.candidates else ""
        lines.append(f"a backbone without a head, to fine-tune from{fits}")
    if report.left_out:
        shown = ", ".join(report.left_out[:6]) + (
            f" and {len(report.left_out) - 6} more" if len(report.left_out) > 6 else ""
        )
        lines.append(f"left out, since the model has no such part: {shown}")
    lines.append(f"wrote {report.out}")
    for line in lines:
        stdout.print(line, markup=False, highlight=False, soft_wrap=True)
