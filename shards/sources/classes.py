"""Class names: reading them from a file, and turning labels into class indices."""

from pathlib import Path

from vidflow.errors import DataError
from vidflow.shards.sources.items import class_name


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers from 1; byte-order mark and line ends are gone.

    Bytes that are not UTF-8 become surrogate escapes, as in file names.

    Raises:
        DataError: the file cannot be read, or is no text or UTF-16.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if (position := text.find("\0")) >= 0:
        raise DataError(f"{path}:{text.count(chr(10), 0, position) + 1}: holds NUL bytes; save it as UTF-8 text")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def read_class_names(path: Path) -> tuple[str, ...]:
    """Class names, one per line, in the order of their indices.

    Raises:
        DataError: the file cannot be read, is empty, or names a class twice.
    """
    names: dict[str, int] = {}
    for number, line in read_lines(path):
        name = class_name(line.strip())
        if name in names:
            raise DataError(f"{path}:{number}: class {name!r} was on line {names[name]} already")
        names[name] = number
    if not names:
        raise DataError(f"{path}: no class names; write one per line")
    return tuple(names)
