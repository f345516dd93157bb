"""AVA and AVA-Kinetics: ``video,second,x1,y1,x2,y2,action,person`` lines, one for each action of a person.

A line of the video and the second alone (or with empty cells behind) is a key time at which nobody acts; the person is
missing in AVA-Kinetics, and -1 where nobody is known. Seconds are those of the original video, edges are shares of the
picture, action ids count from 1. Files of excluded seconds and of a detector's proposals, a pickle
``{"video,0902": array [N, 5]}`` with scores, go with them (arXiv:1705.08421; the evaluation passes over excluded
seconds, ``Evaluation/get_ava_performance.py`` of activitynet/ActivityNet). Proposals become boxes with a score and
without labels; annotated boxes have no score.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidflow import safe_pickle
from vidflow.errors import DataError
from vidflow.shards.recipes.listing import Files, Listed, ListFile, csv_rows
from vidflow.shards.recipes.pbtxt import is_listed
from vidflow.shards.sources.box_table import BoxTable
from vidflow.shards.sources.lines import Row, raise_all

EXCLUDED, PROPOSALS = "excluded", "proposals"
"""Contents of files beside the annotations, as ``AnnotationFile.content`` names them."""
UNLISTED_LABEL = "labels are of actions that the class list leaves out"
EXCLUDED_TIME = "annotated key times are excluded by the owners"
UNPLACED_PROPOSALS = "key times have proposals but no annotation"

_MAX_OUTSIDE = 0.001  # edges are written with three digits

Edges = tuple[float, float, float, float]


@dataclass(slots=True)
class _KeyTime:
    """What the lines say about one second of one video."""

    where: str
    boxes: dict[tuple[Edges, int | None], list[int]] = field(default_factory=dict)
    """(edges, person) -> class indices."""
    num_dropped: int = 0
    num_unlisted: int = 0


def key_id(video: str, seconds: float) -> str:
    """The name of a key time in the field's files.

    >>> key_id("0f39OWEqJ24", 902.0), key_id("a", 17.5)
    ('0f39OWEqJ24,0902', 'a,0017.5')
    """
    return f"{video},{int(seconds):04d}{f'{seconds % 1:.3f}'[1:].rstrip('0').rstrip('.')}"


def ava_csv(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All key times of the lists that are not excluded, with boxes at the seconds of the original video."""
    for split, found in files.items():
        if split == "classes":
            continue
        excluded = {key for file in _of(found, EXCLUDED) for key in _excluded(file.path)}
        proposals: dict[str, np.ndarray] = {}
        for file in _of(found, PROPOSALS):
            proposals |= read_proposals(file.path)
        key_times: dict[tuple[str, float], _KeyTime] = {}
        for file in _of(found, ""):
            _read(file.path, classes, key_times)
        yield from _listed(split, classes, key_times, excluded, proposals)


def _of(files: Sequence[ListFile], content: str) -> list[ListFile]:
    return [file for file in files if file.content == content]


def _listed(
    split: str,
    classes: Sequence[str],
    key_times: Mapping[tuple[str, float], _KeyTime],
    excluded: set[str],
    proposals: Mapping[str, np.ndarray],
) -> Iterator[Listed]:
    left_out = Counter({EXCLUDED_TIME: sum(key_id(*key) in excluded for key in key_times)})
    left_out[UNPLACED_PROPOSALS] = len(proposals.keys() - excluded - {key_id(*key) for key in key_times})
    for (video, seconds), found in key_times.items():
        if (name := key_id(video, seconds)) in excluded:
            continue
        proposed, num_empty = _proposed(proposals.get(name), seconds)
        edges = [[seconds, *edges, np.nan] for edges, _ in found.boxes]
        table = BoxTable(
            np.concatenate([np.asarray(edges, np.float64).reshape(-1, 6), proposed]),
            tuple(tuple(of_box) for of_box in found.boxes.values()),
            tuple(person for _, person in found.boxes),
        )
        labels = tuple(dict.fromkeys(classes[label] for of_box in table.labels for label in of_box))
        yield Listed(
            Row(found.where, video, labels, split, video),
            boxes=table,
            num_dropped=found.num_dropped + num_empty,
            id=name,
            key_time=seconds,
            left_out=left_out + Counter({UNLISTED_LABEL: found.num_unlisted}),
        )
        left_out = Counter()


def _read(file: Path, classes: Sequence[str], key_times: dict[tuple[str, float], _KeyTime]) -> None:
    """Add the lines of one file to the key times."""
    problems = []
    for where, cells in csv_rows(file):
        try:
            video, seconds = cells[0], float(cells[1])
            if not video or not 0 <= seconds < 1e6:
                raise ValueError(f"the second is {cells[1]}")
            found = key_times.setdefault((video, seconds), _KeyTime(where))
            if any(cells[2:]):
                _add(found, cells, classes)
        except (IndexError, ValueError) as error:
            problems.append(f"{where}: {','.join(cells)!r}: {error if type(error) is ValueError else 'too few cells'}")
    raise_all(problems, "lines that are no 'video,second,x1,y1,x2,y2,action,person':")


def _add(found: _KeyTime, cells: Sequence[str], classes: Sequence[str]) -> None:
    if len(cells) not in (7, 8):
        raise ValueError(f"{len(cells)} cells, 7 or 8 are expected")
    edges = tuple(float(cell) for cell in cells[2:6])
    if not all(-_MAX_OUTSIDE <= edge <= 1 + _MAX_OUTSIDE for edge in edges):
        raise ValueError("the box reaches out of the picture; edges are shares of it, from 0 to 1")
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in edges)
    action, person = int(cells[6]), _person(cells[7] if len(cells) == 8 else "")
    if not 1 <= action <= len(classes):
        raise ValueError(f"action {action} lies outside [1, {len(classes)}]")
    if not (x1 < x2 and y1 < y2):
        found.num_dropped += 1
        return
    labels = found.boxes.setdefault(((x1, y1, x2, y2), person), [])
    if not is_listed(classes[action - 1]):
        found.num_unlisted += 1
    elif action - 1 not in labels:
        labels.append(action - 1)


def _person(cell: str) -> int | None:
    if not cell:
        return None
    try:
        number = int(cell)
    except ValueError:
        raise ValueError(f"the eighth cell {cell!r} is no person's number; scores belong into the proposals") from None
    return number if number >= 0 else None


def _excluded(file: Path) -> Iterator[str]:
    problems = []
    for where, cells in csv_rows(file):
        try:
            yield key_id(cells[0], float(cells[1]))
        except (IndexError, ValueError):
            problems.append(f"{where}: no 'video,second' in {','.join(cells)!r}")
    raise_all(problems, "lines that do not parse:")


def read_proposals(file: Path) -> dict[str, np.ndarray]:
    """``video,0902`` -> float64 [N, 5], x1 y1 x2 y2 and score; a file without scores gets 1.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    content: Any = safe_pickle.load(file)
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds a {type(content).__name__}, a dict of 'video,second' and boxes is expected")
    found, problems = {}, []
    for name, value in content.items():
        try:
            video, _, second = str(name).rpartition(",")
            boxes = np.asarray(value, np.float64)
            boxes = boxes.reshape(0, 5) if boxes.size == 0 else boxes
            if boxes.ndim != 2 or boxes.shape[1] not in (4, 5) or not np.isfinite(boxes).all():
                raise ValueError(f"boxes of shape {boxes.shape}")
            if boxes.shape[1] == 4:
                boxes = np.concatenate([boxes, np.ones((len(boxes), 1))], axis=1)
            found[key_id(video, float(second))] = boxes
        except (ValueError, TypeError) as error:
            problems.append(f"{file}: {name!r}: {error}")
    raise_all(problems, "proposals that are no finite [N, 5] of a 'video,second':")
    return found


def _proposed(boxes: np.ndarray | None, seconds: float) -> tuple[np.ndarray, int]:
    """Proposals cut at the picture's edges, [N, 6] as ``BoxTable`` has them, and how many had nothing inside."""
    if boxes is None:
        return np.empty((0, 6)), 0
    edges = np.clip(boxes[:, :4], 0, 1)
    inside = (edges[:, 0] < edges[:, 2]) & (edges[:, 1] < edges[:, 3])
    table = np.concatenate([np.full((len(boxes), 1), seconds), edges, boxes[:, 4:]], axis=1)
    return table[inside], int((~inside).sum())
