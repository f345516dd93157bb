"""UTKinect-Action3D: Kinect text, in which a file holds a recording of ten actions one after the other.

``joints/joints_s01_e01.txt`` has a line per frame: its number, then x y z in metres of 20 joints. ``actionLabel.txt``
names a recording and then its actions with their first and last frame, ``walk: 252 390``; ``NaN`` stands where an
action was not recorded. Format as the owners publish it ("View Invariant Human Action Recognition Using Histograms of
3D Joints", CVPR Workshops 2012).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidflow.errors import DataError
from vidflow.shards.contents import Contents
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.items import SourceItem, SourceList
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row, raise_all
from vidflow.shards.sources.named_files import SplitRule, splits_by_rules
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents
from vidflow.shards.sources.skeleton_files import numbers_of, text_lines
from vidflow.shards.sources.splitting import check_groups, check_ratio, split_by_ratio

LABELS_NAME = "actionLabel.txt"
_JOINTS = 20
_RECORDING = re.compile(r"s\d+_e\d+")
_ACTION = re.compile(r"(\w+)\s*:\s*(NaN|\d+)\s+(NaN|\d+)")
_ID = re.compile(r"s(?P<subject>\d+)_e(?P<rep>\d+)/(?P<label>\w+)")


@dataclass(frozen=True, slots=True)
class UtKinectPart:
    """Reader of one action of a recording."""

    first: int
    last: int
    """Numbers of its frames in the file, the last one included."""
    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [1, T, 20, 3] in metres, over the frames that the file has; one that it has twice counts once."""
        frames: dict[int, list[float]] = {}
        for number, line in enumerate(text_lines(path), 1):
            if line.strip():
                frame, *values = numbers_of(line, 1 + 3 * _JOINTS, f"{path}:{number}")
                if self.first <= frame <= self.last:
                    frames.setdefault(int(frame), values)
        if not frames:
            raise DataError(f"{path}: has no frame of {self.first} to {self.last}, which {LABELS_NAME} names")
        keypoints = np.array([frames[frame] for frame in sorted(frames)], np.float32).reshape(1, -1, _JOINTS, 3)
        return skeleton_contents(keypoints, None, self.policy, conceal=conceal)


def read_utkinect(
    root: Path,
    policy: SkeletonPolicy,
    *,
    rules: Sequence[SplitRule] = (),
    split: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> SourceList:
    """List the actions of all recordings; those of one recording form a group.

    Args:
        root: folder with ``actionLabel.txt`` and the recordings, at any depth.
        policy: for odd skeletons.
        rules: the split of each action by ``subject``, ``rep`` and ``label``.
        split: share of train, in place of rules.
        seed: decides the split.
        classes: class names in the order of their indices; None takes the order of the file.

    Raises:
        DataError: lines that do not parse, recordings that are missing, or actions that no rule takes.
    """
    labels_file = root / LABELS_NAME
    skipped: Counter[str] = Counter()
    problems: list[str] = []
    rows: list[Row] = []
    parts: list[UtKinectPart] = []
    paths = {path.stem.removeprefix("joints_"): str(path) for path in sorted(root.rglob("joints_s*_e*.txt"))}
    recording = ""
    for number, line in read_lines(labels_file):
        where = f"{labels_file}:{number}"
        if _RECORDING.fullmatch(line.strip()):
            recording = line.strip()
            if recording not in paths:
                problems.append(f"{where}: no file joints_{recording}.txt below {root}")
            continue
        found = _ACTION.fullmatch(line.strip())
        if found is None or not recording:
            problems.append(f"{where}: no 's01_e01' and no 'action: first last' in {line!r}")
        elif "NaN" in (found[2], found[3]):
            skipped["action that was not recorded (NaN)"] += 1
        elif int(found[2]) > int(found[3]):
            problems.append(f"{where}: {found[1]} ends at frame {found[3]}, before it begins at {found[2]}")
        else:
            rows.append(Row(where, f"{recording}/{found[1]}", (found[1],), group=recording))
            parts.append(UtKinectPart(int(found[2]), int(found[3]), policy))
    raise_all(problems, "lines that do not fit:")
    repeated = [name for name, count in Counter(row.path for row in rows).items() if count > 1]
    raise_all([f"{labels_file}: {name}" for name in repeated], "actions are there more than once:")
    if not rows:
        raise DataError(f"{labels_file}: names no action")
    names = tuple(dict.fromkeys(row.labels[0] for row in rows)) if classes is None else tuple(classes)
    indices, names, warnings = resolve_labels(rows, classes=names, num_classes=None, first_label=0)
    matches = [match for row in rows if (match := _ID.fullmatch(row.path))]
    splits = splits_by_rules(matches, rules) if rules else [""] * len(rows)
    items = [
        SourceItem(paths[row.group or ""], row.path, name, labels, row.group, reader=part)
        for row, name, labels, part in zip(rows, splits, indices, parts, strict=True)
    ]
    if split is not None:
        check_ratio(split)
        items = split_by_ratio(items, ratio=split, seed=seed)
    elif untaken := [item.id for item in items if not item.split]:
        raise DataError(f"no --split-rule takes {len(untaken)} of {len(items)} actions, such as {untaken[0]}; add one")
    check_groups(items)
    options: dict[str, object] = {"source": "UTKinect", "split": split}
    if rules:
        options["split_rules"] = [
            rule.split if rule.condition is None else f"{rule.split}={rule.condition}" for rule in rules
        ]
    if split is not None:
        options["split_seed"] = seed
    return SourceList(root.resolve().name, tuple(items), names, False, skipped, tuple(warnings), options, "skeleton")
