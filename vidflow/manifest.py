"""The manifest: one Parquet row per sample, flat columns that pandas can query, and back to ``SampleRecord``.

The fields of the media are columns of the row itself (``duration``, ``width``, ``codec``, ...), shared by all kinds
that have them and null for the others. Skeletons that belong to a video's frames are a nested column, ``skeleton``;
``label`` is the first label, so that ``where = "duration > 2 and label < 200"``
reads as one expects. Annotations are nested columns: a segment takes 20 bytes.
"""

import typing
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidflow.errors import DataError
from vidflow.schema import (
    ANNOTATIONS,
    KINDS,
    SCHEMA_VERSION,
    Frozen,
    Location,
    Moment,
    Question,
    SampleRecord,
    Segment,
    SkeletonInfo,
    TimedBox,
)

FILE_NAME = "manifest.parquet"

_LISTS = {
    "labels": pa.list_(pa.int32()),
    "key_frames": pa.list_(pa.int32()),
    "pts": pa.list_(pa.int64()),
    "time_base": pa.list_(pa.int32()),
}
_BOX = {name: pa.float64() for name in ("x1", "y1", "x2", "y2")}
_NESTED = {
    "segments": pa.list_(pa.struct({"start": pa.float64(), "end": pa.float64(), "label": pa.int32()})),
    "boxes": pa.list_(
        pa.struct(
            {"time": pa.float64(), **_BOX, "labels": pa.list_(pa.int32()), "person": pa.int32(), "score": pa.float64()}
        )
    ),
    "captions": pa.list_(pa.string()),
    "moments": pa.list_(pa.struct({"start": pa.float64(), "end": pa.float64(), "text": pa.string()})),
    "questions": pa.list_(
        pa.struct(
            {
                "id": pa.string(),
                "text": pa.string(),
                "answers": pa.list_(pa.string()),
                "labels": pa.list_(pa.int32()),
                "choices": pa.list_(pa.string()),
                "right_choice": pa.int32(),
            }
        )
    ),
}
_ADDED = {"moments", "questions", "num_mel_frames", "num_mels", "skeleton"}
"""Optional columns that the format got later: manifests without them are read as having none."""
_INT64 = {"offset", "length", "data_offset", "data_length", "pts_start", "pts_step", "num_samples"}
_SAMPLE_FIELDS = [name for name in SampleRecord.model_fields if name not in ("schema_version", *KINDS, *ANNOTATIONS)]
_MEDIA_FIELDS: dict[str, list[str]] = {kind: list(info.model_fields) for kind, info in KINDS.items()}
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
    types = {"label": pa.int32()}
    models: tuple[type[Frozen], ...] = (SampleRecord, *KINDS.values())
    for model in models:
        for name in _SAMPLE_FIELDS if model is SampleRecord else model.model_fields:
            kind = _arrow_type(name, model.model_fields[name].annotation)
            assert types.setdefault(name, kind) == kind, f"{name} is of several types"
    types |= _NESTED
    types["skeleton"] = pa.struct(
        {name: _arrow_type(name, field.annotation) for name, field in SkeletonInfo.model_fields.items()}
    )
    types |= {name: _arrow_type(name, Location.model_fields[name].annotation) for name in _LOCATION_FIELDS}
    return pa.schema(list(types.items()), metadata={"vidflow_schema_version": str(SCHEMA_VERSION)})


SCHEMA = _schema()
_NOT_SCALAR = {*_LISTS, *_NESTED, "skeleton"}


def to_row(record: SampleRecord, location: Location) -> dict[str, object]:
    """The flat manifest row of one sample."""
    row: dict[str, object] = dict.fromkeys(SCHEMA.names)
    row["label"] = record.labels[0] if record.labels else None
    row |= record.model_dump(include={*_SAMPLE_FIELDS, *ANNOTATIONS})
    if record.kind != "skeleton" and record.skeleton is not None:
        row["skeleton"] = record.skeleton.model_dump()
    return row | record.media.model_dump() | location.model_dump()


def to_table(rows: Iterable[dict[str, object]]) -> pa.Table:
    """Rows of ``to_row`` as an Arrow table with the manifest's schema."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def from_row(row: dict[str, typing.Any]) -> tuple[SampleRecord, Location]:
    """The inverse of ``to_row``; the values were validated when they were written.

    Args:
        row: columns that are null may be left out.
    """
    kind = row["kind"]
    media: dict[str, typing.Any] = {
        name: tuple(row[name]) if name in _LISTS and row.get(name) is not None else row.get(name)
        for name in _MEDIA_FIELDS[kind]
    }
    values: dict[str, typing.Any] = {
        name: tuple(row[name]) if name in _LISTS else row.get(name) for name in _SAMPLE_FIELDS
    }
    values[kind] = _built(KINDS[kind], media)
    if row.get("skeleton"):
        values["skeleton"] = SkeletonInfo.model_construct(None, **row["skeleton"])
    if row.get("segments"):
        values["segments"] = tuple(Segment.model_construct(None, **segment) for segment in row["segments"])
    if row.get("boxes"):
        boxes = ({**box, "labels": tuple(box["labels"])} for box in row["boxes"])
        values["boxes"] = tuple(TimedBox.model_construct(None, **box) for box in boxes)
    if row.get("captions"):
        values["captions"] = tuple(row["captions"])
    if row.get("moments"):
        values["moments"] = tuple(Moment.model_construct(None, **moment) for moment in row["moments"])
    if row.get("questions"):
        lists = ("answers", "labels", "choices")
        questions = ({**asked, **{name: tuple(asked[name]) for name in lists}} for asked in row["questions"])
        values["questions"] = tuple(Question.model_construct(None, **question) for question in questions)
    values["schema_version"] = SCHEMA_VERSION
    return _built(SampleRecord, values), _built(Location, {name: row[name] for name in _LOCATION_FIELDS})


_Model = typing.TypeVar("_Model", bound=Frozen)


def _built(model: type[_Model], values: dict[str, typing.Any]) -> _Model:
    """As ``model_construct`` in a quarter of its time, which loaders spend on each sample.

    It sets what pydantic's own sets (BaseModel.model_construct, pydantic 2).
    """
    built = model.__new__(model)
    # In the order of the fields, in which records are written as JSON.
    ordered = {name: values.get(name, default) for name, default in _defaults(model).items()}
    object.__setattr__(built, "__dict__", ordered)
    object.__setattr__(built, "__pydantic_fields_set__", set(values))
    object.__setattr__(built, "__pydantic_extra__", None)
    object.__setattr__(built, "__pydantic_private__", None)
    return built


@cache
def _defaults(model: type[Frozen]) -> dict[str, typing.Any]:
    return {name: field.default for name, field in model.model_fields.items()}


def read_table(source: Path | typing.BinaryIO, where: str) -> pa.Table:
    """Read a manifest and check that its schema is this version's.

    Args:
        source: file or open file.
        where: what to call it in messages.

    Raises:
        DataError: not a manifest, or one of another schema version.
    """
    try:
        # Not pq.read_table: it imports pandas, which takes longer than reading.
        with pq.ParquetFile(source) as file:
            table = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).strip()
        raise DataError(f"{where}: not a readable Parquet manifest ({reason}); pack the data set again") from error
    version = (table.schema.metadata or {}).get(b"vidflow_schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"{where}: schema version {version}, this vidflow reads {SCHEMA_VERSION}; pack the data set again"
        )
    for name in _ADDED & set(SCHEMA.names) - set(table.schema.names):
        table = table.append_column(name, pa.nulls(len(table), SCHEMA.field(name).type))
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
    import pandas as pd  # here, because most commands read manifests without a query, and this import is slow

    columns = [name for name in table.schema.names if name not in _NOT_SCALAR]
    frame: pd.DataFrame = table.select(columns).to_pandas()
    try:
        # Not frame.query: a column of numbers would silently count as row positions. Nothing but columns is in scope.
        kept = frame.eval(where, engine="python", local_dict={}, global_dict={})
    except Exception as error:
        raise DataError(f"where = {where!r} does not work ({error}); the columns are {', '.join(columns)}") from error
    if not isinstance(kept, pd.Series) or kept.dtype != bool:
        raise DataError(f"where = {where!r} is no condition on the samples; write one such as 'duration > 2'")
    return [int(i) for i in np.flatnonzero(kept.to_numpy())]
