"""``vidflow check``."""

from pathlib import Path
from typing import Annotated

import typer

from vidflow.cli.options import AsJson, Quiet, Workers

_MAX_KINDS = 10


def check(
    src: Annotated[
        Path | None, typer.Option("--src", help="Folder of videos, at any depth; with --list where its paths start.")
    ] = None,
    lists: Annotated[
        list[Path] | None,
        typer.Option("--list", metavar="FILE", help="Check what this annotation list names; may be repeated."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Note every video here as a line of JSON, and go on from what is there."
        ),
    ] = None,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Decode every video to its last frame and list those that are broken, without packing anything.

    Leaves with exit status 3 if there are any.
    """
    from collections import Counter
    from dataclasses import asdict

    from rich.table import Table
    from rich.text import Text

    from vidflow.cli.console import errors, print_json, print_line, progress
    from vidflow.cli.console import out as stdout
    from vidflow.errors import ConfigError, DataError
    from vidflow.shards.extraction.checking import check_videos, listed_videos
    from vidflow.shards.extraction.sources import find_files
    from vidflow.shards.workers import default_workers

    passed_over: Counter[str] = Counter()
    if lists:
        files = listed_videos(lists, src)
    elif src is not None:
        found = find_files(src)
        files, passed_over = found.files, found.skipped
    else:
        raise ConfigError("give --src FOLDER, or --list FILE")
    with progress("checking", len(files), unit="videos", quiet=quiet or not errors.is_terminal) as bar:
        result = check_videos(
            files,
            workers=default_workers() if workers is None else workers,
            report=report,
            on_progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    broken = result.broken
    num_whole = len(result.checked) - len(broken)
    if as_json:
        print_json(
            {
                "found": len(result.checked),
                "whole": num_whole,
                "broken": len(broken),
                "known_before": result.num_kept,
                "videos": [
                    {name: value for name, value in asdict(video).items() if name in ("id", "stage", "reason")}
                    for video in broken
                ],
                "passed_over": dict(passed_over.most_common()),
            }
        )
    else:
        if broken:
            table = Table("broken video", "why")
            for video in broken:
                table.add_row(Text(video.id, overflow="fold"), Text(f"{video.stage}: {video.reason}", overflow="fold"))
            stdout.print(table)
        known = f" ({result.num_kept} known from {report})" if result.num_kept else ""
        print_line(f"{len(result.checked)} videos = {num_whole} whole + {len(broken)} broken{known}")
        for kind, count in Counter(video.kind for video in broken).most_common(_MAX_KINDS):
            print_line(f"  {count} x {kind}")
        for reason, count in passed_over.most_common():
            print_line(f"  passed over, {count} x {reason}")
    if broken:
        raise DataError(f"{len(broken)} of {len(result.checked)} videos are broken; mend or remove them")
