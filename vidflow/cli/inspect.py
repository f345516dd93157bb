"""``vidflow inspect``."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vidflow.shards.inspection import Inspection

_MAX_CLASSES = 20
_MAX_VALUES = 6


def inspect(
    root: Annotated[str, typer.Argument(help="A packed data set: a folder, s3://... or http(s)://...")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
) -> None:
    """Show what a packed data set holds: counts, classes, sizes, codecs, durations, and what was rejected."""
    from vidflow.cli.console import errors, print_json
    from vidflow.dataset import PackedDataset
    from vidflow.shards.inspection import inspect_dataset

    report = inspect_dataset(PackedDataset.open(root))
    if as_json:
        print_json(report.table())
        return
    _print(report)
    for warning in report.warnings:
        errors.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


def _print(report: "Inspection") -> None:
    from rich.table import Table

    from vidflow.cli.console import out

    kind = "multi-label" if report.multi_label else "single-label"
    out.print(
        f"{report.name}: {report.num_classes} classes, {kind}, profile {report.profile}", markup=False, highlight=False
    )

    splits = Table("split", "samples", "frames", "hours", "MB", "shards")
    for name, split in report.splits.items():
        hours, megabytes = f"{split.duration / 3600:.2f}", f"{split.size / 1e6:.1f}"
        splits.add_row(name, str(split.num_samples), str(split.num_frames), hours, megabytes, str(split.num_shards))
    out.print(splits)

    classes = Table("class", *report.splits)
    names = list(next(iter(report.splits.values())).classes)
    for class_name in names[:_MAX_CLASSES]:
        classes.add_row(class_name, *(str(split.classes[class_name]) for split in report.splits.values()))
    if len(names) > _MAX_CLASSES:
        classes.add_row(f"... and {len(names) - _MAX_CLASSES} more (--json)", *("" for _ in report.splits))
    out.print(classes)

    numbers = Table("per sample", "min", "5 %", "median", "95 %", "max")
    for title, value in (
        ("frames", report.num_frames),
        ("seconds", report.duration),
        ("frames per second", report.fps),
        ("bytes", report.sample_bytes),
        ("longest GOP, frames", report.longest_gop),
        ("people", report.num_people),
        ("steps", report.num_steps),
        ("mel frames", report.num_mel_frames),
    ):
        if value is None:  # no sample is of a kind that has it
            continue
        numbers.add_row(title, *(f"{number:g}" if number < 1e5 else f"{number:.0f}" for number in vars(value).values()))
    out.print(numbers)

    kinds = Table("samples by", "")
    for title, counts in (
        ("kind", report.kinds),
        ("layout", report.layouts),
        ("sample rate", report.sample_rates),
        ("codec", report.codecs),
        ("container", report.containers),
        ("pixel format", report.pixel_formats),
        ("size", report.resolutions),
        ("rotation", report.rotations),
    ):
        if counts:
            kinds.add_row(title, _listed(counts))
    for title, count in (
        ("variable frame rate", report.num_variable_frame_rate),
        ("not seekable", report.num_not_seekable),
        ("damaged, concealed", report.num_damaged),
        ("with sound", report.num_with_audio),
        ("wrong header", report.num_wrong_headers),
    ):
        if "video" in report.kinds:
            kinds.add_row(title, str(count))
    for title, count in (
        ("segments", report.num_segments),
        ("boxes", report.num_boxes),
        ("captions", report.num_captions),
        ("moments", report.num_moments),
        ("questions", report.num_questions),
    ):
        if count:
            kinds.add_row(title, str(count))
    kinds.add_row("rejected", str(report.num_rejected))
    for reason, count in list(report.rejected_reasons.items())[:_MAX_VALUES]:
        kinds.add_row("", f"{count} x {reason}".replace("[", r"\["))
    out.print(kinds)


def _listed(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{value}: {count}" for value, count in list(counts.items())[:_MAX_VALUES])
    return shown + (f", and {len(counts) - _MAX_VALUES} more" if len(counts) > _MAX_VALUES else "")
