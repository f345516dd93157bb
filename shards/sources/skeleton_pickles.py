"""Skeleton files with many samples: the pickles of MMAction2 and PYSKL, and NPY arrays [N, C, T, V, M] of ST-GCN.

Formats: ``{"split": {name: [frame_dir, ...]}, "annotations": [{frame_dir, label, keypoint, ...}]}``
(PYSKL, tools/data/README.md), where keypoints may lie in files of their own (see ``skeleton_kpfiles``), and
``train_data.npy`` beside ``train_label.pkl`` (ST-GCN, arXiv:1801.07455, tools/ntu_gendata.py).
Pickles are read by ``vidflow.safe_pickle``, which admits plain containers and arrays and nothing else.
"""

import re
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np

from vidflow import safe_pickle
from vidflow.errors import ConfigError, DataError
from vidflow.shards.contents import Contents
from vidflow.shards.sources.items import SourceItem, SourceList, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row, raise_all
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, open_npy, skeleton_contents
from vidflow.shards.sources.skeleton_kpfiles import KeypointFile, find_keypoint_files
from vidflow.shards.sources.splitting import check_ratio, split_by_ratio

_SIDES = ("train", "val", "test")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class SkeletonArrays:
    """Reader of one entry of a pickle; it carries the arrays along."""

    keypoints: np.ndarray
    scores: np.ndarray | None
    size: tuple[int, int] | None
    """Width and height of the picture in pixels."""
    total_frames: int | None
    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [M, T, K, C] and scores [M, T, K] as the pickle has them."""
        if self.total_frames is not None and self.keypoints.ndim == 4 and self.keypoints.shape[1] != self.total_frames:
            raise DataError(f"total_frames is {self.total_frames}, the keypoints have {self.keypoints.shape[1]} frames")
        return skeleton_contents(self.keypoints, self.scores, self.policy, conceal=conceal, size=self.size)


@dataclass(frozen=True, slots=True)
class NpyRow:
    """Reader of one row of an array [N, C, T, V, M]; frames after the last one that shows anybody are padding."""

    index: int
    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [M, T, V, C]; people that never appear are padding as well."""
        row = np.asarray(open_npy(Path(path))[self.index])
        keypoints = row.transpose(3, 1, 2, 0)  # [C, T, V, M] -> [M, T, V, C]
        shown = np.any(keypoints, axis=(2, 3))  # [M, T]; NaN counts as shown
        if shown.any():
            last = int(np.flatnonzero(np.any(shown, axis=0))[-1])
            keypoints = keypoints[np.flatnonzero(np.any(shown, axis=1)), : last + 1]
        else:
            keypoints = keypoints[:0]
        return skeleton_contents(keypoints, None, self.policy, conceal=conceal)


def _chosen_splits(split: Any, protocol: str | None, where: str) -> dict[str, str]:
    """Name of a split in the file -> ours."""
    if not isinstance(split, Mapping):
        raise DataError(f"{where}: split is {reprlib.repr(split)}, not {{name: [frame_dir, ...]}}")
    if protocol is None:
        chosen = {name: name for name in split if name in _SIDES}
    else:
        tag = re.escape(protocol)
        pattern = re.compile(rf"(?:{tag}_?(train|val|test)|(train|val|test)_?{tag})")
        matches = {name: pattern.fullmatch(name) for name in split if isinstance(name, str)}
        chosen = {name: match[1] or match[2] for name, match in matches.items() if match}
    if not chosen:
        wanted = "train, val or test" if protocol is None else f"--protocol {protocol}"
        raise DataError(
            f"{where}: no split for {wanted}, it has {', '.join(map(str, split))}; "
            "give --protocol with what they share, such as xsub for xsub_train and xsub_val"
        )
    return chosen


def _value(entry: Mapping[str, Any], key: str, read: Callable[[Any], _T], needed: str, where: str = "") -> _T:
    """What ``read`` makes of a value; pickles are written by many programs, and anything may stand there.

    Raises:
        DataError: nothing can be made of it, with the value and what is ``needed`` in its place.
    """
    try:
        return read(entry[key])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{where}{key} is {reprlib.repr(entry[key])}, not {needed}") from error


def _whole(value: Any) -> int:
    number = int(value)
    if number != float(value):
        raise ValueError
    return number


def _name(value: Any) -> str:
    if not isinstance(value, str | int | np.integer) or value == "":
        raise TypeError
    return str(value)


def _names(values: Any) -> list[Any]:
    if isinstance(values, str):  # whose letters would be taken for names
        raise TypeError
    for value in values:
        _name(value)
    return list(values)


def _numbers(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise ValueError
    return array


def _width_and_height(shape: Any) -> tuple[int, int]:
    height, width = _numbers(shape)[:2].tolist()
    return _whole(width), _whole(height)


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    keys = [key for key in ("img_shape", "original_shape") if entry.get(key) is not None]
    return _value(entry, keys[0], _width_and_height, "height and width in pixels") if keys else None


def _keypoints_of(entry: Mapping[str, Any]) -> str:
    """The key that says where the bodies are: with the entry itself, or in a keypoint file."""
    return "frame_inds" if "frame_inds" in entry and "keypoint" not in entry else "keypoint"


def reader_of(entry: Mapping[str, Any], policy: SkeletonPolicy) -> SkeletonArrays | KeypointFile:
    """The reader of a complete annotation, which has ``keypoint``, or ``frame_inds`` of a keypoint file.

    Raises:
        DataError: a value that is no such thing; the message names its key alone.
    """
    if "keypoint" not in entry:
        frame_inds = _value(entry, "frame_inds", _numbers, "the frame of each body, numbers [N]")
        return KeypointFile(str(entry["frame_dir"]), frame_inds, _size(entry), policy)
    scores, total = entry.get("keypoint_score"), entry.get("total_frames")
    return SkeletonArrays(
        _value(entry, "keypoint", np.asarray, "an array [M, T, K, C]"),
        None if scores is None else _value(entry, "keypoint_score", np.asarray, "an array [M, T, K]"),
        _size(entry),
        None if total is None else _value(entry, "total_frames", _whole, "a number of frames"),
        policy,
    )


def read_skeleton_pickle(
    file: Path,
    policy: SkeletonPolicy,
    *,
    protocol: str | None = None,
    split: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    keypoint_folder: Path | None = None,
    allow_missing: bool = False,
) -> SourceList:
    """List the samples of a skeleton pickle of MMAction2 or PYSKL.

    Args:
        file: ``{split, annotations}``, or a list of annotations, which needs ``split``.
        policy: for odd skeletons.
        protocol: what the names of the wanted splits share, such as ``xsub``; None takes train, val and test.
        split: share of train, for a file without splits.
        seed: decides the split.
        classes: class names in the order of their indices.
        num_classes: how many there are; None takes the largest label.
        keypoint_folder: holds the keypoints, where the pickle has none; None takes ``kpfiles`` beside it.
        allow_missing: leave samples whose keypoint file is missing to be rejected in packing.

    Raises:
        DataError: another content, entries without keypoints or label or with values that are no such thing, a name
            that is there twice or nowhere, or keypoint files that are missing.
    """
    content = safe_pickle.load(file)
    split_of: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    if isinstance(content, dict) and {"split", "annotations"} <= content.keys():
        if split is not None:
            raise ConfigError(f"--split {split}: {file} has splits of its own; leave it out")
        entries: Any = content["annotations"]
        chosen = _chosen_splits(content["split"], protocol, str(file))
        for name, ours in chosen.items():
            for member in _value(content["split"], name, _names, "a list of frame_dir", f"{file}: split."):
                if split_of.setdefault(member, ours) != ours:
                    raise DataError(f"{file}: {member!r} is in {split_of[member]} and in {ours}")
    elif isinstance(content, list):
        entries = content
        if split is None:
            raise ConfigError(f"{file}: a list without splits; give --split 0.9")
        check_ratio(split)
    else:
        raise DataError(f"{file}: neither {{split, annotations}} nor a list of annotations")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{file}: its annotations are no list of dictionaries")
    where = [f"{file}[{position}]" for position in range(len(entries))]
    raise_all(
        [
            f"{place}: {entry.get('frame_dir')!r} has no {', '.join(missing)}"
            for place, entry in zip(where, entries, strict=True)
            if (missing := [key for key in ("frame_dir", "label", _keypoints_of(entry)) if key not in entry])
        ],
        "annotations are not complete; each needs its keypoints, or frame_inds and a keypoint file:",
    )
    rows, problems = [], []
    for place, entry in zip(where, entries, strict=True):
        try:
            name = _value(entry, "frame_dir", _name, "the name of a sample")
            label = _value(entry, "label", _whole, "the number of a class")
        except DataError as error:
            problems.append(f"{place}: {error}")
        else:
            rows.append(Row(place, text_of(name), (str(label),)))
    raise_all(problems, "annotations do not fit:")
    repeated = [name for name, count in Counter(entry["frame_dir"] for entry in entries).items() if count > 1]
    raise_all([f"{file}: {name!r}" for name in repeated], "names are there more than once:")
    names = {entry["frame_dir"] for entry in entries}
    raise_all(
        [f"{file}: {name!r}" for name in split_of if name not in names], "names of the splits have no annotation:"
    )
    indices, class_names, warnings = resolve_labels(rows, classes=classes, num_classes=num_classes, first_label=0)
    in_files = [entry for entry in entries if "keypoint" not in entry]
    folder = file.parent / "kpfiles" if keypoint_folder is None else keypoint_folder
    files = find_keypoint_files(folder) if in_files else {}
    items, missing_files = [], []
    for row, labels, entry in zip(rows, indices, entries, strict=True):
        ours = split_of.get(entry["frame_dir"], "") if split is None else ""
        if split is None and not ours:
            skipped["annotation that is in no chosen split"] += 1
            continue
        path = str(file)
        try:
            reader = reader_of(entry, policy)
        except DataError as error:
            problems.append(f"{row.where}: {error}")
            continue
        if isinstance(reader, KeypointFile):
            wanted = PurePath(str(entry.get("raw_file") or f"{reader.name}.pkl")).name
            path = files.get(wanted, str(folder / wanted))
            if wanted not in files:
                missing_files.append(f"{row.where}: {wanted}")
        items.append(SourceItem(path, row.path, ours, labels, reader=reader))
    raise_all(problems, "annotations do not fit:")
    if not allow_missing:
        raise_all(missing_files, f"keypoint files are missing below {folder}; give --allow-missing to go on without:")
    if split is not None:
        items = split_by_ratio(items, ratio=split, seed=seed)
    options: dict[str, object] = {"source": "skeleton pickle", "protocol": protocol, "split": split}
    if split is not None:
        options["split_seed"] = seed
    return SourceList(file.stem, tuple(items), class_names, False, skipped, tuple(warnings), options, "skeleton")


def _npy_labels(data: Path, count: int) -> tuple[list[str], list[str]]:
    """Names and labels of the rows, from the file beside the array.

    Raises:
        DataError: there is none, or it is none of labels.
    """
    stems = {data.stem.replace("_data", "_label"), data.stem.replace("data", "labels"), f"{data.stem}_label"}
    candidates = [data.with_name(f"{stem}{suffix}") for stem in sorted(stems) for suffix in (".pkl", ".npy", ".txt")]
    found = [path for path in candidates if path.is_file() and path != data]
    if len(found) != 1:
        listed = ", ".join(path.name for path in found or candidates)
        raise DataError(f"{data}: {'several' if found else 'no'} files of labels beside it: {listed}; one is needed")
    (file,) = found
    names = [f"{data.stem}/{row:06d}" for row in range(count)]
    try:
        if file.suffix == ".pkl":
            content = safe_pickle.load(file)
            if isinstance(content, (tuple, list)) and len(content) == 2 and not np.isscalar(content[0]):
                names, labels = [str(name) for name in content[0]], list(content[1])
            else:
                labels = list(content)  # type: ignore[call-overload]
        elif file.suffix == ".npy":
            labels = list(open_npy(file))
        else:
            labels = file.read_text(encoding="utf-8-sig").split()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{file}: is no list of labels ({error}); give one label for each row of {data.name}"
        ) from error
    if len(labels) != count or len(names) != count:
        raise DataError(f"{file}: {len(labels)} labels for {count} rows of {data.name}")
    return names, [str(label) for label in labels]


def read_skeleton_arrays(
    files: Sequence[tuple[str, Path]],
    policy: SkeletonPolicy,
    *,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
) -> SourceList:
    """List the rows of arrays [N, C, T, V, M].

    Args:
        files: split and ``.npy`` file each; labels lie beside it, such as ``train_label.pkl`` beside
            ``train_data.npy``, as a list of labels, or of names and labels.
        policy: for odd skeletons.
        classes: class names in the order of their indices.
        num_classes: how many there are; None takes the largest label.

    Raises:
        DataError: another shape, or no labels.
    """
    rows: list[Row] = []
    found: list[tuple[str, Path, int]] = []
    for split, file in files:
        try:
            array = open_npy(file)
        except OSError as error:
            raise DataError(f"{file}: no readable .npy array ({error})") from error
        if array.ndim != 5 or array.dtype.kind not in "fiu" or array.shape[1] not in (2, 3):
            raise DataError(f"{file}: {array.dtype} {list(array.shape)}; numbers [N, C, T, V, M], C 2 or 3, are needed")
        names, labels = _npy_labels(file, len(array))
        rows += [
            Row(f"{file}[{row}]", text_of(name), (label,))
            for row, (name, label) in enumerate(zip(names, labels, strict=True))
        ]
        found += [(split, file, row) for row in range(len(array))]
    repeated = [name for name, count in Counter(row.path for row in rows).items() if count > 1]
    raise_all(repeated, "names are there more than once:")
    indices, class_names, warnings = resolve_labels(rows, classes=classes, num_classes=num_classes, first_label=0)
    items = tuple(
        SourceItem(str(file), row.path, split, labels, reader=NpyRow(position, policy))
        for row, labels, (split, file, position) in zip(rows, indices, found, strict=True)
    )
    name = files[0][1].resolve().parent.name
    options: dict[str, object] = {"source": "skeleton arrays"}
    return SourceList(name, items, class_names, False, Counter(), tuple(warnings), options, "skeleton")
