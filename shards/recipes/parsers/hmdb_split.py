"""HMDB51 and J-HMDB: ``<class>_test_split1.txt`` per class, with ``video.avi 1`` lines.

1 is train, 2 is test, 0 is in neither.
"""

import re
from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all

_CLASS = re.compile(r"(.+)_test_split\d+")
_LINE = re.compile(r"(\S.*\S)\s+([012])")
_SPLITS = {"1": "train", "2": "test"}


def hmdb_split(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of one fold that are in train or test."""
    problems = []
    for file in files["lists"]:
        match = _CLASS.fullmatch(file.path.stem)
        assert match is not None, file.path  # the pattern of the recipe found it
        for number, line in read_lines(file.path):
            where = f"{file.path}:{number}"
            found = _LINE.fullmatch(line.strip())
            if found is None:
                problems.append(f"{where}: no 'video 0', 'video 1' or 'video 2' in {line!r}")
            elif found[2] in _SPLITS:
                yield Listed(Row(where, f"{match[1]}/{found[1]}", (match[1],), _SPLITS[found[2]]))
    raise_all(problems, "lines that do not parse:")
