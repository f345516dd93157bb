"""``vidflow demo-data``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def demo_data(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("data/demo"),
    clips: Annotated[int, typer.Option("--clips", help="Clips over all classes and splits, a multiple of 12.")] = 240,
    size: Annotated[int, typer.Option("--size", help="Side of the square frames in pixels.")] = 96,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other textures and motions.")] = 0,
) -> None:
    """Write the embedded data set: short clips in six classes that differ by motion alone.

    Running it again keeps the clips that are there and writes the missing ones.
    """
    from vidflow.cli.console import print_line, progress
    from vidflow.demo import write_demo_data

    with progress("demo data", clips, unit="clips") as bar:
        advance = partial(bar.advance, bar.task_ids[0])
        written = write_demo_data(out, num_clips=clips, size=size, seed=seed, on_clip=advance)
    print_line(f"{out}: {clips} clips, {written} written now")
