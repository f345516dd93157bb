"""Charades-STA: ``AO8RW 0.0 6.9##a person is putting a book on a shelf.`` lines, one per sentence.

With features, two JSON files of the Dense Regression Network's authors (CVPR 2020) give the seconds and the frames per
second of each video, in this order. A sentence that ends before it begins (the training list has four) is left out.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from vidflow.schema import Moment
from vidflow.shards.recipes.listing import Files, Listed, json_value, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all

_LINE = re.compile(r"(\S+) (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)##\s*(\S.*)")
_FRAMES_PER_STEP = 8  # units of 16 frames that overlap by half


def charades_sta(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists, with their sentences in the order of the list."""
    durations, rates = [json_value(file.path, dict) for file in files.get("lists", ())] or ({}, {})
    problems: list[str] = []
    for split, file in split_files(files):
        places: dict[str, str] = {}
        moments: dict[str, list[Moment]] = defaultdict(list)
        num_dropped: dict[str, int] = defaultdict(int)
        for number, line in read_lines(file.path):
            where, found = f"{file.path}:{number}", _LINE.fullmatch(line.strip())
            if found is None:
                problems.append(f"{where}: no 'video start end##sentence' in {line!r}")
                continue
            name, start, end = found[1], float(found[2]), float(found[3])
            places.setdefault(name, where)
            if start < end:
                moments[name].append(Moment(start=start, end=end, text=found[4].strip()))
            else:
                num_dropped[name] += 1
        for name, where in places.items():
            try:
                duration = _positive(durations, name) if durations else None
                step = _FRAMES_PER_STEP / _positive(rates, name) if rates else None
            except (KeyError, TypeError, ValueError):
                listed = " and ".join(str(file.path) for file in files["lists"])
                problems.append(f"{where}: {listed} must give the seconds and frames per second of {name}")
                continue
            yield Listed(
                Row(where, name, (), split),
                duration=duration,
                seconds_per_step=step,
                moments=tuple(_cut(moments[name], duration)),
                num_dropped=num_dropped[name],
            )
    raise_all(problems, "lines that do not parse:")


def _positive(table: Mapping[str, object], name: str) -> float:
    value = float(table[name])  # type: ignore[arg-type]
    if not value > 0:
        raise ValueError(value)
    return value


def _cut(moments: Sequence[Moment], duration: float | None) -> Iterator[Moment]:
    """Moments that end with the video; one that begins later stays, and packing tells of it."""
    for moment in moments:
        is_long = duration is not None and moment.start < duration < moment.end
        yield moment.model_copy(update={"end": duration}) if is_long else moment
