"""Plans carried out in NumPy: the oracle of the other executors, and the one for platforms without DALI.

Shapes: C clips of T frames, V views, h x w output pixels.
"""

import numpy as np

from vidflow.config.pipeline import Normalize
from vidflow.pipelines.color import apply_color
from vidflow.pipelines.plan import Plan


def execute_plan(frames: np.ndarray, plan: Plan, normalize: Normalize) -> np.ndarray:
    """Decoded frames -> normalised views, float32 [V, 3, T, h, w].

    Each step ends in whole grey levels, as the steps of the DALI graph do: resample (halves to even), colours
    (halves up), then mirror and normalise.

    Args:
        frames: uint8 [C * T, H, W, 3], RGB, upright, in the order of ``plan.frames``.

    Raises:
        ValueError: frames that are not those the plan was made for, by number, size or type.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or len(frames) != len(plan.frames):
        raise ValueError(
            f"frames are {frames.dtype} {list(frames.shape)}, the plan needs uint8 [{len(plan.frames)}, H, W, 3]"
        )
    height, width = frames.shape[1:3]
    if (plan.boxes[:, 2:] > [width, height]).any():
        raise ValueError(f"boxes {plan.boxes.tolist()} reach beyond frames of {height} x {width} pixels (H x W)")
    clips = frames.reshape(plan.num_clips, plan.clip_length, height, width, 3)
    mean, std = (np.array(values, np.float32) for values in (normalize.mean, normalize.std))
    views = np.empty((plan.num_views, 3, plan.clip_length, *plan.size), np.float32)
    for view in range(plan.num_views):
        pixels = np.rint(resample(clips[plan.view_clips[view]], plan.boxes[view], plan.size))  # [T, h, w, 3]
        if plan.color is not None:
            pixels = np.clip(np.floor(apply_color(pixels, plan.color) + np.float32(0.5)), 0, 255)
        if plan.mirror[view]:
            pixels = pixels[:, :, ::-1]
        views[view] = ((pixels - mean) / std).transpose(3, 0, 1, 2)  # [T, h, w, 3] -> [3, T, h, w]
    return views


def resample(frames: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A box of frames [T, H, W, 3] stretched to a size, bilinear without antialiasing; float32 [T, h, w, 3].

    Pixel i has its centre at i + 0.5, so output column i reads the source at
    x1 + (i + 0.5) * (x2 - x1) / w - 0.5, clamped to the *frame*: near the box's edges it reads pixels just outside
    the box. DALI 2.4's ``fn.resize(roi_start, roi_end, interp_type=INTERP_LINEAR, antialias=False)`` was measured to
    do the same, to 0.002 grey levels, and on full frames it is the rule of OpenCV's INTER_LINEAR.

    Args:
        box: x1 y1 x2 y2 in pixels.
        size: output height and width in pixels.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    columns, right, x_weight = _taps(x1, x2, size[1], frames.shape[2])
    rows, below, y_weight = _taps(y1, y2, size[0], frames.shape[1])
    first, last = columns.min(), right.max() + 1
    part = frames[:, :, first:last]  # only the columns that are read
    y_weight = y_weight[:, None, None]
    lines = part[:, rows] * (1 - y_weight) + part[:, below] * y_weight  # [T, h, W', 3]
    x_weight = x_weight[:, None]
    return lines[:, :, columns - first] * (1 - x_weight) + lines[:, :, right - first] * x_weight  # [T, h, w, 3]


def _taps(start: float, stop: float, num_outputs: int, num_pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two source pixels of each output pixel, int64 [n] each, and the weight of the second, float32 [n]."""
    centres = start + (np.arange(num_outputs) + 0.5) * ((stop - start) / num_outputs) - 0.5
    centres = np.clip(centres, 0, num_pixels - 1)
    before = centres.astype(np.int64)
    return before, np.minimum(before + 1, num_pixels - 1), (centres - before).astype(np.float32)
