"""Jester and Something-Something V1: ``34870;Drumming Fingers`` lines; or ``34870 2`` with class numbers from 1."""

import re
from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all

_NUMBERED = re.compile(r"(\d+)\s+(\d+)")


def sth_csv(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists."""
    # Numbers are those of the list that came with them; the owners' list is in another order.
    numbers_hold = files["classes"][0].path.name == "classInd.txt"
    for split, file in split_files(files):
        problems = []
        for number, line in read_lines(file.path):
            where = f"{file.path}:{number}"
            name, _, label = (cell.strip() for cell in line.strip().partition(";"))
            if match := _NUMBERED.fullmatch(line.strip()):
                name, index = match[1], int(match[2])
                if not numbers_hold:
                    problems.append(f"{where}: a class number in {line!r}, but its classInd.txt is not there")
                    continue
                if not 1 <= index <= len(classes):
                    problems.append(f"{where}: class {index} lies outside [1, {len(classes)}]")
                    continue
                label = classes[index - 1]
            if not name or not label:
                problems.append(f"{where}: no 'id;label' in {line!r}")
                continue
            yield Listed(Row(where, name, (label,), split))
        raise_all(problems, "lines that do not parse:")
