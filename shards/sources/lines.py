"""Annotation files as rows: ``path label`` lines and CSV with a header, with the line number of each for messages."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidflow.errors import DataError
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.items import VIDEO_EXTENSIONS

# Usual column names, compared without case; the first that a header has is taken.
PATH_COLUMNS = ("path", "video_path", "file", "filename", "file_name", "fname", "video", "video_name", "clip")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "action")
SPLIT_COLUMNS = ("split", "subset")
GROUP_COLUMNS = ("group", "source", "group_id", "source_id")

_SEPARATOR = r"(?:\s*[,;]\s*|\s+)"
# The path ends at the last video extension that a separator or the line's end follows.
_PATH_BY_EXTENSION = re.compile(
    rf"(.*\.(?:{'|'.join(sorted(VIDEO_EXTENSIONS))}))(?:{_SEPARATOR}(.*))?", re.IGNORECASE | re.DOTALL
)
_QUOTED_PATH = re.compile(rf'"((?:[^"]|"")*)"(?:{_SEPARATOR}(.*))?', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)
_LAST_TOKEN = re.compile(rf"(.*?\S){_SEPARATOR}({_QUOTED.pattern}|\S+)", re.DOTALL)
_LAST_NUMBERS = re.compile(rf"(.*?\S)((?:{_SEPARATOR}[+-]?\d+)*)", re.DOTALL)
_NUMBERS = re.compile(rf"[+-]?\d+(?:{_SEPARATOR}[+-]?\d+)+")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of a CSV's columns; None looks for the usual names."""

    path: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None

    @property
    def any_given(self) -> bool:
        """Whether the user has named one, which says that there is a header."""
        return any((self.path, self.label, self.split, self.group))


@dataclass(frozen=True, slots=True)
class Row:
    """One annotated file."""

    where: str
    """file:line, or file:line:column of the labels."""
    path: str
    labels: tuple[str, ...]
    split: str | None = None
    group: str | None = None


def read_rows(file: Path, *, columns: Columns, multi_label: bool) -> list[Row]:
    """The rows of an annotation file.

    A file whose first line names a path and a label column is a CSV (comma, tab or semicolon); any other is a list of
    lines, each a path and one label (with ``multi_label`` any number), parted by white space, a tab or a comma. Paths
    may hold spaces; they end at their video extension, or else before the last label. A path may stand in quotes, and
    so may what follows it.

    Raises:
        DataError: the file cannot be read or is empty, or lines that do not parse, each with file:line.
    """
    lines = read_lines(file)
    if not lines:
        raise DataError(f"{file}: no lines in it")
    table = find_header(lines[0][1], columns)
    if table is not None:
        return _read_csv(file, lines, *table, columns=columns, multi_label=multi_label)
    if columns.any_given:
        raise DataError(f"{file}:{lines[0][0]}: no header with a path and a label column; the line is {lines[0][1]!r}")
    rows, problems = [], []
    for number, line in lines:
        path, rest, column = _split_line(line, multi_label)
        quoted = _QUOTED.fullmatch(rest)
        labels = _labels_of(rest if quoted is None else quoted[1].replace('""', '"'), multi_label)
        where = f"{file}:{number}:{column}"
        if not multi_label and not labels:
            problems.append(f"{where}: no label after {path!r}")
        elif not multi_label and _NUMBERS.fullmatch(labels[0]):
            problems.append(f"{where}: several labels ({labels[0]}); give --multi-label if that is meant")
        elif "" in labels:
            problems.append(f"{where}: an empty label in {rest!r}")
        rows.append(Row(where, path, labels))
    raise_all(problems, "lines that do not parse")
    return rows


def raise_all(problems: list[str], what: str, hint: str = "") -> None:
    """Raise one error for all problems, listing the first ones; nothing where there are none."""
    if problems:
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        listed = "\n  ".join(problems[:10])
        raise DataError(f"{len(problems)} {what}{hint}\n  {listed}{more}")


def _split_line(line: str, multi_label: bool) -> tuple[str, str, int]:
    """Path, text of the labels, and column (from 1) where that text starts."""
    text = line.strip()
    first = line.index(text) + 1
    if match := _QUOTED_PATH.fullmatch(text):
        return match[1].replace('""', '"'), match[2] or "", first + (match.start(2) if match[2] else len(text))
    if "\t" in text:
        path, rest = text.split("\t", 1)
        return path.strip(), rest.strip(), first + len(path) + 1
    match = _PATH_BY_EXTENSION.fullmatch(text) or (_LAST_NUMBERS if multi_label else _LAST_TOKEN).fullmatch(text)
    if match is None:
        return text, "", first + len(text)
    rest = match[2] or ""
    return match[1], re.sub(rf"^{_SEPARATOR}", "", rest), first + (match.start(2) if rest else len(text))


def _labels_of(rest: str, multi_label: bool) -> tuple[str, ...]:
    """Labels in the text behind a path or in a CSV cell; single labels may hold spaces."""
    rest = rest.strip()
    if not rest:
        return ()
    if not multi_label:
        return (rest,)
    if re.search(r"[,;|\t]", rest):
        return tuple(token.strip() for token in re.split(r"[,;|\t]", rest))
    return tuple(rest.split())


def find_header(line: str, columns: Columns) -> tuple[str, dict[str, int]] | None:
    """Delimiter and column numbers by role, if the line is a header."""
    for delimiter in (",", "\t", ";"):
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
        lowered = [cell.lower() for cell in cells]
        found: dict[str, int] = {}
        roles = (
            ("path", columns.path, PATH_COLUMNS),
            ("label", columns.label, LABEL_COLUMNS),
            ("split", columns.split, SPLIT_COLUMNS),
            ("group", columns.group, GROUP_COLUMNS),
        )
        for role, given, usual in roles:
            if given is not None:
                if given in cells:
                    found[role] = cells.index(given)
            elif name := next((name for name in usual if name in lowered), None):
                found[role] = lowered.index(name)
        if "path" in found and "label" in found:
            return delimiter, found
    return None


def _read_csv(
    file: Path,
    lines: list[tuple[int, str]],
    delimiter: str,
    found: dict[str, int],
    *,
    columns: Columns,
    multi_label: bool,
) -> list[Row]:
    for role in ("split", "group"):
        if (name := getattr(columns, role)) is not None and role not in found:
            raise DataError(f"{file}:{lines[0][0]}: no column {name!r} in the header {lines[0][1]!r}")
    numbers = iter(lines)
    current = 0

    def texts() -> Iterator[str]:
        nonlocal current
        for number, text in numbers:
            current = number
            yield f"{text}\n"

    rows: list[Row] = []
    problems: list[str] = []
    width = 0
    reader = csv.reader(texts(), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if not width:
                width = len(cells)
                continue
            where = f"{file}:{current}"
            if len(cells) != width:
                problems.append(f"{where}: {len(cells)} cells, the header has {width}")
                continue
            labels = _labels_of(cells[found["label"]], multi_label)
            path = cells[found["path"]].strip()
            if not path:
                problems.append(f"{where}: no path")
            if not multi_label and not labels:
                problems.append(f"{where}: no label for {path!r}")
            if "" in labels:
                problems.append(f"{where}: an empty label in {cells[found['label']]!r}")
            split, group = (
                cells[found[role]].strip() or None if role in found else None for role in ("split", "group")
            )
            if "split" in found and split is None:
                problems.append(f"{where}: no split for {path!r}")
            rows.append(Row(where, path, labels, split, group))
    except csv.Error as error:
        raise DataError(f"{file}:{current}: not CSV ({error})") from error
    raise_all(problems, "lines that do not parse")
    return rows
