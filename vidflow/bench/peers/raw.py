"""Peers of the stage ``read``: how fast the same encoded bytes come by other ways, nothing decoded."""

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from vidflow.bench.peers.job import PeerJob
from vidflow.bench.timing import Pass
from vidflow.errors import DataError
from vidflow.pipelines.reading import read_samples
from vidflow.storage import is_remote

RANGE_BYTES = 8 << 20
"""Bytes per request of the plain parallel download."""
NUM_RANGES = 4
"""Requests at the same time."""


def cat_pass(name: str, job: PeerJob) -> Pass:
    """``cat`` of the shards into nothing; counts the samples, and all bytes of the shards."""
    paths = job.shard_paths()
    sizes = {shard.name: shard.size for shard in job.dataset.info.shards}

    def run() -> int:
        with open("/dev/null", "wb") as nothing:  # noqa: PTH123 -- a device
            subprocess.run(["cat", "--", *paths], stdout=nothing, check=True)
        return len(job.indices)

    return Pass(run, sum(sizes[shard] for shard in job.shards))


def range_pass(name: str, job: PeerJob) -> Pass:
    """A plain parallel download of the shards by byte ranges with the storage's own client, each thrown away."""
    if not is_remote(job.dataset.storage.root):
        raise DataError(
            f"{job.dataset.storage.root}: baseline 'ranges' is for data sets on servers; locally there is cat"
        )
    sizes = {shard.name: shard.size for shard in job.dataset.info.shards}
    storage = job.dataset.storage

    def ranges() -> Iterator[tuple[str, int, int]]:
        for shard in job.shards:
            for start in range(0, sizes[shard], RANGE_BYTES):
                yield shard, start, min(RANGE_BYTES, sizes[shard] - start)

    def run() -> int:
        with ThreadPoolExecutor(NUM_RANGES) as pool:
            for _ in pool.map(lambda part: len(storage.read(*part)), ranges()):
                pass
        return len(job.indices)

    return Pass(run, sum(sizes[shard] for shard in job.shards))


def _as_bytes(batch: list[bytes]) -> list[bytes]:
    """litdata gives views of its chunks, which cannot go to another process."""
    return [bytes(item) for item in batch]


def litdata_pass(name: str, job: PeerJob) -> Pass:
    """litdata's StreamingDataLoader over the same encoded bytes, in chunks that it has written itself before."""
    import litdata
    from litdata.streaming.writer import BinaryWriter

    folder = job.scratch / "litdata"
    total = int(job.dataset.column("data_length")[job.indices].sum())
    if not folder.exists():
        needed = int(job.dataset.column("length")[job.indices].sum())
        if needed > shutil.disk_usage(job.scratch).free:
            raise DataError(f"{job.scratch}: litdata's copy needs {needed:,} bytes; set TMPDIR to a larger disk")
        # Chunks are dealt to the workers: a few for each.
        chunk_bytes = min(64 << 20, max(1 << 20, total // (4 * (job.num_workers or 1))))
        writer = BinaryWriter(str(folder), chunk_bytes=chunk_bytes)
        for number, (_, _, data) in enumerate(read_samples(job.dataset, job.indices)):
            writer[number] = bytes(data)
        writer.done()
        writer.merge()
    dataset = litdata.StreamingDataset(str(folder), shuffle=False, drop_last=False)
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=job.batch_size, num_workers=job.num_workers, collate_fn=_as_bytes
    )

    def run() -> int:
        return sum(len(batch) for batch in loader)

    return Pass(run, total)
