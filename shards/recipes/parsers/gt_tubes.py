"""J-HMDB, UCF101-24 and MultiSports: a pickle of tubes, one box per frame and person.

``{"labels", "gttubes": {video: {class: [array [N, 5]]}}, "resolution": {video: (height, width)}, "train_videos",
"test_videos"}``, where a row is the frame's number from 1 and x1 y1 x2 y2 in pixels (act-detector, arXiv:1705.01861).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vidflow import safe_pickle
from vidflow.errors import DataError
from vidflow.schema import TimedBox
from vidflow.shards.recipes.listing import Files, Listed
from vidflow.shards.sources.lines import Row, raise_all

# Shared by all boxes: a set for each would take more memory than the box.
_FIELDS = {"time", "x1", "y1", "x2", "y2", "labels", "person"}


def gt_tubes(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of one fold, with their boxes in the order of time."""
    (file,) = files["lists"]
    assert file.fps is not None
    content: Any = safe_pickle.load(file.path)
    if not isinstance(content, dict) or not {"gttubes", "resolution"} <= content.keys():
        raise DataError(f"{file.path}: holds no gttubes and resolution")
    problems = []
    for split in ("train", "test"):
        folds = content.get(f"{split}_videos", [])
        number = int(file.fold) - 1 if file.fold is not None else 0
        for name in folds[number] if number < len(folds) else ():
            where = f"{file.path}: {name}"
            try:
                boxes, num_dropped = _boxes(content["gttubes"][name], content["resolution"][name], classes, file.fps)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                problems.append(f"{where}: needs tubes [N, 5] of known classes and a size ({error!r})")
                continue
            labels = tuple(dict.fromkeys(classes[box.labels[0]] for box in boxes))
            yield Listed(Row(where, name, labels, split), boxes=boxes, num_dropped=num_dropped)
    raise_all(problems, "videos that do not parse:")


def _boxes(
    tubes: Mapping[int, Sequence[np.ndarray]], size: tuple[int, int], classes: Sequence[str], fps: float
) -> tuple[tuple[TimedBox, ...], int]:
    """Boxes cut at the picture's edges, and how many had nothing inside them."""
    height, width = (int(side) for side in size)
    found: list[TimedBox] = []
    num_dropped = person = 0
    for label, of_class in tubes.items():
        if not 0 <= int(label) < len(classes):
            raise ValueError(f"class {label}")
        for tube in of_class:
            array = np.asarray(tube, np.float64)
            if array.ndim != 2 or array.shape[1] != 5 or not np.isfinite(array).all() or array[:, 0].min() < 1:
                raise ValueError(f"a tube of shape {array.shape}")
            edges = np.clip(array[:, 1:] / [width, height, width, height], 0, 1)
            inside = (edges[:, 0] < edges[:, 2]) & (edges[:, 1] < edges[:, 3])
            num_dropped += int((~inside).sum())
            for frame, (x1, y1, x2, y2) in zip(array[inside, 0].tolist(), edges[inside].tolist(), strict=True):
                time = (frame - 1) / fps
                found.append(
                    TimedBox.model_construct(
                        _FIELDS, time=time, x1=x1, y1=y1, x2=x2, y2=y2, labels=(int(label),), person=person
                    )
                )
            person += 1
    return tuple(sorted(found, key=lambda box: (box.time, box.person))), num_dropped
