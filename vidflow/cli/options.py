"""Options that several commands share, word for word."""

from pathlib import Path
from typing import Annotated, Literal

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")]
Classes = Annotated[
    Path | None, typer.Option("--classes", help="File with one class name per line, in the order of the labels.")
]
EditedOut = Annotated[str, typer.Argument(help="Where to write the new one: a folder or s3://BUCKET/PREFIX.")]
GroupRegex = Annotated[
    str | None,
    typer.Option("--group-regex", help="Clips whose file names start alike stay in one split: '(.+)_clip\\d+'."),
]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="CSV column of the labels.")]
MaxBytes = Annotated[int, typer.Option("--max-bytes", help="Bytes per shard.")]
MaxCount = Annotated[int, typer.Option("--max-count", help="Samples per shard.")]
MaxRejects = Annotated[int | None, typer.Option("--max-rejects", help="Stop at more rejected samples than this.")]
NumClasses = Annotated[
    int | None, typer.Option("--num-classes", help="Number of classes where labels are numbers without names.")
]
OnDamage = Annotated[
    Literal["error", "conceal"],
    typer.Option("--on-damage", help="error: reject damaged videos. conceal: keep and count what decodes."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what another command has packed there.")]
PackedOut = Annotated[
    str, typer.Option("--out", help="Where to write the packed data set: a folder or s3://BUCKET/PREFIX.")
]
PackedRoot = Annotated[str, typer.Argument(help="Packed data set.")]
Profile = Annotated[
    str, typer.Option("--profile", help="copy: keep the bytes. train: H.264, GOP 16. intra: all key frames.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the order of samples, and of --split.")]
Shuffle = Annotated[bool, typer.Option("--shuffle/--no-shuffle", help="Mix the samples of a split.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes (default: one per CPU).")]
PackedPart = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="I/N",
        help="Pack the I-th of N parts, into a folder of its own below --out; `vidflow merge` joins them.",
    ),
]
Skeletons = Annotated[
    Path | None,
    typer.Option(
        "--skeletons",
        metavar="DIR|PKL",
        help="Pack people's skeletons with the videos: the folder that `vidflow extract pose` wrote, or a pickle.",
    ),
]
