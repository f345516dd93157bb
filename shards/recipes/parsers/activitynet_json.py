"""ActivityNet and HACS Segments: ``{"database": {id: {"subset", "duration", "annotations": [{"label", "segment"}]}}}``.

A video's labels are the classes of its segments; segments are cut at the video's end, as the JSON gives it. Version 1.3
of ActivityNet has a dozen segments [0, 0]: their classes count, the segments are left out. ActionFormer's lists of
THUMOS'14 (arXiv:2202.07925) have the same form, with the frames per second of each video.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vidflow.shards.recipes.listing import Files, Listed, json_value
from vidflow.shards.sources.lines import Row, raise_all

SUBSETS = {"training": "train", "validation": "val", "testing": "test", "test": "test"}
_THUMOS_FRAMES_PER_STEP = 4  # I3D features over 16 frames (ActionFormer, configs/thumos_i3d.yaml)


def activitynet_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the table; those of the test set have no annotations."""
    for where, name, entry, problems in _entries(files):
        plain = name.removeprefix("v_")
        yield from _listed(where, (f"v_{plain}", plain), entry, problems)


def thumos_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the table, for features with a step every four frames."""
    for where, name, entry, problems in _entries(files):
        fps = entry.get("fps")
        if not isinstance(fps, (int, float)) or not fps > 0:
            problems.append(f"{where}: needs fps, the frames per second of the video")
            continue
        yield from _listed(where, (name,), entry, problems, seconds_per_step=_THUMOS_FRAMES_PER_STEP / fps)


def _entries(files: Files) -> Iterator[tuple[str, str, dict[str, Any], list[str]]]:
    """Where, name, entry, and a list for what is wrong with it, which is raised after each file."""
    for file in files["lists"]:
        content = json_value(file.path, dict)
        table = content.get("database", content)
        problems: list[str] = []
        for name, entry in (table if isinstance(table, dict) else {"database": table}).items():
            yield f"{file.path}: {name}", name, entry if isinstance(entry, dict) else {}, problems
        raise_all(problems, "entries that do not parse:")


def _listed(
    where: str,
    names: tuple[str, ...],
    entry: dict[str, Any],
    problems: list[str],
    seconds_per_step: float | None = None,
) -> Iterator[Listed]:
    """The video of an entry, or else a problem more."""
    subset = entry.get("subset")
    split = SUBSETS.get(subset.lower()) if isinstance(subset, str) else None
    if split is None:
        problems.append(f"{where}: the subset is {subset!r}, not training, validation or testing")
        return
    try:
        marks = tuple(_segments(entry))
    except (KeyError, TypeError, ValueError):
        problems.append(f"{where}: needs a duration, and for each annotation a label and a segment [start, end]")
        return
    labels = tuple(dict.fromkeys(label for _, _, label in marks))
    segments = tuple(mark for mark in marks if mark[0] < mark[1])
    yield Listed(
        Row(where, names[0], labels, split),
        names[1:],
        segments=segments,
        duration=float(entry["duration"]),
        seconds_per_step=seconds_per_step,
        num_dropped=len(marks) - len(segments),
    )


def _segments(entry: dict[str, Any]) -> Iterator[tuple[float, float, str]]:
    duration = float(entry["duration"])
    for note in entry.get("annotations") or ():
        start, end = (float(value) for value in note["segment"])
        if not 0 <= start <= end or not isinstance(note["label"], str):
            raise ValueError(note)
        yield min(start, duration), min(end, duration), note["label"]
