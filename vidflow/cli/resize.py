"""``vidflow resize``."""

from typing import Annotated, Literal

import typer

from vidflow.cli.extract_frames import OnDamage
from vidflow.cli.extract_run import MaxFailures, Out, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers


def resize(
    src: Src,
    out: Out,
    profile: Annotated[
        Literal["train", "intra"], typer.Option("--profile", help="train: a key frame every 16. intra: all key frames.")
    ] = "train",
    short_side: Annotated[
        int | None, typer.Option("--short-side", help="Shrink to this short side in pixels (default 256).")
    ] = None,
    crf: Annotated[int | None, typer.Option("--crf", help="x264 quality, lower is better (default 23).")] = None,
    gop: Annotated[int | None, typer.Option("--gop", help="train: frames from key frame to key frame.")] = None,
    keep_sound: Annotated[
        bool, typer.Option("--keep-sound", help="Copy the sound stream, where there is one (default: drop it).")
    ] = False,
    on_damage: OnDamage = "error",
    workers: Workers = None,
    max_failures: MaxFailures = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Re-encode a folder of videos as H.264 in MP4, smaller and quick to decode.

    Every frame and its time stamp stay, and videos come out upright. Running the same command again does only what is
    left; files that do not decode are listed in failed.jsonl.
    """
    from vidflow.cli.extract_run import run_extraction
    from vidflow.shards.extraction.resize import resize_jobs, resize_profile, resize_work

    chosen = resize_profile(profile, short_side=short_side, crf=crf, gop=gop)
    run_extraction(
        src=src,
        out=out,
        command="resize",
        jobs_of=resize_jobs,
        work=resize_work(chosen, on_damage=on_damage, keep_sound=keep_sound),
        options=chosen.options() | {"on_damage": on_damage, "keep_sound": keep_sound},
        unit="videos",
        workers=workers,
        max_failures=max_failures,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )
