"""UCF101: ``trainlist01.txt`` with ``Class/v_Class_g08_c01.avi 1`` lines, ``testlist01.txt`` without the number.

The 25 groups ``g01`` to ``g25`` of a class are cut from one source video each.
"""

import re
from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.items import class_name
from vidflow.shards.sources.lines import Row, raise_all

_LINE = re.compile(r"(([^/]+)/(\S.*?)\.avi)(?:\s+(\d+))?", re.IGNORECASE)
_GROUP = re.compile(r"(.+_g\d+)_c\d+")


def ucf_split(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of one fold's two lists."""
    for split, file in split_files(files):
        problems = []
        for number, line in read_lines(file.path):
            where = f"{file.path}:{number}"
            match = _LINE.fullmatch(line.strip())
            if match is None:
                problems.append(f"{where}: no 'Class/video.avi' or 'Class/video.avi number' in {line!r}")
                continue
            path, label, stem, index = match.groups()
            if index is not None and class_name(label) not in classes[int(index) - 1 : int(index)]:
                problems.append(f"{where}: class {index} is not {label!r} in the class list")
                continue
            group = _GROUP.fullmatch(stem)
            yield Listed(Row(where, path, (label,), split, group[1] if group else None))
        raise_all(problems, "lines that do not parse:")
