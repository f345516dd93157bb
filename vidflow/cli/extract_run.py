"""What the commands that make files of files share: finding the sources, the run with its bar, and the summary."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vidflow.shards.extraction.jobs import Job, JobReport, Work
    from vidflow.shards.extraction.sources import FoundFiles

Src = Annotated[Path, typer.Option("--src", help="Folder of videos, at any depth.")]
Out = Annotated[Path, typer.Option("--out", help="Where to write; the tree of --src is kept.")]
MaxFailures = Annotated[int | None, typer.Option("--max-failures", help="Stop at more failed files than this.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make anew what this command has made with other options.")
]


def run_extraction(
    *,
    src: Path,
    out: Path,
    command: str,
    jobs_of: "Callable[[FoundFiles], list[Job]]",
    work: "Work",
    options: Mapping[str, Any],
    unit: str,
    accepts: Callable[[str], bool] | None = None,
    workers: int | None,
    max_failures: int | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the sources, do the jobs, and say what came of them.

    Args:
        command: name of the ledger's folder.
        unit: what the sources are called, such as videos.
        accepts: which file names are sources; None takes videos.
    """
    from vidflow.cli.console import errors, progress
    from vidflow.shards.extraction.jobs import run_jobs
    from vidflow.shards.extraction.sources import find_files, refuse_out_in_source
    from vidflow.shards.sources.items import has_video_extension
    from vidflow.shards.workers import default_workers

    refuse_out_in_source(src, out)
    found = find_files(src, has_video_extension if accepts is None else accepts)
    jobs = jobs_of(found)
    with progress(command, len(jobs), unit=unit, quiet=quiet or not errors.is_terminal) as bar:
        report = run_jobs(
            jobs,
            out,
            work,
            command=command,
            options=options,
            workers=default_workers() if workers is None else workers,
            max_failures=max_failures,
            overwrite=overwrite,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    print_report(report, out, found=found, unit=unit, as_json=as_json)


def print_report(report: "JobReport", out: Path, *, found: "FoundFiles", unit: str, as_json: bool) -> None:
    """Found = done + kept + failed, with the reasons."""
    from collections import Counter
    from dataclasses import asdict

    from vidflow.cli.console import print_json, print_line
    from vidflow.shards.extraction.ledger import FAILED_NAME
    from vidflow.shards.sources.items import text_of

    folder = text_of(str(out))
    if as_json:
        print_json(
            {
                "out": folder,
                "found": report.num_found,
                "done": report.num_done,
                "kept": report.num_kept,
                "failed": len(report.failures),
                "skipped": len(report.skipped),
                "bytes": report.size_bytes,
                "of_other_sources": report.num_orphans,
                "failures": [asdict(failure) for failure in report.failures],
                "passed_over": dict(found.skipped.most_common()),
            }
        )
        return
    skipped = f" + {len(report.skipped)} skipped" if report.skipped else ""
    print_line(
        f"{folder}: {report.num_found} {unit} = {report.num_done} done + {report.num_kept} done before "
        f"+ {len(report.failures)} failed{skipped}; {report.size_bytes / 1e6:.1f} MB written"
    )
    for reason, count in Counter(failure.kind for failure in report.failures).most_common(10):
        print_line(f"  failed, {count} x {reason}")
    if report.failures:
        print_line(f"  all failures with details: {folder}/{FAILED_NAME}")
    for reason, count in Counter(skip.reason for skip in report.skipped).most_common(10):
        print_line(f"  skipped, {count} x {reason}")
    if report.num_orphans:
        print_line(f"  still there, {report.num_orphans} x result of a source that is not below --src now")
    for reason, count in found.skipped.most_common():
        print_line(f"  passed over, {count} x {reason}")
