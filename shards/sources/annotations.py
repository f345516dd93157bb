"""Annotation lists: one file per split, one with a split column, or one that is split by ratio."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vidflow.errors import ConfigError, DataError
from vidflow.shards.files import is_there
from vidflow.shards.sources.items import SourceItem, SourceList, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Columns, Row, raise_all, read_rows
from vidflow.shards.sources.splitting import (
    assign_groups,
    check_groups,
    check_ratio,
    check_split_names,
    split_by_ratio,
)
from vidflow.storage import is_remote, join

# Splits become file names, which webdataset must not take for brace patterns or addresses.
USUAL_COLUMNS = Columns()
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SAME_PATH = (
    "paths are those of two files each, and a sample is known by its path; write them from the folder that the lists "
    "share, and give it as --src:"
)


def named_file(argument: str) -> tuple[str | None, Path]:
    """``train=list.txt`` or ``list.txt`` as split and file; a file that has an equals sign in its name stays one."""
    split, separator, file = argument.partition("=")
    if separator and _SPLIT_NAME.fullmatch(split) and not is_there(argument):
        return split, Path(file)
    return None, Path(argument)


def read_annotations(
    files: Sequence[str],
    *,
    root: Path | str | None = None,
    split: float | None = None,
    seed: int = 0,
    group_regex: str | None = None,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    first_label: int = 0,
    multi_label: bool = False,
    columns: Columns = USUAL_COLUMNS,
    allow_missing: bool = False,
) -> SourceList:
    """List the videos that annotation files name.

    A path may be an address, ``s3://bucket/x.mp4`` or ``https://host/x.mp4``: workers fetch the file when its turn
    comes. A line that repeats another word for word counts once.

    Args:
        files: ``FILE`` or ``SPLIT=FILE`` each; see ``read_rows`` for what a file may look like.
        root: folder or address that paths are relative to; None takes each list's own folder.
        split: share of train, for lists that give no split.
        seed: decides the split.
        group_regex: clips of one source stay together; see ``assign_groups``.
        classes: class names in the order of their indices.
        num_classes: how many there are, where labels are numbers.
        first_label: the number of the first class in the lists, 0 or 1.
        multi_label: any number of labels per file.
        columns: names of the CSV columns.
        allow_missing: leave files that are missing to be rejected in packing.

    Raises:
        DataError: with file:line, for all lines at fault at once: what does not parse, labels that do not fit, missing
            files, a file that is listed twice with different labels or in two splits, two files of one path, two splits
            that differ in case alone.
    """
    if split is not None:
        check_ratio(split)
    rows: list[Row] = []
    paths: list[str] = []
    for argument in files:
        named, file = named_file(argument)
        folder = root if root is not None else file.parent
        for row in read_rows(file, columns=columns, multi_label=multi_label):
            rows.append(_with_split(row, named, split))
            paths.append(_place(folder, row.path))
    check_split_names((row.split or "", row.where) for row in rows)
    indices, class_names, warnings = resolve_labels(
        rows, classes=classes, num_classes=num_classes, first_label=first_label
    )
    if not allow_missing:
        pairs = zip(rows, paths, strict=True)
        here = [(row, path) for row, path in pairs if not is_remote(path)]  # a server is asked in packing
        missing = [f"{row.where}: {text_of(path)}" for row, path in here if not is_there(path)]
        raise_all(missing, "files of the list are missing; mend it, or give --allow-missing to go on without them:")
    items, skipped = _items(rows, paths, indices)
    if group_regex is not None:
        if any(item.group is not None for item in items):
            raise ConfigError("--group-regex: the list has a group column already; leave one of them out")
        items, unmatched = assign_groups(items, group_regex)
        warnings += unmatched
    if split is not None:
        items = split_by_ratio(items, ratio=split, seed=seed)
    check_groups(items)
    options: dict[str, object] = {
        "source": "annotations",
        "split": split,
        "group_regex": group_regex,
        "first_label": first_label,
    }
    if split is not None:
        options["split_seed"] = seed
    if isinstance(root, str) and is_remote(root):
        name = root.partition("?")[0].rstrip("/").rpartition("/")[2]
    else:
        name = Path(root if root is not None else named_file(files[0])[1].parent).resolve().name
    return SourceList(name, tuple(items), class_names, multi_label, skipped, tuple(warnings), options)


def _place(folder: Path | str, path: str) -> str:
    """Where a file of a list lies; a list may hold addresses, too."""
    if isinstance(folder, str) and is_remote(folder) and not is_remote(path):
        return join(folder, path)
    return path if is_remote(path) else os.path.join(folder, path)  # noqa: PTH118 -- perhaps a million, kept as strings


def _with_split(row: Row, named: str | None, ratio: float | None) -> Row:
    given = row.split or named
    if row.split and named and row.split != named:
        raise DataError(
            f"{row.where}: split {row.split!r}, but the file was given as {named}=FILE; leave one of them out"
        )
    if given is None and ratio is None:
        raise ConfigError(
            f"{row.where}: no split; give --annotations SPLIT=FILE, a CSV with a split column, or --split 0.9"
        )
    if given is not None and ratio is not None:
        raise ConfigError(f"{row.where}: the list says split {given!r}; leave --split out")
    if given is not None and not _SPLIT_NAME.fullmatch(given):
        raise DataError(f"{row.where}: {given!r} cannot name a split; use letters, digits, '_', '-' and '.'")
    return replace(row, split=given or "")


def _items(
    rows: Sequence[Row], paths: Sequence[str], indices: Sequence[tuple[int, ...]]
) -> tuple[list[SourceItem], Counter[str]]:
    """One item per file; exact repeats once."""
    items: list[SourceItem] = []
    skipped: Counter[str] = Counter()
    problems: list[str] = []
    alike: list[str] = []
    seen: dict[str, int] = {}
    named: dict[str, int] = {}
    for position, (row, path, labels) in enumerate(zip(rows, paths, indices, strict=True)):
        place = os.path.normpath(path)
        assert row.split is not None
        if place not in seen:
            seen[place] = position
            name = text_of(row.path)
            if (other := named.setdefault(name, position)) != position:
                alike.append(f"{row.where}: {name} is {text_of(path)}, at {rows[other].where} {text_of(paths[other])}")
            items.append(SourceItem(path, name, row.split, labels, None if row.group is None else text_of(row.group)))
            continue
        first = rows[seen[place]]
        if (first.split, indices[seen[place]], first.group) == (row.split, labels, row.group):
            skipped["line that repeats another"] += 1
        else:
            problems.append(
                f"{row.where}: {text_of(row.path)} was at {first.where} already, with other labels or in another split"
            )
    raise_all(problems, "files are listed twice; leave one line each:")
    raise_all(alike, SAME_PATH)
    return items, skipped
