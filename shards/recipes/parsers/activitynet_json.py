"""ActivityNet and HACS Segments: ``{"database": {id: {"subset", "duration", "annotations": [{"label", "segment"}]}}}``.

A video's labels are the classes of its segments; segments are cut at the video's end, as the JSON gives it. Version 1.3
of ActivityNet has a dozen segments [0, 0]: their classes count, the segments are left out.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vidflow.shards.recipes.listing import Files, Listed, json_value
from vidflow.shards.sources.lines import Row, raise_all

_SUBSETS = {"training": "train", "validation": "val", "testing": "test"}


def activitynet_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the table; those of the test set have no annotations."""
    for file in files["lists"]:
        content = json_value(file.path, dict)
        table = content.get("database", content)
        problems: list[str] = []
        for name, entry in (table if isinstance(table, dict) else {"database": table}).items():
            where = f"{file.path}: {name}"
            subset = entry.get("subset") if isinstance(entry, dict) else None
            if subset not in _SUBSETS:
                problems.append(f"{where}: the subset is {subset!r}, not training, validation or testing")
                continue
            try:
                marks = tuple(_segments(entry))
            except (KeyError, TypeError, ValueError):
                problems.append(
                    f"{where}: needs a duration, and for each annotation a label and a segment [start, end]"
                )
                continue
            labels = tuple(dict.fromkeys(label for _, _, label in marks))
            segments = tuple(mark for mark in marks if mark[0] < mark[1])
            yield Listed(
                Row(where, f"v_{name.removeprefix('v_')}", labels, _SUBSETS[subset]),
                (name.removeprefix("v_"),),
                segments=segments,
                duration=float(entry["duration"]),
                num_dropped=len(marks) - len(segments),
            )
        raise_all(problems, "entries that do not parse:")


def _segments(entry: dict[str, Any]) -> Iterator[tuple[float, float, str]]:
    duration = float(entry["duration"])
    for note in entry.get("annotations") or ():
        start, end = (float(value) for value in note["segment"])
        if not 0 <= start <= end or not isinstance(note["label"], str):
            raise ValueError(note)
        yield min(start, duration), min(end, duration), note["label"]
