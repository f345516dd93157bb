"""Diving48: a list of ``{"vid_name": "_8Vy3dlHg2w_00000", "label": 12, "start_frame": 0, "end_frame": 158}``.

The frames are those of the published clip as a whole.
"""

from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, json_value, split_files
from vidflow.shards.sources.lines import Row, raise_all


def label_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists."""
    for split, file in split_files(files):
        problems = []
        for position, entry in enumerate(json_value(file.path, list)):
            where = f"{file.path}: entry {position}"
            name, label = (entry.get("vid_name"), entry.get("label")) if isinstance(entry, dict) else (None, None)
            if not isinstance(name, str) or not name or type(label) is not int:
                problems.append(f"{where}: no 'vid_name' and 'label' in {entry!r}")
                continue
            yield Listed(Row(where, name, (str(label),), split))
        raise_all(problems, "entries that do not parse:")
