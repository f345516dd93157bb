"""Sets of features: files named in an ActivityNet-style JSON of segments, and NPZ files with all samples in them."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidflow.errors import ConfigError, DataError
from vidflow.schema import Segment
from vidflow.shards.sources.class_folders import walk_videos
from vidflow.shards.sources.feature_files import FeatureFile, FeatureRow, array_in, has_feature_extension, open_npz
from vidflow.shards.sources.items import Annotations, SourceItem, SourceList, class_name, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row, raise_all
from vidflow.shards.sources.splitting import check_ratio, split_by_ratio

# ActivityNet's names of the splits -> ours.
_SUBSETS = {"training": "train", "validation": "val", "testing": "test"}
_USUAL_ARRAYS = {
    "feature": ("feature", "features", "x"),
    "label": ("label", "labels", "y"),
    "split": ("split", "subset"),
    "id": ("video", "id", "name", "names", "video_id"),
}


@dataclass(frozen=True)
class _Video:
    """One entry of the JSON."""

    name: str
    subset: str | None
    duration: float
    segments: list[tuple[float, float, str]]


def _videos(file: Path) -> tuple[list[_Video], list[str]]:
    """Entries of a JSON in ActivityNet's form or BSN's, and warnings. Segments are cut at the video's end."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error})") from error
    table = content.get("database", content) if isinstance(content, dict) else None
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise DataError(f"{file}: no table of videos, each with duration and annotations")
    videos, problems, num_cut, num_outside, num_empty = [], [], 0, 0, 0
    for name, entry in table.items():
        duration = entry.get("duration_second", entry.get("duration"))
        if not isinstance(duration, (int, float)) or not duration > 0:
            problems.append(f"{file}: {name}: duration is {duration!r}, seconds are needed")
            continue
        segments = []
        for note in entry.get("annotations", []):
            try:
                start, end = (float(value) for value in note["segment"])
                label = str(note["label"])
            except (KeyError, TypeError, ValueError):
                problems.append(f"{file}: {name}: annotation {note!r} needs segment [start, end] and label")
                continue
            if start == end:  # ActivityNet 1.3 itself has a dozen of them
                num_empty += 1
            elif not 0 <= start < end:
                problems.append(f"{file}: {name}: segment [{start:g}, {end:g}] must end after its start")
            elif start >= duration:
                num_outside += 1
            else:
                num_cut += end > duration
                segments.append((start, min(end, float(duration)), label))
        videos.append(_Video(name, entry.get("subset"), float(duration), segments))
    raise_all(problems, "entries that do not fit:")
    warnings = [f"{file}: {num_cut} segments reach beyond their video's end, and were cut there"] if num_cut else []
    if num_outside:
        warnings.append(f"{file}: {num_outside} segments begin after their video's end, and were left out")
    if num_empty:
        warnings.append(f"{file}: {num_empty} segments end where they start, and were left out")
    return videos, warnings


def _feature_files(root: Path, skipped: Counter[str]) -> dict[str, str]:
    """Name without extension -> path."""
    found: dict[str, str] = {}
    for path in walk_videos(os.fspath(root), (), skipped, has_feature_extension):
        name = Path(path).stem
        if name in found:
            raise DataError(
                f"{root}: {text_of(found[name])} and {text_of(path)} are both features of {text_of(name)!r}"
            )
        found[name] = path
    return found


def read_segment_features(
    root: Path,
    annotations: Sequence[tuple[str | None, Path]],
    *,
    array: str | None = None,
    transpose: bool = False,
    split: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    allow_missing: bool = False,
) -> SourceList:
    """List feature files ``<video>.npy`` (or another extension) that JSON files of segments name.

    A video's labels are the classes of its segments; a video without any is a negative, and is kept. An entry
    ``v_<name>`` finds ``<name>`` too, and the other way round.

    Args:
        root: folder of the feature files, at any depth.
        annotations: split (None takes the JSON's ``subset``) and file each.
        array: see ``FeatureFile``, like ``transpose``.
        split: share of train, for lists without splits.
        seed: decides the split.
        classes: class names in the order of their indices; None sorts the labels.
        allow_missing: count videos without a feature file as skipped; else an error.

    Raises:
        DataError: no such JSON, segments that do not fit, missing feature files, or a video that is there twice.
    """
    skipped: Counter[str] = Counter()
    files = _feature_files(root, skipped)
    rows: list[Row] = []
    found: list[tuple[_Video, str, str]] = []  # video, split, path
    warnings: list[str] = []
    missing: list[str] = []
    used: dict[str, str] = {}
    for given, file in annotations:
        videos, cut = _videos(file)
        warnings += cut
        for video in videos:
            ours = given or _SUBSETS.get(video.subset or "", video.subset or "")
            if not ours and split is None:
                raise ConfigError(f"{file}: {video.name} has no subset; give --segments SPLIT={file}, or --split 0.9")
            path = next(
                (files[n] for n in (video.name, f"v_{video.name}", video.name.removeprefix("v_")) if n in files), None
            )
            if path is None:
                missing.append(f"{file}: {text_of(video.name)}")
                continue
            if path in used:
                raise DataError(f"{file}: {video.name} was in {used[path]} already; leave one of them out")
            used[path] = str(file)
            rows.append(Row(f"{file}: {video.name}", path, tuple(label for _, _, label in video.segments)))
            found.append((video, ours, path))
    if missing and not allow_missing:
        raise_all(missing, f"videos have no feature file below {root}; give --allow-missing to go on without them:")
    skipped["video without a feature file"] += len(missing)
    skipped["feature file that no annotation names"] += len(files) - len(used)
    indices, class_names, notes = resolve_labels(rows, classes=classes, num_classes=None, first_label=0)
    index = {name: position for position, name in enumerate(class_names)}
    items = []
    prefix = len(os.path.join(os.fspath(root), ""))  # noqa: PTH118 -- a length in the plain string
    for (video, ours, path), labels in zip(found, indices, strict=True):
        segments = tuple(
            Segment(start=start, end=end, label=_index(label, index)) for start, end, label in video.segments
        )
        reader = FeatureFile(array, transpose, video.duration)
        notes_of_item = Annotations(segments=segments)
        items.append(SourceItem(path, text_of(path[prefix:]), ours, labels, reader=reader, annotations=notes_of_item))
    if split is not None:
        check_ratio(split)
        if any(item.split for item in items):
            raise ConfigError(f"--split {split}: the annotations have splits already; leave it out")
        items = split_by_ratio(items, ratio=split, seed=seed)
    options: dict[str, object] = {
        "source": "features with segments",
        "array": array,
        "transpose": transpose,
        "split": split,
    }
    if split is not None:
        options["split_seed"] = seed
    name = root.resolve().name
    return SourceList(name, tuple(items), class_names, True, +skipped, (*warnings, *notes), options, "localization")


def _index(label: str, index: dict[str, int]) -> int:
    name = class_name(label)
    return index[name] if name in index else int(label)


def read_feature_archive(
    file: Path,
    *,
    array: str | None = None,
    split: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> SourceList:
    """List the rows of an NPZ file with features [N, T, C], labels [N], and perhaps splits [N] and names [N].

    Args:
        file: the arrays are called feature, label, split (or subset) and video (or id, name), or similar.
        array: name of the features, where it is another.
        split: share of train, for a file without splits.
        seed: decides the split.
        classes: class names in the order of their indices.

    Raises:
        DataError: an array is missing or of another length.
    """
    with open_npz(file) as archive:
        names = {role: next((n for n in usual if n in archive.files), None) for role, usual in _USUAL_ARRAYS.items()}
        feature = array or names["feature"]
        if feature is None or feature not in archive.files or names["label"] is None:
            raise DataError(f"{file}: needs arrays feature and label, it has {', '.join(archive.files)}; see --array")
        shape = array_in(archive, feature, file).shape
        texts = {
            role: array_in(archive, n, file).tolist()
            for role, n in names.items()
            if n is not None and role != "feature"
        }
    if bad := [f"{role} has {len(values)}" for role, values in texts.items() if len(values) != shape[0]]:
        raise DataError(f"{file}: {feature} has {shape[0]} rows, but {', '.join(bad)}")
    if ("split" in texts) == (split is not None):
        raise ConfigError(
            f"{file}: {'has splits, leave --split out' if split is not None else 'has no splits, give --split'}"
        )
    rows = [Row(f"{file}[{row}]", str(row), (str(label),)) for row, label in enumerate(texts["label"])]
    indices, class_names, warnings = resolve_labels(rows, classes=classes, num_classes=None, first_label=0)
    ids = [text_of(str(name)) for name in texts.get("id", [f"{row:06d}" for row in range(shape[0])])]
    raise_all([n for n, count in Counter(ids).items() if count > 1], "names are there more than once:")
    subsets: list[Any] = texts.get("split", [""] * shape[0])
    items = [
        SourceItem(str(file), name, _SUBSETS.get(str(subset), str(subset)), labels, reader=FeatureRow(feature, row))
        for row, (name, subset, labels) in enumerate(zip(ids, subsets, indices, strict=True))
    ]
    if split is not None:
        check_ratio(split)
        items = split_by_ratio(items, ratio=split, seed=seed)
    options: dict[str, object] = {"source": "feature archive", "array": feature, "split": split}
    if split is not None:
        options["split_seed"] = seed
    return SourceList(file.stem, tuple(items), class_names, False, Counter(), tuple(warnings), options, "recognition")
