"""Lists of ``path number`` lines, where several lists of a split may be relative to folders of their own.

Kinetics-710 (paths of Kinetics-400, -600 and -700) and GYM99 (``<video>_E_<event>_A_<sub-action> number``).
"""

from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, split_files
from vidflow.shards.sources.lines import Columns, Row, read_rows


def path_label(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists."""
    for split, file in split_files(files):
        for row in read_rows(file.path, columns=Columns(), multi_label=False):
            path = f"{file.media}/{row.path}" if file.media else row.path
            yield Listed(Row(row.where, path, row.labels, split), within=file.media)
