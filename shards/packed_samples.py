"""The samples of a packed data set as members that can be copied, in any order and in flat memory."""

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidflow import manifest
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.members import suffixes
from vidflow.schema import Location, SampleRecord
from vidflow.shards.contents import Contents, Member
from vidflow.shards.files import FileState
from vidflow.storage import Storage, is_remote, open_storage

_ROWS_AT_ONCE = 256


def choose(dataset: PackedDataset, splits: Sequence[str] | None = None, where: str = "") -> np.ndarray:
    """int64 [n], ascending positions of the samples of some splits (None: all) that a pandas query keeps.

    Raises:
        DataError: no such split, a query that does not work, or nothing is left.
    """
    chosen = list(dict.fromkeys(splits)) if splits else list(dataset.info.splits)
    if unknown := [split for split in chosen if split not in dataset.info.splits]:
        raise DataError(
            f"{dataset.storage.root}: no split {unknown[0]!r}; it has {', '.join(sorted(dataset.info.splits))}"
        )
    inside = np.isin(dataset.column("split"), chosen)
    if where:
        kept = np.zeros(len(dataset), bool)
        kept[manifest.query(dataset.table, where)] = True
        inside &= kept
    if not inside.any():
        raise DataError(f"{dataset.storage.root}: no sample of {', '.join(chosen)} has where = {where!r}")
    return np.flatnonzero(inside).astype(np.int64)


def rows_at(dataset: PackedDataset, positions: np.ndarray) -> Iterator[tuple[SampleRecord, Location]]:
    """Records and locations at positions of the manifest, int64 [n], in the given order."""
    for start in range(0, len(positions), _ROWS_AT_ONCE):
        for row in dataset.table.take(positions[start : start + _ROWS_AT_ONCE]).to_pylist():
            yield manifest.from_row(row)


def media_members(storage: Storage, record: SampleRecord, location: Location) -> tuple[Member, ...]:
    """The media members of one sample; those of a local shard are places in it, others are held in memory.

    Raises:
        DataError: the shard holds something else there.
        StorageError: it cannot be read.
    """
    where = f"{storage.address(location.shard)}: sample {record.key} ({record.id})"
    expected = [f"{record.key}.{suffix}" for suffix in suffixes(record)]
    if is_remote(storage.root):
        data = storage.read(location.shard, location.offset, location.length)
        found = _members_in(data, where)
        _check_names([member.name for member in found], [*expected, f"{record.key}.json"], where)
        return tuple(
            Member(suffix, data=data[member.offset_data : member.offset_data + member.size])
            for suffix, member in zip(suffixes(record), found, strict=False)
        )
    if len(expected) == 1:  # the usual case: the manifest says it all
        block = storage.read(location.shard, location.data_offset - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        _check_names([_name_in(block, where)], expected, where)
        places = [(location.data_offset, location.data_length)]
    else:
        found = _members_in(storage.read(location.shard, location.offset, location.length), where)
        _check_names([member.name for member in found], [*expected, f"{record.key}.json"], where)
        places = [(location.offset + member.offset_data, member.size) for member in found[:-1]]
    path = storage.address(location.shard)
    state = FileState.of(os.stat(path))  # noqa: PTH116 -- once per sample
    return tuple(
        Member(suffix, path=path, state=state, span=place)
        for suffix, place in zip(suffixes(record), places, strict=True)
    )


@dataclass(frozen=True, slots=True)
class PackedSkeletons:
    """Reader of the skeletons of a video that is packed."""

    root: str
    record: SampleRecord
    location: Location

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Their members, from the shard.

        Raises:
            DataError: the shard holds something else there.
            StorageError: it cannot be read.
        """
        assert self.record.skeleton is not None
        _, *members = media_members(open_storage(self.root), self.record, self.location)
        return Contents(self.record.skeleton, tuple(members))


def _name_in(block: bytes, where: str) -> str:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").name
    except tarfile.HeaderError as error:
        raise DataError(f"{where}: there is no tar member ({error}); run `vidflow verify`") from error


def _members_in(data: bytes, where: str) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            return archive.getmembers()
    except tarfile.TarError as error:
        raise DataError(f"{where}: there is no whole sample ({error}); run `vidflow verify`") from error


def _check_names(found: list[str], expected: list[str], where: str) -> None:
    if found != expected:
        wrong = next((name for name in found if name not in expected), "too few members")
        raise DataError(f"{where}: has {wrong} where the manifest has {expected[0]}; run `vidflow verify`")
