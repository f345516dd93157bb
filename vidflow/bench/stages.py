"""The loader's stages, each as a pass of its own over the same samples."""

from concurrent.futures import ThreadPoolExecutor

import torch

from vidflow.bench.timing import Pass
from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.members import stream_bytes
from vidflow.pipelines.executor import ExecutorName
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.reading import read_members
from vidflow.pipelines.work import WorkItem


def stage_passes(
    dataset: PackedDataset,
    pipeline: ClipPipeline,
    *,
    split: str,
    num_samples: int,
    batch_size: int,
    num_threads: int,
    device: str,
    executor: ExecutorName,
) -> dict[str, Pass]:
    """``read``, ``decode``, ``augment`` and ``loader``.

    ``decode`` works on encoded samples in memory and ``augment`` on decoded frames of one batch, so that each stage
    is timed without the others.

    Args:
        num_samples: samples per pass, the first of the split.
    """
    indices = dataset.select(split)[:num_samples]
    num_bytes = int(dataset.column("length")[indices].sum())
    loader = build_loader(
        dataset,
        pipeline,
        split=split,
        batch_size=batch_size,
        training=True,
        device=device,
        executor=executor,
        num_threads=num_threads,
        limit=num_samples,
    )
    engine = loader.executor  # on a GPU, with the decoder that was measured to be the faster one
    items = [
        WorkItem(
            record,
            make_plan(record, pipeline, sample_rng(0, 0, index)),
            stream_bytes(record, members) if record.video else members,
        )
        for index, record, members in read_members(dataset, indices)
    ]
    batch = items[:batch_size]
    prepared = [engine.prepare(item) for item in batch]

    def read() -> int:
        return sum(1 for _ in read_members(dataset, indices))

    def decode() -> int:
        with ThreadPoolExecutor(num_threads) as pool:
            return sum(1 for _ in pool.map(engine.prepare, items))

    def augment() -> int:
        rounds = -(-len(items) // len(batch))
        for _ in range(rounds):
            engine.assemble(batch, prepared)
        if device != "cpu":
            torch.cuda.synchronize()
        return rounds * len(batch)

    def whole() -> int:
        return sum(len(batch) for batch in loader)

    return {
        "read": Pass(read, num_bytes),
        "decode": Pass(decode, num_bytes),
        "augment": Pass(augment),
        "loader": Pass(whole, num_bytes),
    }
