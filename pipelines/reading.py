"""Reading encoded samples from shards: long runs of neighbours as one stream each, iterated by webdataset."""

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import BinaryIO

import numpy as np
from webdataset.tariterators import group_by_keys, tar_file_expander

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.members import stream_bytes, suffixes
from vidflow.schema import Location, SampleRecord

# One stream covers at most this much, so that skipping to the end of the plan never holds a whole shard open for long.
MAX_RUN_BYTES = 256 << 20


Run = list[tuple[int, SampleRecord, Location]]
"""Neighbouring samples of one shard, in tar order, that one range covers without a gap."""


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


def _opened(dataset: PackedDataset, reads: np.ndarray) -> Generator[tuple[Run, BinaryIO], None, None]:
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
                length = last.offset + last.length - first.offset
                ahead.append((run, dataset.storage.open(first.shard, first.offset, length)))
            if not ahead:
                return
            yield ahead[0]
            ahead.popleft()[1].close()
    finally:
        for _, stream in ahead:
            stream.close()


def _members(sample: dict[str, object], record: SampleRecord, where: str) -> dict[str, bytes]:
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
    return found


def read_members(dataset: PackedDataset, reads: np.ndarray) -> Iterator[tuple[int, SampleRecord, dict[str, bytes]]]:
    """Manifest position, record and media members (suffix -> content) of each sample, in the given order.

    Args:
        reads: int64 [n], manifest positions; neighbours in a shard are read as one stream.

    Raises:
        DataError: the shard's content is not what the manifest says.
        StorageError: it cannot be read, or ends early.
    """
    with closing(_opened(dataset, reads)) as opened:
        for run, stream in opened:
            where = dataset.storage.address(run[0][2].shard)
            samples = group_by_keys(tar_file_expander([{"url": where, "stream": stream}]), lcase=False)
            count = 0
            for (index, record, _), sample in zip(run, samples, strict=False):
                yield index, record, _members(sample, record, where)
                count += 1
            if count < len(run):
                missing = run[count][1]
                raise DataError(f"{where}: sample {missing.key} ({missing.id}) is missing; run `vidflow verify`")


def read_samples(dataset: PackedDataset, reads: np.ndarray) -> Iterator[tuple[int, SampleRecord, bytes]]:
    """As ``read_members``, for samples that are one encoded stream: its bytes in place of the members."""
    for index, record, members in read_members(dataset, reads):
        yield index, record, stream_bytes(record, members)
