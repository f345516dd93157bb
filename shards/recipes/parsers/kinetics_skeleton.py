"""Kinetics-skeleton: ``{id: {"has_skeleton": true, "label": "abseiling", "label_index": 0}}`` per split (ST-GCN).

The skeletons lie in one JSON per video, see ``OpenPoseJson``. A video without skeletons is left out, as ST-GCN does.
"""

from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, json_value, split_files
from vidflow.shards.sources.lines import Row, raise_all


def kinetics_skeleton(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos with a skeleton, in the order of the table."""
    for split, file in split_files(files):
        problems: list[str] = []
        found: list[Row] = []
        num_dropped = 0
        for name, entry in json_value(file.path, dict).items():
            where = f"{file.path}: {name}"
            label = entry.get("label_index") if isinstance(entry, dict) else None
            if type(label) is not int or not isinstance(entry.get("has_skeleton"), bool):
                problems.append(f"{where}: no 'has_skeleton' and 'label_index' in {entry!r}")
            elif not entry["has_skeleton"]:
                num_dropped += 1
            else:
                found.append(Row(where, name, (str(label),), split))
        raise_all(problems, "entries that do not parse:")
        for position, row in enumerate(found):
            yield Listed(row, num_dropped=0 if position else num_dropped)
