"""``vidflow extract pose``."""

from pathlib import Path
from typing import Annotated

import typer

from vidflow.cli.extract_frames import OnDamage
from vidflow.cli.extract_run import MaxFailures, Out, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers


def pose(
    src: Src,
    out: Out,
    estimator: Annotated[
        str, typer.Option("--estimator", help="mediapipe, or the import path of your own: my_pkg.pose:MyEstimator.")
    ] = "mediapipe",
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Model file of the estimator (mediapipe: .task; default: inside the package)."),
    ] = None,
    max_people: Annotated[int, typer.Option("--max-people", help="Most people in a frame, and in a video.")] = 2,
    on_damage: OnDamage = "error",
    workers: Workers = None,
    max_failures: MaxFailures = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find the people in each video and write their keypoints (COCO's 17, in pixels) to VIDEO.npz.

    `vidflow shard --kind skeleton --src DIR` packs the files. Running the same command again does only what is left;
    files that do not decode are listed in failed.jsonl.
    """
    from functools import partial

    from vidflow.cli.extract_run import run_extraction
    from vidflow.shards.pose.extracting import PoseOptions, extract_pose, pose_jobs

    options = PoseOptions(
        estimator=estimator, model=None if model is None else str(model), max_people=max_people, on_damage=on_damage
    )
    run_extraction(
        src=src,
        out=out,
        command="pose",
        jobs_of=pose_jobs,
        work=partial(extract_pose, options=options),
        options=options.table(),
        unit="videos",
        workers=workers,
        max_failures=max_failures,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )
