"""Peers: a plain PyTorch DataLoader over the original files, with the readers that are installed."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vidflow.bench.timing import Pass
from vidflow.config.pipeline import ClipPipeline
from vidflow.errors import DataError, MissingExtraError
from vidflow.pipelines.plan import make_plan, sample_rng
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


READERS: dict[str, tuple[str, Reader]] = {
    "decord": ("decord", _decord),
    "torchcodec": ("torchcodec", _torchcodec),
    "opencv": ("cv2", _opencv),
}
"""Name -> (module that must be installed, reader)."""


def installed() -> list[str]:
    """The readers that can be used here."""
    return [name for name, (module, _) in READERS.items() if importlib.util.find_spec(module)]


class FileDataset(Dataset[torch.Tensor]):
    """uint8 clips [C, T, h, w] from whole files, cropped and resized frame by frame with OpenCV."""

    def __init__(
        self, reader: Reader, paths: Sequence[Path], records: Sequence[SampleRecord], pipeline: ClipPipeline
    ) -> None:
        self.reader, self.paths, self.records, self.pipeline = reader, list(paths), list(records), pipeline

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        record = self.records[index]
        assert record.video is not None
        numbers = make_plan(record, self.pipeline, sample_rng(0, 0, index)).frames
        frames = self.reader(str(self.paths[index]), numbers)  # [C*T, H, W, 3]
        # The packed stream may be smaller than the file: the same draw, for the size at hand.
        video = record.video.model_copy(update={"height": frames.shape[1], "width": frames.shape[2]})
        plan = make_plan(record.model_copy(update={"video": video}), self.pipeline, sample_rng(0, 0, index))
        height, width = plan.size
        frames = frames.reshape(plan.num_clips, -1, *frames.shape[1:])
        views = []
        for clip, box, mirror in zip(plan.view_clips, plan.boxes.round().astype(int), plan.mirror, strict=True):
            x1, y1, x2, y2 = box
            view = np.stack(
                [cv2.resize(f[y1:y2, x1:x2], (width, height), interpolation=cv2.INTER_LINEAR) for f in frames[clip]]
            )
            views.append(view[:, :, ::-1] if mirror else view)
        return torch.from_numpy(
            np.ascontiguousarray(np.stack(views).transpose(0, 4, 1, 2, 3))
        )  # [V, T, h, w, C] -> [V, C, T, h, w]


def _one_thread(_: int) -> None:
    """As training code does in its workers: the processes are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def baseline_pass(
    name: str,
    paths: Sequence[Path],
    records: Sequence[SampleRecord],
    pipeline: ClipPipeline,
    *,
    batch_size: int,
    num_workers: int,
) -> Pass:
    """An epoch of a DataLoader with ``num_workers`` processes; the main process normalises each batch.

    Raises:
        MissingExtraError: the reader is not installed.
    """
    module, reader = READERS[name]
    if not importlib.util.find_spec(module):
        raise MissingExtraError(
            f"baseline {name!r} needs {module}; pip install 'vidflow[bench]' or pip install {module}"
        )
    loader = DataLoader(
        FileDataset(reader, paths, records, pipeline),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread,
        multiprocessing_context="forkserver" if num_workers else None,
    )
    mean = torch.tensor(pipeline.normalize.mean).view(1, 1, 3, 1, 1, 1)
    std = torch.tensor(pipeline.normalize.std).view(1, 1, 3, 1, 1, 1)

    def run() -> int:
        count = 0
        for clips in loader:
            count += len(clips.float().sub_(mean).div_(std))
        return count

    return Pass(run, sum(path.stat().st_size for path in paths))
