"""YouCook2: ``{"database": {id: {"subset", "duration", "annotations": [{"segment", "sentence"}]}}}``.

Segments are cut at the video's end, as the JSON gives it; those that are empty then are left out.
"""

from collections.abc import Iterator, Sequence

from vidflow.schema import Moment
from vidflow.shards.recipes.listing import Files, Listed, json_value
from vidflow.shards.recipes.parsers.activitynet_json import SUBSETS
from vidflow.shards.sources.lines import Row, raise_all


def youcook_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the table, with their sentences in its order."""
    for file in files["lists"]:
        problems: list[str] = []
        table = json_value(file.path, dict).get("database")
        for name, entry in (table if isinstance(table, dict) else {"database": table}).items():
            where = f"{file.path}: {name}"
            try:
                duration, split = float(entry["duration"]), SUBSETS[entry["subset"]]
                kept = []
                for note in entry["annotations"]:
                    start, end = (float(value) for value in note["segment"])
                    if start < (end := min(end, duration)):
                        kept.append(Moment(start=start, end=end, text=str(note["sentence"]).strip()))
            except (KeyError, TypeError, ValueError):
                problems.append(
                    f"{where}: needs a subset, a duration, and annotations with a segment [start, end] and a sentence"
                )
                continue
            yield Listed(
                Row(where, name, (), split),
                duration=duration,
                moments=tuple(kept),
                num_dropped=len(entry["annotations"]) - len(kept),
            )
        raise_all(problems, "entries that do not parse:")
