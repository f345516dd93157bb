"""``vidflow extract flow``."""

from typing import Annotated, Literal

import typer

from vidflow.cli.extract_frames import Format, Fps, OnDamage, Quality, ShortSide, Size, Template
from vidflow.cli.extract_run import MaxFailures, Out, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers


def flow(
    src: Src,
    out: Out,
    algorithm: Annotated[
        Literal["dis", "tvl1", "farneback"], typer.Option("--algorithm", help="tvl1 needs opencv-contrib-python.")
    ] = "dis",
    bound: Annotated[
        float, typer.Option("--bound", help="Pixels of motion that become 0 and 255; more is clipped.")
    ] = 20.0,
    frames: Annotated[
        bool, typer.Option("--frames/--no-frames", help="Whether the frames are written beside the flow.")
    ] = True,
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
    """Write the optical flow of each video as grey pictures: VIDEO/flow_x_00001.jpg, flow_y_00001.jpg, ...

    Pictures 1 hold the motion from frame 1 to frame 2. Flow is computed at the size that is written. Running the same
    command again does only what is left; files that do not decode are listed in failed.jsonl.
    """
    from vidflow.cli.extract_run import run_extraction
    from vidflow.errors import ConfigError
    from vidflow.media.flow import flow_function
    from vidflow.shards.extraction.frames import FlowOptions, FrameOptions, frame_jobs, frame_work, parse_size

    if not frames and (template is not None or format != "jpg"):
        raise ConfigError("--template and --format are for frames; leave them out with --no-frames")
    options = FrameOptions(
        fps=fps,
        short_side=short_side,
        size=None if size is None else parse_size(size),
        quality=quality,
        format=format,
        template=template,
        frames=frames,
        flow=FlowOptions(algorithm=algorithm, bound=bound),
        on_damage=on_damage,
    )
    flow_function(algorithm)  # what is missing is said before any work
    run_extraction(
        src=src,
        out=out,
        command="flow",
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
