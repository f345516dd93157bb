"""A packed data set: dataset.json, the manifest and the shards below one root (see docs/format.md)."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError

from vidflow import manifest
from vidflow.errors import DataError
from vidflow.schema import SCHEMA_VERSION, Frozen, Location, SampleRecord
from vidflow.storage import Storage, open_storage

# Reading asks for neighbours, mostly.
_BLOCK_ROWS = 16
_NUM_BLOCKS = 32
FILE_NAME = "dataset.json"
REJECTED_NAME = "rejected.jsonl"

Task = Literal[
    "recognition",
    "skeleton",
    "audio",
    "detection",
    "localization",
    "retrieval",
    "grounding",
    "question-answering",
]
"""What a data set is made for: which annotations its samples have."""


class ShardInfo(Frozen):
    """One tar file."""

    name: str = Field(pattern=r"^[^/\\]+$")
    split: str
    num_samples: int = Field(gt=0)
    size: int = Field(gt=0)
    """Bytes."""
    sha256: str


class SplitInfo(Frozen):
    """Sums over one split."""

    num_samples: int
    num_frames: int
    duration: float
    """Seconds."""
    size: int
    """Bytes of its shards."""


class DatasetInfo(Frozen):
    """The whole of dataset.json. It holds no time and no machine name: the same input packs to the same bytes."""

    schema_version: int = SCHEMA_VERSION
    name: str
    task: Task = "recognition"
    multi_label: bool = False
    classes: tuple[str, ...]
    splits: dict[str, SplitInfo]
    shards: tuple[ShardInfo, ...]
    num_rejected: int = 0
    options: dict[str, object] = {}
    """How it was packed: profile, shard limits, seed, and the version of vidflow."""


@dataclass(frozen=True)
class PackedDataset:
    """An opened data set. Positions in the manifest are the sample indices used everywhere."""

    storage: Storage
    info: DatasetInfo

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> "PackedDataset":
        """Open the data set below ``root``.

        Raises:
            DataError: there is none, or it is of another schema version.
        """
        storage = open_storage(root)
        where = storage.address(FILE_NAME)
        if not storage.exists(FILE_NAME):
            raise DataError(
                f"{where}: no such file; pack a data set first: vidflow shard --src DIR --out {os.fspath(root)}"
            )
        try:
            values = json.loads(storage.read(FILE_NAME))
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({error}); pack the data set again") from error
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{where}: schema version {version}, this vidflow reads {SCHEMA_VERSION}; pack the data set again"
            )
        try:
            return cls(storage, DatasetInfo.model_validate(values))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise DataError(f"{where}: {problems}; pack the data set again") from error

    @cached_property
    def table(self) -> pa.Table:
        """The manifest."""
        name = manifest.FILE_NAME
        source = pa.BufferReader(self.storage.read(name))
        table = manifest.read_table(source, self.storage.address(name))
        expected = sum(shard.num_samples for shard in self.info.shards)
        if len(table) != expected:
            raise DataError(
                f"{self.storage.address(name)}: {len(table)} rows, "
                f"but dataset.json counts {expected} samples; pack the data set again"
            )
        return table

    def __len__(self) -> int:
        return len(self.table)

    def record(self, index: int) -> SampleRecord:
        """The sample at a position of the manifest."""
        return self.row(index)[0]

    def row(self, index: int) -> tuple[SampleRecord, Location]:
        """The sample at a position of the manifest, and where its bytes lie."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.storage.root}: no sample {index}, it has {len(self)}")
        return manifest.from_row(self._rows(index // _BLOCK_ROWS)[index % _BLOCK_ROWS])

    @cached_property
    def _rows(self) -> Callable[[int], list[dict[str, Any]]]:
        """Block of the manifest -> its rows. A row alone takes Arrow twenty times as long as one of many."""
        return lru_cache(_NUM_BLOCKS)(lambda block: self._filled.slice(block * _BLOCK_ROWS, _BLOCK_ROWS).to_pylist())

    @cached_property
    def _filled(self) -> pa.Table:
        """The manifest without the columns of other kinds: a row becomes Python values, column by column."""
        table = self.table
        return table.select([name for name in table.schema.names if table.column(name).null_count < len(table)])

    def column(self, name: str) -> np.ndarray:
        """One manifest column as a NumPy array, [number of samples]."""
        column = self.table.column(name)
        # Arrow's own conversion imports pandas, which takes longer than all that a loader does before its first batch.
        if not column.null_count and pa.types.is_string(column.type):
            return np.array(column.to_pylist(), object)
        if not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            return np.from_dlpack(column.combine_chunks())
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def select(self, split: str, where: str = "") -> np.ndarray:
        """int64 [n], ascending positions of the samples of a split that a pandas query keeps.

        Raises:
            DataError: no such split, a query that does not work, or nothing is left.
        """
        if split not in self.info.splits:
            raise DataError(f"{self.storage.root}: no split {split!r}; it has {', '.join(sorted(self.info.splits))}")
        inside = self.column("split") == split
        if where:
            kept = np.zeros(len(self), bool)
            kept[manifest.query(self.table, where)] = True
            inside &= kept
        if not inside.any():
            raise DataError(f"{self.storage.root}: split {split!r} has no sample with where = {where!r}")
        return np.flatnonzero(inside).astype(np.int64)
