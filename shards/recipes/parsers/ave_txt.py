"""AVE: ``Church bell&RUhOCu3LNXM&good&0&10`` lines: class, video, quality, first and last second of the event.

A video may have several events. One that ends where it begins (the list has one) is left out, its class counts.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all

_HEADER = "Category&VideoID&Quality&StartTime&EndTime"
_LINE = re.compile(r"([^&]+)&([^&]+)&[^&]*&(\d+(?:\.\d+)?)&(\d+(?:\.\d+)?)")


def ave_txt(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists, in the order of their first events."""
    problems: list[str] = []
    for split, file in split_files(files):
        events: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
        places: dict[str, str] = {}
        for number, line in read_lines(file.path):
            where, found = f"{file.path}:{number}", _LINE.fullmatch(line.strip())
            if line.strip() == _HEADER:
                continue
            if found is None or float(found[3]) > float(found[4]):
                problems.append(f"{where}: no 'class&video&quality&start&end' in {line!r}")
                continue
            places.setdefault(found[2], where)
            events[found[2]].append((float(found[3]), float(found[4]), found[1]))
        for name, marks in events.items():
            labels = tuple(dict.fromkeys(label for _, _, label in marks))
            segments = tuple(mark for mark in marks if mark[0] < mark[1])
            num_dropped = len(marks) - len(segments)
            yield Listed(Row(places[name], name, labels, split), segments=segments, num_dropped=num_dropped)
    raise_all(problems, "lines that do not parse:")
