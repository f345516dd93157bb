"""Other labels for the samples of a packed data set: classes renamed and merged, or labels from a list."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.schema import SampleRecord
from vidflow.shards.editing import Edit
from vidflow.shards.sources.items import class_name, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Columns, Row, raise_all, read_rows

_USUAL_COLUMNS = Columns()


def parse_map(arguments: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """``old=new`` arguments; class names may have equals signs in them.

    Raises:
        ConfigError: no such class, a class that is given twice, or an argument that can be read in two ways.
    """
    renamed: dict[str, str] = {}
    for argument in arguments:
        parts = argument.split("=")
        ways = [("=".join(parts[:i]), "=".join(parts[i:])) for i in range(1, len(parts))]
        known = [(class_name(old), class_name(new)) for old, new in ways if class_name(old) in classes]
        if not known:
            near = difflib.get_close_matches(parts[0], classes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"--map {argument}: write OLD=NEW, with OLD a class of the data set{hint}")
        if len(known) > 1:
            raise ConfigError(f"--map {argument}: may start with class {known[0][0]!r} or {known[1][0]!r}")
        old, new = known[0]
        if not new.strip():
            raise ConfigError(f"--map {argument}: no new name")
        if renamed.setdefault(old, new) != new:
            raise ConfigError(f"--map {argument}: class {old!r} becomes {renamed[old]!r} already")
    return renamed


def renaming(dataset: PackedDataset, renamed: Mapping[str, str], *, classes: Sequence[str] | None = None) -> Edit:
    """Rename classes; several that get one name are merged.

    Labels of segments, boxes and questions change likewise.

    Args:
        renamed: old name -> new name; all other classes keep theirs.
        classes: new class names in the order of their indices; None keeps the order and leaves merged ones out.

    Raises:
        DataError: ``classes`` lacks a class that is still there.
    """
    new_names = [renamed.get(name, name) for name in dataset.info.classes]
    ordered = tuple(dict.fromkeys(new_names)) if classes is None else tuple(classes)
    if missing := [name for name in dict.fromkeys(new_names) if name not in ordered]:
        raise DataError(f"--classes lacks {len(missing)} classes, such as {missing[0]!r}; add them, or --map them")
    index = {name: i for i, name in enumerate(ordered)}
    table = [index[name] for name in new_names]
    return Edit(
        command={"command": "relabel", "map": dict(sorted(renamed.items())), "classes": classes and list(classes)},
        positions=np.arange(len(dataset), dtype=np.int64),
        classes=ordered,
        change=lambda position, record: _translated(record, table),
    )


def _translated(record: SampleRecord, table: Sequence[int]) -> dict[str, Any]:
    """The record's labels in other numbers, wherever they stand; merged labels once."""

    def translate(labels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(table[label] for label in labels))

    return {
        "labels": translate(record.labels),
        "segments": tuple(s.model_copy(update={"label": table[s.label]}) for s in record.segments),
        "boxes": tuple(box.model_copy(update={"labels": translate(box.labels)}) for box in record.boxes),
        "questions": tuple(q.model_copy(update={"labels": translate(q.labels)}) for q in record.questions),
    }


def relabeling(
    dataset: PackedDataset,
    file: Path,
    *,
    classes: Sequence[str] | None = None,
    columns: Columns = _USUAL_COLUMNS,
) -> Edit:
    """Labels from a list of ids and labels; samples that it does not name keep theirs.

    Args:
        file: as ``read_rows`` reads it, with ids in the place of paths.
        classes: class names in the order of their indices; None keeps those of the data set. Labels that are kept,
            those of segments, boxes and questions too, stay with their class's name.
        columns: names of the CSV columns.

    Raises:
        DataError: with file:line, for all lines at fault at once: what does not parse, an id that is not in the data
            set or is there twice, an id with two labels, labels that do not fit; or ``classes`` lacks a class that is
            kept.
    """
    info = dataset.info
    rows = read_rows(file, columns=columns, multi_label=info.multi_label)
    names = info.classes if classes is None else tuple(classes)
    labels, _, _ = resolve_labels(rows, classes=names, num_classes=None, first_label=0)
    ids = dataset.column("id").tolist()
    listed = _by_id(rows, labels, Counter(ids))
    index = {name: i for i, name in enumerate(names)}
    table = [index.get(name, -1) for name in info.classes]

    def change(position: int, record: SampleRecord) -> dict[str, Any]:
        kept = record.model_copy(update={"labels": ()}) if record.id in listed else record
        if lost := sorted(label for label in set(kept.all_labels) if table[label] < 0):
            raise DataError(
                f"{record.id}: keeps class {info.classes[lost[0]]!r}, which --classes lacks; add it, or list the sample"
            )
        update = _translated(kept, table)
        return {**update, "labels": listed[record.id]} if record.id in listed else update

    return Edit(
        command={"command": "relabel", "labels": file.name, "classes": classes and list(classes)},
        positions=np.arange(len(dataset), dtype=np.int64),
        classes=names,
        change=change,
    )


def _by_id(
    rows: Sequence[Row], labels: Sequence[tuple[int, ...]], counts: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    problems = []
    for row, indices in zip(rows, labels, strict=True):
        sample_id = text_of(row.path)
        if sample_id not in counts:
            problems.append(f"{row.where}: no sample {sample_id!r}")
        elif counts[sample_id] > 1:
            problems.append(
                f"{row.where}: {counts[sample_id]} samples are called {sample_id!r}; pack them from lists that name "
                "them from their common folder, given as --src"
            )
        elif found.setdefault(sample_id, indices) != indices:
            problems.append(f"{row.where}: {sample_id!r} was listed already, with other labels")
    raise_all(problems, "lines that do not fit the data set:")
    return found
