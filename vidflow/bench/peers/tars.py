"""Peer: plain WebDataset over the shards, with PyAV, as a user of both would write it."""

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import av
import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader, IterableDataset

from vidflow.bench.peers.job import PeerJob
from vidflow.bench.peers.opencv_clips import clip_of, normalized, one_thread
from vidflow.bench.timing import Pass
from vidflow.config.pipeline import ClipPipeline
from vidflow.errors import DataError
from vidflow.schema import SampleRecord


def _frames(data: bytes, numbers: np.ndarray) -> np.ndarray:
    """Decode from the start to the last frame that is asked for; a tar has no index to seek by."""
    wanted, found = set(numbers.tolist()), {}
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                found[number] = frame.to_ndarray(format="rgb24")
                if len(found) == len(wanted):
                    break
    if len(found) < len(wanted):
        raise DataError(f"a video ends after {len(found)} of {len(wanted)} frames")
    return np.stack([found[number] for number in numbers.tolist()])


class TarClips(IterableDataset[torch.Tensor]):
    """uint8 clips [V, C, T, h, w] of the wanted samples, shard after shard."""

    def __init__(self, urls: list[str], records: dict[str, tuple[int, SampleRecord]], pipeline: ClipPipeline) -> None:
        self.urls, self.records, self.pipeline = urls, records, pipeline

    def __iter__(self) -> Iterator[torch.Tensor]:
        # Shards are dealt to workers; with fewer shards than workers the rest stays idle, which is WebDataset's way.
        dataset: Any = webdataset.WebDataset(self.urls, shardshuffle=False, empty_check=False)
        for sample in dataset:
            if sample["__key__"] not in self.records:
                continue
            index, record = self.records[sample["__key__"]]
            assert record.video is not None
            data = sample[record.video.container]
            yield clip_of(partial(_frames, data), record, self.pipeline, index)


def tar_pass(name: str, job: PeerJob) -> Pass:
    """An epoch of ``webdataset.WebDataset`` in a DataLoader over the same shards."""
    records = {record.key: (i, record) for i, record in enumerate(job.records)}
    urls = job.shard_paths()
    workers = min(job.num_workers, len(urls))
    loader = DataLoader(
        TarClips(urls, records, job.pipeline),
        batch_size=job.batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=one_thread,
        multiprocessing_context="forkserver" if workers else None,
    )

    def run() -> int:
        return sum(len(normalized(clips, job.pipeline)) for clips in loader)

    return Pass(run, int(job.dataset.column("length")[job.indices].sum()))
