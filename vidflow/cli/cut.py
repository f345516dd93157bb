"""``vidflow cut``."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidflow.cli.extract_run import MaxFailures, Overwrite, Src
from vidflow.cli.options import AsJson, Quiet, Workers

if TYPE_CHECKING:
    from vidflow.shards.extraction.jobs import JobReport


def cut(
    src: Src,
    out: Annotated[Path, typer.Option("--out", help="Where to write the clips and their list, clips.csv.")],
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            "--annotations",
            metavar="FILE",
            help="What to cut: FineGym's or ActivityNet's JSON (HACS, too), AVA's CSV, or a CSV with the columns path, "
            "start and end (seconds), and perhaps label, split and name. May be repeated.",
        ),
    ] = None,
    format: Annotated[
        Literal["finegym-events", "finegym-actions", "activitynet", "ava", "table"] | None,
        typer.Option("--format", help="Of the annotations (default: by their content; FineGym's sub-actions)."),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", help="Without annotations: divide each video, VIDEO/part_0.mp4 ..."),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep the bytes, from the key frame before to the key frame behind.")
    ] = False,
    profile: Annotated[
        str, typer.Option("--profile", help="How clips are encoded: train (H.264, GOP 16) or intra (all key frames).")
    ] = "train",
    short_side: Annotated[
        int | None, typer.Option("--short-side", help="Shrink to this short side in pixels (default 256).")
    ] = None,
    crf: Annotated[int | None, typer.Option("--crf", help="x264 quality, lower is better (default 23).")] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Frames per second of the clips (default: all frames as they are).")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without the annotated videos that are not there.")
    ] = False,
    workers: Workers = None,
    max_failures: MaxFailures = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Cut untrimmed videos into clips, by their annotations or into parts of equal length.

    Clips are exact to the frame, and have no sound. Running the same command again does only what is left; clips that
    cannot be cut are listed in failed.jsonl.
    """
    from vidflow.cli.console import errors, progress
    from vidflow.errors import ConfigError
    from vidflow.shards.cutting.lists import CutList, read_cuts
    from vidflow.shards.cutting.run import (
        COMMAND,
        CutOptions,
        clip_jobs,
        clip_work,
        num_short,
        part_jobs,
        part_work,
        refuse_foreign_list,
        write_list,
    )
    from vidflow.shards.cutting.videos import Videos
    from vidflow.shards.extraction.jobs import run_jobs
    from vidflow.shards.extraction.sources import find_files, refuse_out_in_source
    from vidflow.shards.profiles import PROFILES, choose_profile
    from vidflow.shards.workers import default_workers

    if bool(annotations) == (every is not None):
        raise ConfigError("give either --annotations FILE or --every SECONDS")
    if every is not None and (format is not None or allow_missing):
        raise ConfigError(f"{'--allow-missing' if format is None else '--format'} needs --annotations")
    if copy and (profile != "train" or short_side is not None or crf is not None):
        raise ConfigError("--profile, --short-side and --crf have no effect on --copy, which keeps the bytes")
    chosen = PROFILES["copy"] if copy else choose_profile(profile, short_side=short_side, crf=crf)
    options = CutOptions(profile=chosen, fps=fps, copy=copy, every=every)
    refuse_out_in_source(src, out)
    refuse_foreign_list(out)
    files = find_files(src).files
    wanted = CutList((), Counter())
    missing: list[str] = []
    if annotations:
        videos = Videos(files)
        wanted = read_cuts(annotations, format, videos.spans)
        jobs, clips, missing = clip_jobs(wanted.cuts, videos, copy=copy, allow_missing=allow_missing)
        work = clip_work(options)
    else:
        assert every is not None
        jobs, clips, work = part_jobs(files, every), {}, part_work(options)
    unit = "clips" if every is None else "videos"
    with progress("cutting", len(jobs), unit=unit, quiet=quiet or not errors.is_terminal) as bar:
        report = run_jobs(
            jobs,
            out,
            work,
            command=COMMAND,
            options=options.table(),
            workers=default_workers() if workers is None else workers,
            max_failures=max_failures,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    num_listed = write_list(out, jobs, clips, report)
    left_out = wanted.left_out + Counter({"annotated video that is not there": len(missing)})
    if short := num_short(report, clips):
        left_out["end of a clip, since its video ends earlier"] = short
    _print_summary(report, out, num_listed, left_out, as_json=as_json)


def _print_summary(report: "JobReport", out: Path, num_listed: int, left_out: Counter[str], *, as_json: bool) -> None:
    from dataclasses import asdict

    from vidflow.cli.console import print_json, print_line
    from vidflow.shards.cutting.run import LIST_NAME
    from vidflow.shards.extraction.ledger import FAILED_NAME
    from vidflow.shards.sources.items import text_of

    folder = text_of(str(out))
    if as_json:
        print_json(
            {
                "out": folder,
                "clips": num_listed,
                "found": report.num_found,
                "done": report.num_done,
                "kept": report.num_kept,
                "failed": len(report.failures),
                "bytes": report.size_bytes,
                "failures": [asdict(failure) for failure in report.failures],
                "left_out": dict(left_out.most_common()),
            }
        )
        return
    print_line(
        f"{folder}: {report.num_found} jobs = {report.num_done} done + {report.num_kept} done before "
        f"+ {len(report.failures)} failed; {report.size_bytes / 1e6:.1f} MB written"
    )
    for reason, count in Counter(failure.reason for failure in report.failures).most_common(10):
        print_line(f"  failed, {count} x {reason}")
    if report.failures:
        print_line(f"  all failures with details: {folder}/{FAILED_NAME}")
    for reason, count in left_out.most_common():
        print_line(f"  left out, {count} x {reason}")
    print_line(f"  {num_listed} clips, listed in {folder}/{LIST_NAME}")
