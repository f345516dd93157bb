"""HVU: ``Tags,youtube_id,time_start,time_end`` with a header; tags are parted by ``|``.

The crawlers cut to tenths of a second and write these into the names: 57.0 s becomes ``_000570``.
"""

from collections.abc import Iterator, Sequence

from vidflow.errors import DataError
from vidflow.shards.recipes.listing import Files, Listed, csv_rows, split_files
from vidflow.shards.sources.lines import Row, raise_all

COLUMNS = ("tags", "youtube_id", "time_start", "time_end")


def hvu_csv(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All clips of the lists."""
    by_tag = {name.partition("/")[2]: name for name in classes}
    for split, file in split_files(files):
        rows = csv_rows(file.path)
        where, header = next(rows, (str(file.path), []))
        lowered = [cell.lower() for cell in header]
        if missing := [column for column in COLUMNS if column not in lowered]:
            raise DataError(f"{where}: no column {', '.join(missing)} in {','.join(header)!r}: no HVU list")
        tags, youtube_id, start, end = (lowered.index(column) for column in COLUMNS)
        problems = []
        for where, cells in rows:
            if len(cells) != len(header):
                problems.append(f"{where}: {len(cells)} cells, the header has {len(header)}")
                continue
            try:
                seconds = float(cells[start]), float(cells[end])
            except ValueError:
                problems.append(f"{where}: no start and end in {','.join(cells)!r}")
                continue
            labels = [tag.strip() for tag in cells[tags].split("|")]
            if unknown := [tag for tag in labels if tag not in by_tag]:
                problems.append(f"{where}: tags of no category: {', '.join(map(repr, unknown))}")
                continue
            tenths, whole = (
                f"{cells[youtube_id]}_{int(seconds[0] * scale):06d}_{int(seconds[1] * scale):06d}" for scale in (10, 1)
            )
            row = Row(where, tenths, tuple(by_tag[tag] for tag in labels), split)
            yield Listed(row, (whole, cells[youtube_id]))
        raise_all(problems, "lines that do not parse:")
