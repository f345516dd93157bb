"""Peers: a PyTorch DataLoader over the original files, as most training code has it, with one of several readers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vidflow.bench.peers.job import PeerJob
from vidflow.bench.peers.opencv_clips import clip_of, normalized, one_thread
from vidflow.bench.timing import Pass
from vidflow.config.pipeline import ClipPipeline
from vidflow.errors import DataError
from vidflow.schema import SampleRecord

Reader = Callable[[str, np.ndarray], np.ndarray]


def _decord(path: str, frames: np.ndarray) -> np.ndarray:
    import decord

    return np.asarray(decord.VideoReader(path, num_threads=1).get_batch(frames.tolist()).asnumpy())


def _torchcodec(path: str, frames: np.ndarray) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate")
    return np.asarray(decoder.get_frames_at(frames.tolist()).data.numpy())


def _opencv(path: str, frames: np.ndarray) -> np.ndarray:
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    wanted, out = set(frames.tolist()), {}
    for number in range(int(frames.max()) + 1):
        if not capture.grab():
            raise DataError(f"{path}: OpenCV stops at frame {number}")
        if number in wanted:
            out[number] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    capture.release()
    return np.stack([out[number] for number in frames.tolist()])


READERS: dict[str, Reader] = {"decord": _decord, "torchcodec": _torchcodec, "opencv": _opencv}


class FileDataset(Dataset[torch.Tensor]):
    """uint8 clips [C, T, h, w] from whole files, cropped and resized frame by frame with OpenCV."""

    def __init__(
        self, reader: Reader, paths: Sequence[Path], records: Sequence[SampleRecord], pipeline: ClipPipeline
    ) -> None:
        self.reader, self.paths, self.records, self.pipeline = reader, list(paths), list(records), pipeline

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        path = str(self.paths[index])
        return clip_of(lambda numbers: self.reader(path, numbers), self.records[index], self.pipeline, index)


def file_pass(name: str, job: PeerJob) -> Pass:
    """An epoch of a DataLoader over the original files with a reader of ``READERS``; the main process normalises."""
    paths = job.originals()
    loader = DataLoader(
        FileDataset(READERS[name], paths, job.records, job.pipeline),
        batch_size=job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.num_workers,
        persistent_workers=job.num_workers > 0,
        worker_init_fn=one_thread,
        multiprocessing_context="forkserver" if job.num_workers else None,
    )

    def run() -> int:
        return sum(len(normalized(clips, job.pipeline)) for clips in loader)

    return Pass(run, sum(path.stat().st_size for path in paths))
