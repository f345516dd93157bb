"""The class names of a data set from the file that its owners publish, in the order of their indices."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from vidflow import safe_pickle
from vidflow.errors import DataError
from vidflow.shards.recipes.listing import csv_rows, json_value
from vidflow.shards.recipes.pbtxt import read_pbtxt
from vidflow.shards.recipes.recipe import ClassList
from vidflow.shards.sources.classes import read_class_names, read_lines
from vidflow.shards.sources.items import class_name

_NUMBER_NAME = re.compile(r"(\d+)\s+(\S.*)")
_GYM = re.compile(r"Clabel:\s*(\d+)\s*;(?:\s*set:\s*(\d+)\s*;)?.*?(\([A-Z]+\).*)")


def read_class_list(file: Path, layout: ClassList) -> tuple[str, ...]:
    """Class names in the order of their indices.

    Raises:
        DataError: the file cannot be read or does not parse, a number or a name occurs twice, or numbers are left out.
    """
    names = _READERS[layout](file)
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            raise DataError(f"{file}: class {name!r} has the indices {seen[name]} and {index}")
        seen[name] = index
    return names


def _by_number(file: Path, pairs: Iterable[tuple[str, str, str]], first: int) -> tuple[str, ...]:
    """Names from (where, number, name), numbered from ``first`` without gaps."""
    names: dict[int, str] = {}
    for where, text, name in pairs:
        number = int(text) if re.fullmatch(r"[0-9]+", text) else -1
        if number < first or number in names or not name:
            raise DataError(f"{where}: {text!r} for {name!r} is no new class number from {first} on")
        names[number] = class_name(name)
    if sorted(names) != list(range(first, first + len(names))) or not names:
        raise DataError(f"{file}: {len(names)} class numbers do not run from {first} without a gap")
    return tuple(names[number] for number in sorted(names))


def _lines(file: Path) -> tuple[str, ...]:
    """One name per line, or ``1 name`` in all lines: numbers from 1."""
    if all(_NUMBER_NAME.fullmatch(line.strip()) for _, line in read_lines(file)):
        return _number_name(file)
    return read_class_names(file)


def _number_name(file: Path) -> tuple[str, ...]:
    """``1 ApplyEyeMakeup``: numbers from 1."""
    pairs = []
    for number, line in read_lines(file):
        match = _NUMBER_NAME.fullmatch(line.strip())
        if match is None:
            raise DataError(f"{file}:{number}: no 'number name' in {line!r}")
        pairs.append((f"{file}:{number}", match[1], match[2]))
    return _by_number(file, pairs, 1)


def _name_number(file: Path) -> tuple[str, ...]:
    """``clapping,0``: numbers from 0; or the names alone, in the order of their numbers."""
    rows = list(csv_rows(file))
    if rows and all(len(cells) == 1 for _, cells in rows):
        return read_class_names(file)
    pairs = []
    for where, cells in rows:
        if len(cells) != 2:
            raise DataError(f"{where}: {len(cells)} cells for 'name,number'")
        pairs.append((where, cells[1], cells[0]))
    return _by_number(file, pairs, 0)


def _json(file: Path) -> tuple[str, ...]:
    """``{"Holding something": "0"}``: numbers from 0, as text or not."""
    return _by_number(file, ((str(file), str(number), name) for name, number in json_value(file, dict).items()), 0)


def _json_names(file: Path) -> tuple[str, ...]:
    """``["man", "woman", ...]``: names in the order of their indices."""
    value = json_value(file, list)
    if not value or not all(isinstance(name, str) and name.strip() for name in value):
        raise DataError(f"{file}: is no list of names")
    return tuple(class_name(name) for name in value)


def _json_parts(file: Path) -> tuple[str, ...]:
    """``[["Back", "15som", "05Twis", "FREE"], ...]``: parts of the names in order."""
    value = json_value(file, list)
    if not value or not all(
        isinstance(parts, list) and all(isinstance(part, str) for part in parts) for parts in value
    ):
        raise DataError(f"{file}: is no list of lists of words")
    return tuple(class_name("+".join(parts)) for parts in value)


def _gym(file: Path) -> tuple[str, ...]:
    """``Clabel: 0; set: 1; Glabel: 1; (VT) round-off, ...``: numbers from 0.

    Gym99 has one name in two sets of movements, ``(BB) salto backward tucked``: such names get their set behind them.
    """
    found = []
    for number, line in read_lines(file):
        match = _GYM.fullmatch(line.strip())
        if match is None:
            raise DataError(f"{file}:{number}: no 'Clabel: number; ...; (EVENT) name' in {line!r}")
        found.append((f"{file}:{number}", match[1], match[2], match[3]))
    repeated = {name for name, count in Counter(name for *_, name in found).items() if count > 1}
    pairs = (
        (where, label, f"{name} [set {group}]" if name in repeated and group else name)
        for where, label, group, name in found
    )
    return _by_number(file, pairs, 0)


def _tubes(file: Path) -> tuple[str, ...]:
    """The ``labels`` of a pickle of tubes; see ``parsers/gt_tubes.py``."""
    content = safe_pickle.load(file)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not labels or not all(isinstance(label, str) for label in labels):
        raise DataError(f"{file}: holds no list of labels")
    return tuple(class_name(label) for label in labels)


def _tag_category(file: Path) -> tuple[str, ...]:
    """``Tag,Category`` with a header: ``category/tag`` in alphabetical order of categories, then of tags."""
    rows = list(csv_rows(file))[1:]
    for where, cells in rows:
        if len(cells) != 2 or not all(cells):
            raise DataError(f"{where}: {cells!r} is no 'tag,category'")
    if not rows:
        raise DataError(f"{file}: no tags in it")
    return tuple(f"{category}/{tag}" for category, tag in sorted((cells[1], cells[0]) for _, cells in rows))


_READERS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "lines": _lines,
    "number name": _number_name,
    "name,number": _name_number,
    "json": _json,
    "json names": _json_names,
    "json parts": _json_parts,
    "gym": _gym,
    "tag,category": _tag_category,
    "tubes": _tubes,
    "pbtxt": read_pbtxt,
}
