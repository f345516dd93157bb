"""Reading encoded samples from shards: long runs of neighbours as one stream each, iterated by webdataset.

Names, keys and ids inside a shard must be those of the manifest. Where damage breaks a run off, a lenient reader
fetches the run's other samples one by one, so that only those are lost that are damaged themselves.
"""

import io
import json
import tarfile
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import BinaryIO

import numpy as np
from webdataset.tariterators import group_by_keys

from vidflow.dataset import PackedDataset
from vidflow.errors import AlteredShardError, DataError, EndsEarlyError, VidflowError
from vidflow.members import stream_bytes, suffixes
from vidflow.pipelines.integrity import HashingStream, ShardChecks
from vidflow.pipelines.tar_stream import expand_tar
from vidflow.schema import Location, SampleRecord

# One stream covers at most this much, so that skipping to the end of the plan never holds a whole shard open for long.
MAX_RUN_BYTES = 256 << 20

_TO_JSON = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for each text

Run = list[tuple[int, SampleRecord, Location]]
"""Neighbouring samples of one shard, in tar order, that one range covers without a gap."""

Members = dict[str, bytes]
"""Suffix -> content of the media members of a sample."""


def _runs(dataset: PackedDataset, reads: np.ndarray) -> Iterator[Run]:
    """The samples as runs, as long as they can be."""
    run: Run = []
    for index in reads.tolist():
        record, location = dataset.row(index)
        if run:
            first, last = run[0][2], run[-1][2]
            follows = location.shard == last.shard and location.offset == last.offset + last.length
            if not follows or location.offset + location.length - first.offset > MAX_RUN_BYTES:
                yield run
                run = []
        run.append((index, record, location))
    if run:
        yield run


def _opened(
    dataset: PackedDataset, reads: np.ndarray, checks: ShardChecks
) -> Generator[tuple[Run, BinaryIO], None, None]:
    """Each run with its stream, which is closed when the next one is asked for.

    Where the storage reads ahead, the next stream is opened before the current one is read: a server should not idle
    at the border of two runs.
    """
    runs = _runs(dataset, reads)
    depth = 2 if dataset.storage.reads_ahead else 1
    ahead: deque[tuple[Run, BinaryIO]] = deque()
    try:
        while True:
            while len(ahead) < depth and (run := next(runs, None)) is not None:
                first, last = run[0][2], run[-1][2]
                length = checks.length(first.shard, first.offset, last.offset + last.length)
                ahead.append((run, dataset.storage.open(first.shard, first.offset, length)))
            if not ahead:
                return
            yield ahead[0]
            ahead.popleft()[1].close()
    finally:
        for _, stream in ahead:
            stream.close()


def _samples(stream: "BinaryIO | HashingStream | io.BytesIO", where: str) -> Iterator[dict[str, object]]:
    """What webdataset finds in a stream; a damaged tar is a ``DataError``."""
    try:
        yield from group_by_keys(expand_tar(stream, where), lcase=False)
    except (tarfile.TarError, ValueError) as error:  # webdataset refuses a name that comes twice with a ValueError
        reason = str(error.args[0]) if error.args else type(error).__name__
        raise DataError(f"{where}: damaged tar ({reason}); run `vidflow verify`") from error


def _members(sample: dict[str, object], record: SampleRecord, where: str) -> Members:
    """The media members of a sample as webdataset gives it, checked against the record."""
    if sample["__key__"] != record.key:
        raise DataError(
            f"{where}: holds key {sample['__key__']} "
            f"where the manifest has {record.key} ({record.id}); run `vidflow verify`"
        )
    names = suffixes(record)
    found = {name: data for name in names if isinstance(data := sample.get(name), bytes)}
    if len(found) < len(names):
        fields = sorted(name for name in sample if not name.startswith("__"))
        missing = next(name for name in names if name not in found)
        raise DataError(f"{where}: sample {record.key} ({record.id}) has {fields}, not {missing}")
    _check_json(sample.get("json"), record, where)
    return found


def _check_json(data: object, record: SampleRecord, where: str) -> None:
    """The sample's own record must be of the same sample."""
    if isinstance(data, bytes) and data.startswith(_beginning(record)):
        return
    try:
        values = json.loads(data) if isinstance(data, bytes) else {}
    except ValueError:
        values = {}
    found = (values.get("key"), values.get("id")) if isinstance(values, dict) else (None, None)
    if found != (record.key, record.id):
        raise DataError(
            f"{where}: {record.key}.json is of key {found[0]} ({found[1]}), "
            f"the manifest has {record.key} ({record.id}); run `vidflow verify`"
        )


def _beginning(record: SampleRecord) -> bytes:
    """How packing begins a record; to compare is much quicker than to parse all time stamps."""
    key, sample_id = _TO_JSON(record.key), _TO_JSON(record.id)
    return f'{{"schema_version":{record.schema_version},"key":{key},"id":{sample_id},'.encode("utf-8", "surrogatepass")


def _alone(dataset: PackedDataset, record: SampleRecord, location: Location) -> Members:
    """One sample by its own range."""
    where = dataset.storage.address(location.shard)
    data = dataset.storage.read(location.shard, location.offset, location.length)
    for sample in _samples(io.BytesIO(data), where):
        return _members(sample, record, where)
    raise DataError(f"{where}: sample {record.key} ({record.id}) is missing; run `vidflow verify`")


def read_leniently(
    dataset: PackedDataset,
    reads: np.ndarray,
    *,
    checksums: bool = False,
    damaged: Callable[[VidflowError], None] | None = None,
) -> Iterator[tuple[int, SampleRecord, Members | VidflowError]]:
    """As ``read_members``, with the error in place of the members of a sample that is damaged.

    Servers that fail, and shards that are not there, still raise: they are no sample's fault.

    Args:
        checksums: compare the SHA-256 of each shard that the samples cover from end to end.
        damaged: called with what is wrong with a shard as a whole; None raises everything, damaged samples too.
    """
    checks = ShardChecks(dataset, checksums=checksums)

    def judge(check: Callable[[], None]) -> None:
        try:
            check()
        except AlteredShardError as error:
            if damaged is None:
                raise
            damaged(error)

    with closing(_opened(dataset, reads, checks)) as opened:
        for run, raw in opened:
            shard = run[0][2].shard
            where = dataset.storage.address(shard)
            stream = checks.watch(shard, run[0][2].offset, raw)
            count = 0
            try:
                for (index, record, _), sample in zip(run, _samples(stream, where), strict=False):
                    found = _members(sample, record, where)
                    if not count:
                        judge(partial(checks.check_size, shard))
                    count += 1
                    yield index, record, found
                if count < len(run):
                    missing = run[count][1]
                    raise DataError(f"{where}: sample {missing.key} ({missing.id}) is missing; run `vidflow verify`")
                judge(partial(checks.finish, stream))
            except (DataError, EndsEarlyError) as error:
                if damaged is None:
                    raise
                if isinstance(error, AlteredShardError):  # a cache that refuses it before the first sample
                    damaged(error)
                judge(partial(checks.check_size, shard))
                for index, record, location in run[count:]:
                    try:
                        yield index, record, _alone(dataset, record, location)
                    except (DataError, EndsEarlyError) as own:
                        yield index, record, own


def read_members(
    dataset: PackedDataset, reads: np.ndarray, *, checksums: bool = False
) -> Iterator[tuple[int, SampleRecord, Members]]:
    """Manifest position, record and media members (suffix -> content) of each sample, in the given order.

    Args:
        reads: int64 [n], manifest positions; neighbours in a shard are read as one stream.
        checksums: compare the SHA-256 of each shard that the samples cover from end to end.

    Raises:
        DataError: the shard's content is not what the manifest says.
        StorageError: it cannot be read, or ends early.
    """
    for index, record, members in read_leniently(dataset, reads, checksums=checksums):
        assert not isinstance(members, VidflowError)
        yield index, record, members


def read_samples(
    dataset: PackedDataset, reads: np.ndarray, *, checksums: bool = False
) -> Iterator[tuple[int, SampleRecord, bytes]]:
    """As ``read_members``, for samples that are one encoded stream: its bytes in place of the members."""
    for index, record, members in read_members(dataset, reads, checksums=checksums):
        yield index, record, stream_bytes(record, members)
