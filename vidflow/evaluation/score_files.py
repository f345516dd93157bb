"""Score files: what a model gave each sample of a split, as testing writes it and as MMAction2 does.

Ours are Parquet, one row per sample: index, id, labels, predicted (the best class, -1 for a sample that was missed) and
scores [K] (NaN for a sample that was missed). The schema's metadata holds the class names and whether a sample may have
several labels; files without it are taken as they look. Labels may be a number per sample in place of a list.

MMAction2's are pickles (its ``test.py --dump``): a list with a dictionary per sample that has ``pred_score`` and
``gt_label`` (before 1.2 ``pred_scores.item`` and ``gt_labels.item``), or, before 1.0, a list of score vectors alone.
They name no samples. ``AccMetric`` there takes a ``gt_label`` of one number for the class, and one of several for zeros
and ones of all classes, be they whole numbers or floats. Where that cannot be meant, several are read as classes.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from vidflow import safe_pickle
from vidflow.batch import Batch, SkippedSample
from vidflow.errors import DataError, StorageError
from vidflow.evaluation.classification import ClassificationMetrics
from vidflow.evaluation.multi_label import MultiLabelMetrics
from vidflow.predictions import ClassPredictions

PICKLES = (".pkl", ".pickle")
_METADATA = b"vidflow"
_NUM_SHOWN, _NUM_LETTERS = 3, 80
"""Problems in one message, and letters of a wrong value."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScoreFile:
    """The content of a score file: N samples, K classes."""

    name: str
    """What to call it in messages."""
    scores: np.ndarray
    """float32 [N, K]; rows of NaN for samples that were missed."""
    labels: tuple[tuple[int, ...], ...] | None
    """Classes of each sample; None where the file does not tell them."""
    ids: tuple[str, ...] | None
    """Names of the samples; None where the file does not tell them."""
    multi_label: bool = False
    classes: tuple[str, ...] | None = None
    """Names of the classes, where the file tells them."""

    @property
    def missed(self) -> np.ndarray:
        """bool [N], samples without scores."""
        return np.asarray(np.isnan(self.scores).all(axis=1))

    def named(self, row: int) -> str:
        """A sample as messages call it."""
        return f"row {row}" if self.ids is None else repr(self.ids[row])


class _About(BaseModel):
    """The metadata of our files."""

    model_config = ConfigDict(strict=True)

    classes: tuple[str, ...] | None = None
    multi_label: bool | None = None


def metrics_of(file: ScoreFile) -> dict[str, float]:
    """The numbers that testing prints: top1, top5, mean_class_accuracy and macro_f1, or mAP for multi-label sets.

    Raises:
        DataError: the file tells no labels, or a label beyond the number of classes.
    """
    if file.labels is None:
        raise DataError(f"{file.name}: tells no labels, so that nothing can be counted")
    num_samples, num_classes = file.scores.shape
    _check_labels(file, num_classes)
    if file.multi_label:
        targets = torch.zeros(num_samples, num_classes)
        for row, found in enumerate(file.labels):
            targets[row, list(found)] = 1
    else:
        targets = torch.tensor([label for (label,) in file.labels])
    ids = [file.named(row) for row in range(num_samples)]
    batch = Batch(
        ids=ids,
        indices=torch.arange(num_samples),
        inputs={},
        targets={"labels": targets},
        padding=torch.zeros(num_samples, dtype=torch.bool),
        skipped=tuple(
            SkippedSample(row, str(row), ids[row], "has no scores") for row in np.flatnonzero(file.missed).tolist()
        ),
    )
    metrics = MultiLabelMetrics() if file.multi_label else ClassificationMetrics()
    metrics.update(ClassPredictions(torch.from_numpy(file.scores)), batch)
    return metrics.compute()


def _check_labels(file: ScoreFile, num_classes: int) -> None:
    for row, found in enumerate(file.labels or ()):
        if not file.multi_label and len(found) != 1:
            raise DataError(f"{file.name}: {file.named(row)} has the labels {list(found)}, one is needed")
        if wrong := [label for label in found if not 0 <= label < num_classes]:
            raise DataError(f"{file.name}: {file.named(row)} has the label {wrong[0]}, there are {num_classes} classes")
        if len(set(found)) < len(found):
            raise DataError(
                f"{file.name}: {file.named(row)} has the labels {list(found)}; each class may be there once"
            )


def write_score_file(path: Path, file: ScoreFile, indices: np.ndarray | None = None) -> None:
    """Write a Parquet file, whole or not at all.

    Args:
        indices: int64 [N], positions in the manifest; None counts rows.

    Raises:
        StorageError: it cannot be written.
    """
    num_samples = len(file.scores)
    rows = np.arange(num_samples) if indices is None else indices
    predicted = np.where(file.missed, -1, file.scores.argmax(1)).astype(np.int32)
    metadata = {"classes": file.classes, "multi_label": file.multi_label}
    table = pa.table(
        {
            "index": pa.array(rows),
            "id": pa.array(file.ids if file.ids is not None else [str(row) for row in rows.tolist()], pa.string()),
            "labels": pa.array(file.labels, pa.list_(pa.int32())),
            "predicted": pa.array(predicted),
            "scores": pa.array(list(file.scores), pa.list_(pa.float32())),
        }
    ).replace_schema_metadata({_METADATA: json.dumps(metadata)})
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, part)
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_score_file(path: str | os.PathLike[str]) -> ScoreFile:
    """Read one of ours, or a pickle of MMAction2 (a name in ``PICKLES``), without running what it holds.

    Raises:
        DataError: damaged, of another content, with scores of several lengths, with scores that are partly not finite,
            with an id twice or none, or with labels that are no classes.
    """
    path = Path(path)
    file = _from_pickle(path) if path.suffix.lower() in PICKLES else _from_parquet(path)
    bad = ~np.isfinite(file.scores).all(axis=1) & ~file.missed
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path}: scores of {file.named(row)} are partly not finite ({int(bad.sum())} such samples)")
    if file.ids is not None and len(set(file.ids)) < len(file.ids):
        seen: set[str] = set()
        twice = next(name for name in file.ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"{path}: has {twice!r} more than once; a score file has a row per sample")
    if file.labels is not None:
        _check_labels(file, file.scores.shape[1])
    return file


def _stacked(rows: Sequence[Any], where: Path) -> np.ndarray:
    """float32 [N, K] of N vectors.

    Raises:
        DataError: none, or vectors of several lengths.
    """
    if not rows:
        raise DataError(f"{where}: holds no samples")
    try:
        vectors = [np.asarray(row, np.float32) for row in rows]
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
        raise DataError(f"{where}: its scores are no numbers ({error})") from error
    shapes = {vector.shape for vector in vectors}
    if len(shapes) > 1 or vectors[0].ndim != 1 or not vectors[0].size:
        found = ", ".join(str(list(shape)) for shape in sorted(shapes)[:4])
        raise DataError(f"{where}: scores of shape {found}; each sample needs one per class, equally many")
    return np.stack(vectors)


def _from_parquet(path: Path) -> ScoreFile:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: no readable Parquet file ({error}); testing writes one with --dump") from error
    if missing := {"id", "labels", "scores"} - set(table.column_names):
        raise DataError(f"{path}: has no column {', '.join(sorted(missing))}; testing writes score files with --dump")
    scores = _stacked(table.column("scores").to_pylist(), path)
    ids = _ids(table.column("id"), path)
    labels = _label_lists(table.column("labels"), ids, path)
    about = _about((table.schema.metadata or {}).get(_METADATA), path)
    classes = about.classes
    if classes is not None and len(classes) != scores.shape[1]:
        raise DataError(f"{path}: {len(classes)} class names for {scores.shape[1]} scores; dump the scores again")
    return ScoreFile(
        name=str(path),
        scores=scores,
        labels=labels,
        ids=ids,
        multi_label=any(len(row) != 1 for row in labels) if about.multi_label is None else about.multi_label,
        classes=classes,
    )


def _ids(column: pa.ChunkedArray, where: Path) -> tuple[str, ...]:
    if pa.types.is_dictionary(column.type):  # what pandas makes of categories
        column = column.cast(column.type.value_type)
    if not any(fits(column.type) for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise DataError(f"{where}: its column id holds {column.type}; write the samples' names there, as strings")
    ids = column.to_pylist()
    if (row := next((row for row, name in enumerate(ids) if not name), None)) is not None:
        raise DataError(f"{where}: row {row} has no id ({ids[row]!r}); write the sample's name there")
    return tuple(ids)


def _label_lists(column: pa.ChunkedArray, ids: Sequence[str], where: Path) -> tuple[tuple[int, ...], ...]:
    types, kind = pa.types, column.type
    is_list = any(fits(kind) for fits in (types.is_list, types.is_large_list, types.is_fixed_size_list))
    if not types.is_integer(kind.value_type if is_list else kind):
        raise DataError(
            f"{where}: its column labels holds {kind}; write each sample's class there, as a whole number, or a list "
            "of its classes"
        )
    rows = column.to_pylist()
    for name, found in zip(ids, rows, strict=True):
        if found is None or (is_list and None in found):
            raise DataError(f"{where}: {name!r} has the labels {found}, and each must be a class; add what is missing")
    return tuple(tuple(found) for found in rows) if is_list else tuple((found,) for found in rows)


def _about(text: bytes | None, where: Path) -> _About:
    try:
        return _About.model_validate_json(text or b"{}")
    except ValidationError as error:
        problems = "; ".join(
            ": ".join([*map(str, found["loc"]), found["msg"]]) for found in error.errors()[:_NUM_SHOWN]
        )
        raise DataError(f"{where}: its metadata cannot be read ({problems}); dump the scores again") from error


def _from_pickle(path: Path) -> ScoreFile:
    content = safe_pickle.load(path)
    if not isinstance(content, list) or not content:
        raise DataError(
            f"{path}: holds a {type(content).__name__}; MMAction2's result is a list with an entry per sample"
        )
    if not all(isinstance(entry, dict) for entry in content):
        return ScoreFile(name=str(path), scores=_stacked(content, path), labels=None, ids=None)
    rows = [_item(entry, ("pred_score", "pred_scores"), path, row) for row, entry in enumerate(content)]
    scores = _stacked(rows, path)
    truths = [
        _truth(_item(entry, ("gt_label", "gt_labels"), path, row), path, row) for row, entry in enumerate(content)
    ]
    multi_label = all(_is_zeros_and_ones(truth, scores.shape[1]) for truth in truths)
    if multi_label:
        labels = tuple(tuple(np.flatnonzero(truth).tolist()) for truth in truths)
    else:
        for row, truth in enumerate(truths):
            if truth.dtype.kind not in "iuf" or not (np.isfinite(truth) & (truth == np.trunc(truth))).all():
                raise _no_classes(truth.tolist(), path, row)
            if truth.size > 1 and _is_zeros_and_ones(truth, scores.shape[1]):
                raise DataError(
                    f"{path}: entry {row} has the gt_label {str(truth.tolist())[:_NUM_LETTERS]}, zeros and ones or "
                    "classes, and other entries have no zeros and ones; write such for all entries"
                )
        labels = tuple(tuple(int(label) for label in truth) for truth in truths)
        multi_label = any(len(found) != 1 for found in labels)
    return ScoreFile(name=str(path), scores=scores, labels=labels, ids=None, multi_label=multi_label)


def _truth(value: Any, where: Path, row: int) -> np.ndarray:
    """The numbers of a ``gt_label``, [n]."""
    try:
        truth = np.asarray(value).reshape(-1)
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
        raise _no_classes(value, where, row) from error
    if truth.dtype.kind not in "biuf":
        raise _no_classes(value, where, row)
    return truth


def _is_zeros_and_ones(truth: np.ndarray, num_classes: int) -> bool:
    # Of a single class a whole number is its index, as everywhere else.
    whole = num_classes == 1 and truth.dtype.kind in "iu"
    return truth.shape == (num_classes,) and not whole and bool(((truth == 0) | (truth == 1)).all())


def _no_classes(value: Any, where: Path, row: int) -> DataError:
    return DataError(
        f"{where}: entry {row} has the gt_label {str(value)[:_NUM_LETTERS]}; it must be a class, as a whole number, or "
        "a 0 or 1 for each class"
    )


def _item(entry: dict[Any, Any], names: tuple[str, str], where: Path, row: int) -> Any:
    """What MMAction2 from 1.2 has under the first name, and before under ``item`` of the second."""
    if names[0] in entry:
        return entry[names[0]]
    nested = entry.get(names[1])
    if isinstance(nested, dict) and "item" in nested:
        return nested["item"]
    heads = f" but for {', '.join(map(str, nested))}" if isinstance(nested, dict) else ""
    raise DataError(
        f"{where}: entry {row} has no {names[0]} (or {names[1]} item){heads}, only {', '.join(map(str, entry))}"
    )
