"""THUMOS'14: ``<Class>_val.txt`` and ``<Class>_test.txt`` with ``video_validation_0000051  67.5 75.9`` lines.

``Ambiguous_*.txt`` are no class and are left out. A video has the classes of its segments as labels.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all

_FILE = re.compile(r"(.+)_(?:val|test)")
_LINE = re.compile(r"(\S+)\s+([\d.]+)\s+([\d.]+)")


def thumos_txt(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos with a segment, in the order of their names."""
    segments: dict[tuple[str, str], list[tuple[float, float, str]]] = defaultdict(list)
    places: dict[tuple[str, str], str] = {}
    problems = []
    for split, file in split_files(files):
        match = _FILE.fullmatch(file.path.stem)
        assert match is not None, file.path  # the pattern of the recipe found it
        if match[1] == "Ambiguous":
            continue
        for number, line in read_lines(file.path):
            where = f"{file.path}:{number}"
            found = _LINE.fullmatch(line.strip())
            try:
                start, end = (float(found[2]), float(found[3])) if found else (math.nan, math.nan)
            except ValueError:
                start = end = math.nan
            if found is None or not start < end:
                problems.append(f"{where}: no 'video start end' in {line!r}")
                continue
            places.setdefault((split, found[1]), where)
            segments[split, found[1]].append((start, end, match[1]))
    raise_all(problems, "lines that do not parse:")
    for split, name in sorted(segments):
        ordered = tuple(sorted(segments[split, name]))
        labels = tuple(dict.fromkeys(label for _, _, label in ordered))
        yield Listed(Row(places[split, name], name, labels, split), segments=ordered)
