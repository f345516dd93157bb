"""The manifest: one Parquet row per sample, flat columns that pandas can query, and back to ``SampleRecord``.

The video's fields are columns of the row itself (``duration``, ``width``, ``codec``, ...), and ``label`` is the first
label, so that ``where = "duration > 2 and label < 200"`` reads as one expects.
"""

import typing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vidflow.errors import DataError
from vidflow.schema import SCHEMA_VERSION, Location, SampleRecord, VideoInfo

FILE_NAME = "manifest.parquet"

_LISTS = {
    "labels": pa.list_(pa.int32()),
    "key_frames": pa.list_(pa.int32()),
    "pts": pa.list_(pa.int64()),
    "time_base": pa.list_(pa.int32()),
}
_INT64 = {"offset", "length", "data_offset", "data_length", "pts_start", "pts_step"}
_SAMPLE_FIELDS = [name for name in SampleRecord.model_fields if name not in ("schema_version", "video")]
_VIDEO_FIELDS = list(VideoInfo.model_fields)
_LOCATION_FIELDS = list(Location.model_fields)


def _arrow_type(name: str, annotation: object) -> pa.DataType:
    if name in _LISTS:
        return _LISTS[name]
    if name in _INT64:
        return pa.int64()
    options = set(typing.get_args(annotation)) | {annotation}
    for python_type, arrow_type in ((bool, pa.bool_()), (int, pa.int32()), (float, pa.float64()), (str, pa.string())):
        if python_type in options or any(isinstance(o, python_type) for o in options):
            return arrow_type
    raise AssertionError(f"no Arrow type for {name}: {annotation}")


def _schema() -> pa.Schema:
    fields = [pa.field("label", pa.int32())]
    for model, names in ((SampleRecord, _SAMPLE_FIELDS), (VideoInfo, _VIDEO_FIELDS), (Location, _LOCATION_FIELDS)):
        fields += [pa.field(name, _arrow_type(name, model.model_fields[name].annotation)) for name in names]
    return pa.schema(fields, metadata={"vidflow_schema_version": str(SCHEMA_VERSION)})


SCHEMA = _schema()


def to_row(record: SampleRecord, location: Location) -> dict[str, object]:
    """The flat manifest row of one sample."""
    row: dict[str, object] = {"label": record.labels[0] if record.labels else None}
    row |= record.model_dump(include=set(_SAMPLE_FIELDS))
    row |= record.video.model_dump() if record.video else dict.fromkeys(_VIDEO_FIELDS)
    return row | location.model_dump()


def to_table(rows: Iterable[dict[str, object]]) -> pa.Table:
    """Rows of ``to_row`` as an Arrow table with the manifest's schema."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def from_row(row: dict[str, typing.Any]) -> tuple[SampleRecord, Location]:
    """The inverse of ``to_row``; the values were validated when they were written."""
    video = None
    if row["codec"] is not None:
        values: dict[str, typing.Any] = {
            name: tuple(row[name]) if name in _LISTS and row[name] is not None else row[name] for name in _VIDEO_FIELDS
        }
        video = VideoInfo.model_construct(None, **values)
    sample: dict[str, typing.Any] = {name: tuple(row[name]) if name in _LISTS else row[name] for name in _SAMPLE_FIELDS}
    record = SampleRecord.model_construct(None, schema_version=SCHEMA_VERSION, video=video, **sample)
    return record, Location.model_construct(**{name: row[name] for name in _LOCATION_FIELDS})


def read_table(source: Path | typing.BinaryIO, where: str) -> pa.Table:
    """Read a manifest and check that its schema is this version's.

    Args:
        source: file or open file.
        where: what to call it in messages.

    Raises:
        DataError: not a manifest, or one of another schema version.
    """
    try:
        table = pq.read_table(source)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).strip()
        raise DataError(f"{where}: not a readable Parquet manifest ({reason}); pack the data set again") from error
    version = (table.schema.metadata or {}).get(b"vidflow_schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"{where}: schema version {version}, this vidflow reads {SCHEMA_VERSION}; pack the data set again"
        )
    missing = [name for name in SCHEMA.names if name not in table.schema.names]
    if missing:
        raise DataError(f"{where}: no column {', '.join(missing)}; pack the data set again")
    return table.select(SCHEMA.names)


def query(table: pa.Table, where: str) -> list[int]:
    """Positions of the rows that a pandas query keeps, in the table's order.

    Args:
        where: expression over the columns, such as ``"duration > 2 and label < 200"``.

    Raises:
        DataError: the expression does not parse or names no column.
    """
    columns = [name for name in table.schema.names if name not in _LISTS]
    frame: pd.DataFrame = table.select(columns).to_pandas()
    try:
        # Not frame.query: a column of numbers would silently count as row positions. Nothing but columns is in scope.
        kept = frame.eval(where, engine="python", local_dict={}, global_dict={})
    except Exception as error:
        raise DataError(f"where = {where!r} does not work ({error}); the columns are {', '.join(columns)}") from error
    if not isinstance(kept, pd.Series) or kept.dtype != bool:
        raise DataError(f"where = {where!r} is no condition on the samples; write one such as 'duration > 2'")
    return [int(i) for i in np.flatnonzero(kept.to_numpy())]
