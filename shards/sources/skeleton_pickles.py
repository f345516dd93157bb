"""Skeleton files with many samples: the pickles of MMAction2 and PYSKL, and NPY arrays [N, C, T, V, M] of ST-GCN.

Formats: ``{"split": {name: [frame_dir, ...]}, "annotations": [{frame_dir, label, keypoint, ...}]}``
(PYSKL, tools/data/README.md), where keypoints may lie in files of their own (see ``skeleton_kpfiles``), and
``train_data.npy`` beside ``train_label.pkl`` (ST-GCN, arXiv:1801.07455, tools/ntu_gendata.py).
Pickles are read by ``vidflow.safe_pickle``, which admits plain containers and arrays and nothing else.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vidflow import safe_pickle
from vidflow.errors import ConfigError, DataError
from vidflow.shards.contents import Contents
from vidflow.shards.sources.items import SourceItem, SourceList, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row, raise_all
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents
from vidflow.shards.sources.skeleton_kpfiles import KeypointFile, find_keypoint_files
from vidflow.shards.sources.splitting import check_ratio, split_by_ratio

_SIDES = ("train", "val", "test")


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
        row = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)[self.index])
        keypoints = row.transpose(3, 1, 2, 0)  # [C, T, V, M] -> [M, T, V, C]
        shown = np.any(keypoints, axis=(2, 3))  # [M, T]; NaN counts as shown
        if shown.any():
            last = int(np.flatnonzero(np.any(shown, axis=0))[-1])
            keypoints = keypoints[np.flatnonzero(np.any(shown, axis=1)), : last + 1]
        else:
            keypoints = keypoints[:0]
        return skeleton_contents(keypoints, None, self.policy, conceal=conceal)


def _chosen_splits(split: Mapping[str, Any], protocol: str | None, where: str) -> dict[str, str]:
    """Name of a split in the file -> ours."""
    if protocol is None:
        chosen = {name: name for name in split if name in _SIDES}
    else:
        tag = re.escape(protocol)
        pattern = re.compile(rf"(?:{tag}_?(train|val|test)|(train|val|test)_?{tag})")
        matches = {name: pattern.fullmatch(name) for name in split}
        chosen = {name: match[1] or match[2] for name, match in matches.items() if match}
    if not chosen:
        wanted = "train, val or test" if protocol is None else f"--protocol {protocol}"
        raise DataError(
            f"{where}: no split for {wanted}, it has {', '.join(map(str, split))}; "
            "give --protocol with what they share, such as xsub for xsub_train and xsub_val"
        )
    return chosen


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    shape = entry.get("img_shape") or entry.get("original_shape")
    return None if shape is None else (int(shape[1]), int(shape[0]))


def _keypoints_of(entry: Mapping[str, Any]) -> str:
    """The key that says where the bodies are: with the entry itself, or in a keypoint file."""
    return "frame_inds" if "frame_inds" in entry and "keypoint" not in entry else "keypoint"


def reader_of(entry: Mapping[str, Any], policy: SkeletonPolicy) -> SkeletonArrays | KeypointFile:
    """The reader of a complete annotation, which has ``keypoint``, or ``frame_inds`` of a keypoint file."""
    if "keypoint" not in entry:
        return KeypointFile(str(entry["frame_dir"]), np.asarray(entry["frame_inds"]), _size(entry), policy)
    scores, total = entry.get("keypoint_score"), entry.get("total_frames")
    return SkeletonArrays(
        np.asarray(entry["keypoint"]),
        None if scores is None else np.asarray(scores),
        _size(entry),
        None if total is None else int(total),
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
        DataError: another content, entries without keypoints or label, a name that is there twice or nowhere, or
            keypoint files that are missing.
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
            for member in content["split"][name]:
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
    repeated = [name for name, count in Counter(entry["frame_dir"] for entry in entries).items() if count > 1]
    raise_all([f"{file}: {name!r}" for name in repeated], "names are there more than once:")
    names = {entry["frame_dir"] for entry in entries}
    raise_all(
        [f"{file}: {name!r}" for name in split_of if name not in names], "names of the splits have no annotation:"
    )
    rows = [
        Row(place, text_of(str(entry["frame_dir"])), (str(int(entry["label"])),))
        for place, entry in zip(where, entries, strict=True)
    ]
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
        path, reader = str(file), reader_of(entry, policy)
        if isinstance(reader, KeypointFile):
            wanted = PurePath(str(entry.get("raw_file") or f"{reader.name}.pkl")).name
            path = files.get(wanted, str(folder / wanted))
            if wanted not in files:
                missing_files.append(f"{row.where}: {wanted}")
        items.append(SourceItem(path, row.path, ours, labels, reader=reader))
    if not allow_missing:
        raise_all(missing_files, f"keypoint files are missing below {folder}; give --allow-missing to go on without:")
    if split is not None:
        items = split_by_ratio(items, ratio=split, seed=seed)
    options: dict[str, object] = {"source": "skeleton pickle", "protocol": protocol, "split": split}
    if split is not None:
        options["split_seed"] = seed
    return SourceList(file.stem, tuple(items), class_names, False, skipped, tuple(warnings), options, "skeleton")


def _npy_labels(data: Path, count: int) -> tuple[list[str], list[str]]:
    """Names and labels of the rows, from the file beside the array."""
    stems = {data.stem.replace("_data", "_label"), data.stem.replace("data", "labels"), f"{data.stem}_label"}
    candidates = [data.with_name(f"{stem}{suffix}") for stem in sorted(stems) for suffix in (".pkl", ".npy", ".txt")]
    found = [path for path in candidates if path.is_file() and path != data]
    if len(found) != 1:
        listed = ", ".join(path.name for path in found or candidates)
        raise DataError(f"{data}: {'several' if found else 'no'} files of labels beside it: {listed}; one is needed")
    (file,) = found
    names = [f"{data.stem}/{row:06d}" for row in range(count)]
    if file.suffix == ".pkl":
        content = safe_pickle.load(file)
        if isinstance(content, (tuple, list)) and len(content) == 2 and not np.isscalar(content[0]):
            names, labels = [str(name) for name in content[0]], list(content[1])
        else:
            labels = list(content)  # type: ignore[call-overload]
    elif file.suffix == ".npy":
        labels = np.load(file, allow_pickle=False).tolist()
    else:
        labels = file.read_text(encoding="utf-8-sig").split()
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
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
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
