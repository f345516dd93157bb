"""What parsers take and give: the annotation files by role, and one listed video after another."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidflow.errors import DataError
from vidflow.schema import Moment, Question, TimedBox
from vidflow.shards.recipes.recipe import Fold
from vidflow.shards.sources.box_table import BoxTable
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row


@dataclass(frozen=True, slots=True)
class ListFile:
    """One annotation file."""

    path: Path
    media: str = ""
    """Folder below the source folder that its paths are relative to."""
    fold: Fold | None = None
    fps: float | None = None
    """Of frames at a fixed rate, where the recipe knows it."""
    content: str = ""
    """See ``AnnotationFile``."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One video of a list: its row, and what its file may be called."""

    row: Row
    """``path`` is the published name, with or without an extension; ``split`` is set."""
    other_names: tuple[str, ...] = ()
    """Further names that copies of the data set give the file, in the order of preference."""
    within: str = ""
    """Folder below the source folder that must hold the file."""
    segments: tuple[tuple[float, float, str], ...] = ()
    """Start and end in seconds and class name of each action."""
    duration: float | None = None
    """Seconds of the video, for features."""
    seconds_per_step: float | None = None
    """Of features whose steps are not spread evenly over the duration."""
    captions: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    questions: tuple[Question, ...] = ()
    boxes: tuple[TimedBox, ...] | BoxTable = ()
    num_dropped: int = 0
    """Boxes that are not in the picture, and segments and moments that are empty or behind the end: left out."""
    id: str = ""
    """Of the sample, where it is not the published name of the file."""
    key_time: float | None = None
    """Second of the original video that is annotated."""
    window: tuple[float, float] | None = None
    """Start and end of the sample in seconds of the original video; None takes the whole file."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Other things that the lists name and that were left out -> how many."""


Files = Mapping[str, tuple[ListFile, ...]]
Parser = Callable[[Files, Sequence[str]], Iterable[Listed]]
"""Takes the files by role and the class names (none yet where they are sorted from the lists)."""


def split_files(files: Files) -> Iterator[tuple[str, ListFile]]:
    """(split, file) for all files that list one split."""
    for role, found in files.items():
        if role not in ("classes", "lists"):
            for file in found:
                yield role, file


def csv_rows(file: Path, delimiter: str = ",") -> Iterator[tuple[str, list[str]]]:
    """(file:line, cells) of a comma-separated file; cells are stripped, blank lines left out.

    Args:
        delimiter: what stands between cells, where it is another character.

    Raises:
        DataError: the file cannot be read or is not CSV.
    """
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for line, text in read_lines(file):
            number = line
            yield f"{text}\n"

    try:
        for cells in csv.reader(texts(), delimiter=delimiter, skipinitialspace=True, strict=True):
            yield f"{file}:{number}", [cell.strip() for cell in cells]
    except csv.Error as error:
        raise DataError(f"{file}:{number}: not CSV ({error})") from error


def json_value(file: Path, kind: type[Any]) -> Any:
    """The value of a JSON file, which must be a list or a dict as ``kind`` says.

    Raises:
        DataError: the file cannot be read, or is something else.
    """
    try:
        value = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error})") from error
    if not isinstance(value, kind):
        raise DataError(f"{file}: holds a {type(value).__name__}, a {kind.__name__} is expected")
    return value
