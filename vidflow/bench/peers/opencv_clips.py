"""What the peers do with decoded frames: crop and resize one by one with OpenCV, normalise a batch with torch."""

from collections.abc import Callable

import cv2
import numpy as np
import torch

from vidflow.config.pipeline import ClipPipeline
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.schema import SampleRecord


def clip_of(
    read: Callable[[np.ndarray], np.ndarray], record: SampleRecord, pipeline: ClipPipeline, index: int
) -> torch.Tensor:
    """A sample's views, uint8 [V, C, T, h, w], from the frames that its plan asks for.

    Args:
        read: frame numbers [N] -> frames, uint8 [N, H, W, 3].
        index: what the plan is drawn from, beside the seed.
    """
    assert record.video is not None
    numbers = make_plan(record, pipeline, sample_rng(0, 0, index)).frames
    frames = read(numbers)
    # The packed stream may be smaller than the file: the same draw, for the size at hand.
    video = record.video.model_copy(update={"height": frames.shape[1], "width": frames.shape[2], "rotation": 0})
    plan = make_plan(record.model_copy(update={"video": video}), pipeline, sample_rng(0, 0, index))
    height, width = plan.size
    frames = frames.reshape(plan.num_clips, -1, *frames.shape[1:])  # [N, H, W, 3] -> [clips, T, H, W, 3]
    views = []
    for clip, box, mirror in zip(plan.view_clips, plan.boxes.round().astype(int), plan.mirror, strict=True):
        x1, y1, x2, y2 = box
        view = np.stack(
            [cv2.resize(f[y1:y2, x1:x2], (width, height), interpolation=cv2.INTER_LINEAR) for f in frames[clip]]
        )
        views.append(view[:, :, ::-1] if mirror else view)
    # [V, T, h, w, C] -> [V, C, T, h, w]
    return torch.from_numpy(np.ascontiguousarray(np.stack(views).transpose(0, 4, 1, 2, 3)))


def normalized(clips: torch.Tensor, pipeline: ClipPipeline) -> torch.Tensor:
    """uint8 [B, V, C, T, h, w] -> float32, less the mean, over the deviation."""
    mean = torch.tensor(pipeline.normalize.mean).view(1, 1, 3, 1, 1, 1)
    std = torch.tensor(pipeline.normalize.std).view(1, 1, 3, 1, 1, 1)
    return clips.float().sub_(mean).div_(std)


def one_thread(_: int) -> None:
    """As training code does in its workers: the processes are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
