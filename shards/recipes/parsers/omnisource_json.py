"""OmniSource's untrimmed Kinetics videos, in parts of 10 seconds: the parts in which a model has seen the action.

``[{"video_dir": "pref_/___dTOdxzXY", "label": 0, "num_clips": 7, "positive_clip_inds": [0, 3]}, ...]``, where part 3 is
``pref_/___dTOdxzXY/part_3.mp4``. The parts that are not named are left out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from vidflow.shards.recipes.listing import Files, Listed, json_value, split_files
from vidflow.shards.sources.lines import Row, raise_all


def omnisource_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """The positive parts of all videos; those of one video are of one group."""
    for split, file in split_files(files):
        problems = []
        for position, entry in enumerate(json_value(file.path, list)):
            where = f"{file.path}: entry {position}"
            try:
                folder, label, positive, num_negative = _entry(entry)
            except (KeyError, TypeError, ValueError) as error:
                problems.append(
                    f"{where}: no video_dir, label, num_clips and positive_clip_inds that fit in {entry!r} ({error})"
                )
                continue
            left_out = Counter({"parts do not show their action": num_negative})
            for part in positive:
                row = Row(where, f"{folder}/part_{part}.mp4", (str(label),), split, folder)
                yield Listed(row, left_out=left_out)
                left_out = Counter()
        raise_all(problems, "entries that do not parse:")


def _entry(entry: Any) -> tuple[str, int, list[int], int]:
    """Folder, label, positive parts, and the number of all others."""
    folder, label, count, positive = (entry[key] for key in ("video_dir", "label", "num_clips", "positive_clip_inds"))
    if not isinstance(folder, str) or not folder or type(label) is not int or type(count) is not int:
        raise ValueError("a value of another type")
    if len(set(positive)) != len(positive) or not all(type(part) is int and 0 <= part < count for part in positive):
        raise ValueError(f"the parts {positive!r} of {count}")
    return folder, label, positive, count - len(positive)
