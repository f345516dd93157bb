"""Where the command line prints: results on stdout, progress and errors on stderr."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

out = Console()
errors = Console(stderr=True)


def print_line(text: str) -> None:
    """One line on stdout exactly as it is: not wrapped, and [brackets] and :colons: mean nothing."""
    out.print(Text(text), soft_wrap=True)


def print_warning(text: str) -> None:
    """One warning on stderr, its text exactly as it is."""
    errors.print(Text.assemble(("warning:", "bold yellow"), " ", text), soft_wrap=True)


def print_error(text: str) -> None:
    """One error on stderr, its text exactly as it is."""
    errors.print(Text.assemble(("error:", "bold red"), " ", text), soft_wrap=True)


def tolerate_odd_names() -> None:
    """Let a file name that the terminal's encoding cannot show print as escapes instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """One JSON document on stdout, unstyled."""
    out.file.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


@contextmanager
def progress(description: str, total: int | None, *, unit: str = "samples", quiet: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr with one task; call ``bar.advance(bar.task_ids[0])``."""
    # Descriptions and notes may hold file names: no markup in them.
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=quiet) as bar:
        bar.add_task(description, total=total, note="")
        yield bar
