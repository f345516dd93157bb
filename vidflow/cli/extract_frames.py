"""``vidflow extract frames``, and the options that it shares with ``vidflow extract flow``."""

from typing import Annotated, Literal

import typer

from vidflow.cli.extract_run import MaxFailures, Out, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers

Fps = Annotated[
    float | None,
    typer.Option("--fps", help="What is on screen this often per second (default: every frame that the video has)."),
]
ShortSide = Annotated[int | None, typer.Option("--short-side", help="Shrink to this short side in pixels.")]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Scale to this size, whatever the aspect.")]
Quality = Annotated[int, typer.Option("--quality", help="Of JPEG, 1 to 100.")]
Format = Annotated[Literal["jpg", "png"], typer.Option("--format", help="Of the frames.")]
Template = Annotated[
    str | None, typer.Option("--template", help="Names of the frames, numbered from 1 (default: img_{:05d}.jpg).")
]
OnDamage = Annotated[
    Literal["error", "conceal"],
    typer.Option("--on-damage", help="error: a damaged video fails. conceal: take what decodes."),
]


def frames(
    src: Src,
    out: Out,
    fps: Fps = None,
    short_side: ShortSide = None,
    size: Size = None,
    quality: Quality = 95,
    format: Format = "jpg",
    template: Template = None,
    on_damage: OnDamage = "error",
    workers: Workers = None,
    max_failures: MaxFailures = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the frames of each video into a folder of its own: VIDEO/img_00001.jpg, ...

    Frames are upright. Running the same command again does only what is left; files that do not decode are listed in
    failed.jsonl.
    """
    from vidflow.cli.extract_run import run_extraction
    from vidflow.shards.extraction.frames import FrameOptions, frame_jobs, frame_work, parse_size

    options = FrameOptions(
        fps=fps,
        short_side=short_side,
        size=None if size is None else parse_size(size),
        quality=quality,
        format=format,
        template=template,
        on_damage=on_damage,
    )
    run_extraction(
        src=src,
        out=out,
        command="frames",
        jobs_of=frame_jobs,
        work=frame_work(options),
        options=options.table(),
        unit="videos",
        workers=workers,
        max_failures=max_failures,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )
