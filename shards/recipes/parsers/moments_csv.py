"""Moments in Time: ``clapping/video.mp4,clapping,4,1``; Multi-Moments: ``clapping/video.mp4,0,17,...`` (class numbers).

The two last numbers of Moments in Time count the people who did and did not agree with the label.
"""

from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, csv_rows, split_files
from vidflow.shards.sources.lines import Row, raise_all


def moments_csv(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists, with one label each."""
    for split, file in split_files(files):
        problems = []
        for where, cells in csv_rows(file.path):
            if len(cells) < 2 or not all(cells[:2]):
                problems.append(f"{where}: no path and label in {','.join(cells)!r}")
                continue
            yield Listed(Row(where, cells[0], (cells[1],), split))
        raise_all(problems, "lines that do not parse:")


def multi_moments_csv(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists, with one label or more each."""
    for split, file in split_files(files):
        problems = []
        for where, cells in csv_rows(file.path):
            if len(cells) < 2 or not all(cells):
                problems.append(f"{where}: no path and class numbers in {','.join(cells)!r}")
                continue
            yield Listed(Row(where, cells[0], tuple(cells[1:]), split))
        raise_all(problems, "lines that do not parse:")
