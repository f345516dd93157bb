"""Reading encoded samples from shards: long runs of neighbours as one stream each, iterated by webdataset."""

from collections.abc import Iterator

import numpy as np
from webdataset.tariterators import group_by_keys, tar_file_expander

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.schema import Location, SampleRecord

# One stream covers at most this much, so that skipping to the end of the plan never holds a whole shard open for long.
MAX_RUN_BYTES = 256 << 20


def _runs(dataset: PackedDataset, reads: np.ndarray) -> Iterator[list[tuple[int, SampleRecord, Location]]]:
    """Neighbouring samples of one shard, in tar order, that one range covers without a gap."""
    run: list[tuple[int, SampleRecord, Location]] = []
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


def _media(sample: dict[str, object], record: SampleRecord, where: str) -> bytes:
    """The encoded stream of a sample as webdataset gives it."""
    assert record.video is not None
    if sample["__key__"] != record.key:
        raise DataError(
            f"{where}: holds key {sample['__key__']} "
            f"where the manifest has {record.key} ({record.id}); run `vidflow verify`"
        )
    data = sample.get(record.video.container)
    if not isinstance(data, bytes):
        fields = sorted(name for name in sample if not name.startswith("__"))
        raise DataError(f"{where}: sample {record.key} ({record.id}) has {fields}, not {record.video.container}")
    return data


def read_samples(dataset: PackedDataset, reads: np.ndarray) -> Iterator[tuple[int, SampleRecord, bytes]]:
    """Manifest position, record and encoded stream of each sample, in the given order.

    Args:
        reads: int64 [n], manifest positions; neighbours in a shard are read as one stream.

    Raises:
        DataError: the shard's content is not what the manifest says.
        StorageError: it cannot be read, or ends early.
    """
    for run in _runs(dataset, reads):
        first, last = run[0][2], run[-1][2]
        where = dataset.storage.address(first.shard)
        with dataset.storage.open(first.shard, first.offset, last.offset + last.length - first.offset) as stream:
            samples = group_by_keys(tar_file_expander([{"url": where, "stream": stream}]), lcase=False)
            count = 0
            for (index, record, _), sample in zip(run, samples, strict=False):
                yield index, record, _media(sample, record, where)
                count += 1
        if count < len(run):
            missing = run[count][1]
            raise DataError(f"{where}: sample {missing.key} ({missing.id}) is missing; run `vidflow verify`")
