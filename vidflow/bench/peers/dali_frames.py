"""Peer: DALI's own WebDataset reader, for frames that lie in the shards as JPEG files."""

from typing import Any

from vidflow.bench.peers.job import PeerJob
from vidflow.bench.timing import Pass
from vidflow.errors import DataError
from vidflow.schema import SampleRecord


def _frame_numbers(records: list[SampleRecord], count: int) -> list[int]:
    """The same frames of every sample, evenly spread: the reader's components are fixed for the whole data set."""
    shortest = min(record.frames.num_frames for record in records if record.frames is not None)
    return [1 + shortest * i // count for i in range(count)]


def dali_pass(name: str, job: PeerJob) -> Pass:
    """An epoch of ``fn.readers.webdataset`` -> ``fn.decoders.image`` -> ``fn.resize`` -> normalise, on the CPU.

    The reader cannot draw other frames for each sample, so it takes the same ones of all; as many as the pipeline's.
    """
    import nvidia.dali as dali
    from nvidia.dali import fn, types

    from vidflow.pipelines.plan import make_plan, sample_rng

    if {record.kind for record in job.records} != {"frames"}:
        raise DataError(f"{job.dataset.storage.root}: baseline 'dali' is for samples of kind frames")
    plan = make_plan(job.records[0], job.pipeline, sample_rng(0, 0, 0))
    suffix = job.records[0].frames.container if job.records[0].frames else "jpg"
    numbers = _frame_numbers(job.records, len(plan.frames))
    height, width = plan.size
    paths = job.shard_paths()

    # Keys are cut at the first dot, so that a member's extension is rgb.00001.jpg.
    @dali.pipeline_def(batch_size=job.batch_size, num_threads=max(1, job.num_workers), device_id=None)  # type: ignore[untyped-decorator]
    def graph() -> Any:
        encoded: Any = fn.readers.webdataset(
            paths=paths, ext=[f"rgb.{number:05d}.{suffix}" for number in numbers], name="reader", read_ahead=True
        )
        frames = [fn.decoders.image(member, device="cpu", output_type=types.RGB) for member in encoded]
        frames = [fn.resize(frame, size=(height, width), antialias=False) for frame in frames]
        return fn.crop_mirror_normalize(
            fn.reshape(fn.stack(*frames), layout="FHWC"),
            mean=list(job.pipeline.normalize.mean),
            std=list(job.pipeline.normalize.std),
            dtype=types.FLOAT,
            output_layout="CFHW",
        )

    pipeline = graph()
    pipeline.build()
    batches = len(job.indices) // job.batch_size

    def run() -> int:
        for _ in range(batches):
            pipeline.run()
        return batches * job.batch_size

    return Pass(run, int(job.dataset.column("length")[job.indices].sum()))
