"""Kinetics: ``label,youtube_id,time_start,time_end,split`` with a header.

Clips are called ``<youtube_id>_<start>_<end>`` with six digits each (seconds), or by the YouTube id alone.
"""

from collections.abc import Iterator, Sequence

from vidflow.errors import DataError
from vidflow.shards.recipes.listing import Files, Listed, csv_rows, split_files
from vidflow.shards.sources.lines import Row, raise_all

COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def kinetics_csv(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All clips of the lists."""
    for split, file in split_files(files):
        rows = csv_rows(file.path)
        where, header = next(rows, (str(file.path), []))
        if missing := [column for column in COLUMNS if column not in header]:
            what = "a list without labels; leave it out with --splits" if missing == ["label"] else "no Kinetics list"
            raise DataError(f"{where}: no column {', '.join(missing)} in {','.join(header)!r}: {what}")
        label, youtube_id, start, end = (header.index(column) for column in COLUMNS)
        problems = []
        for where, cells in rows:
            if len(cells) != len(header):
                problems.append(f"{where}: {len(cells)} cells, the header has {len(header)}")
                continue
            span = [_seconds(cells[start]), _seconds(cells[end])]
            if None in span or not cells[youtube_id] or not cells[label]:
                problems.append(f"{where}: no label, id, start and end in {','.join(cells)!r}")
                continue
            clip = f"{cells[youtube_id]}_{span[0]:06d}_{span[1]:06d}"
            row = Row(where, f"{cells[label]}/{clip}", (cells[label],), split)
            yield Listed(row, (f"{cells[label]}/{cells[youtube_id]}",))
        raise_all(problems, "lines that do not parse:")


def _seconds(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if 0 <= value < 1e6 else None
