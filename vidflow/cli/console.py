"""Where the command line prints: results on stdout, progress and errors on stderr."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console()
errors = Console(stderr=True)


def print_json(value: object) -> None:
    """One JSON document on stdout, unstyled."""
    out.file.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


@contextmanager
def progress(description: str, total: int | None, *, unit: str = "samples", quiet: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr with one task; call ``bar.advance(bar.task_ids[0])``."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=quiet) as bar:
        bar.add_task(description, total=total, note="")
        yield bar
