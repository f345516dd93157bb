"""Plans carried out in NumPy: the oracle of the other executors, and the one for platforms without DALI.

Shapes: T frames of H x W pixels and C channels, V views, h x w output pixels.
"""

import numpy as np

from vidflow.config.pipeline import Normalize
from vidflow.pipelines.color import apply_color
from vidflow.pipelines.effects import blur_window
from vidflow.pipelines.pixel_ops import FILL
from vidflow.pipelines.plan import Plan


def execute_plan(frames: np.ndarray, plan: Plan, normalize: Normalize) -> np.ndarray:
    """Decoded frames -> normalised views, float32 [V, C, T, h, w]; what is erased of them comes afterwards.

    Each step ends in whole grey levels, as the steps of the DALI graph do: resample (halves to even), colours
    (halves up), blur (halves to even), then mirror and normalise. A mirrored view of flow has its x negated.

    Args:
        frames: uint8 [C * T, H, W, 3 or 2 L], RGB or flow, upright, in the order of ``plan.frames``.

    Raises:
        ValueError: frames that are not those the plan was made for, by number, size or type.
    """
    channels = plan.num_channels
    expected = (len(plan.frames), channels)
    if frames.dtype != np.uint8 or frames.ndim != 4 or (len(frames), frames.shape[3]) != expected:
        raise ValueError(
            f"frames are {frames.dtype} {list(frames.shape)}, the plan needs uint8 [{expected[0]}, H, W, {channels}]"
        )
    height, width = frames.shape[1:3]
    if (plan.boxes[:, 2:] > [width, height]).any():
        raise ValueError(f"boxes {plan.boxes.tolist()} reach beyond frames of {height} x {width} pixels (H x W)")
    clips = frames.reshape(plan.num_clips, plan.clip_length, height, width, channels)
    mean, std = (np.array(values, np.float32) for values in channel_values(normalize, channels))
    views = np.empty((plan.num_views, channels, plan.clip_length, *plan.size), np.float32)
    for view in range(plan.num_views):
        clip = clips[plan.view_clips[view]]
        if plan.effects.warp is None:
            pixels = resample(clip, plan.boxes[view], plan.size)  # [T, h, w, C]
        else:
            pixels = resample_warped(clip, view_matrix(plan, view), plan.size)
        pixels = np.rint(pixels)
        if plan.color is not None:
            pixels = np.clip(np.floor(apply_color(pixels, plan.color) + np.float32(0.5)), 0, 255)
        if plan.effects.blur_sigma:
            pixels = np.rint(blurred(pixels, plan.effects.blur_sigma))
        if plan.mirror[view]:
            pixels = pixels[:, :, ::-1]
            if plan.flow_length:
                is_x = np.array([1, 0] * plan.flow_length, np.float32)
                pixels = pixels * (1 - 2 * is_x) + 255 * is_x
        views[view] = ((pixels - mean) / std).transpose(3, 0, 1, 2)  # [T, h, w, C] -> [C, T, h, w]
    return views


def channel_values(normalize: Normalize, channels: int) -> tuple[list[float], list[float]]:
    """Means and deviations of each channel: those of flow repeat for each of its stacked steps."""
    times = channels // len(normalize.mean)
    return list(normalize.mean) * times, list(normalize.std) * times


def view_matrix(plan: Plan, view: int) -> np.ndarray:
    """From output pixels of a view to source pixels through the plan's warp, float64 [2, 3]."""
    assert plan.effects.warp is not None
    x1, y1, x2, y2 = plan.boxes[view].astype(np.float64)
    height, width = plan.size
    to_box = np.array([[(x2 - x1) / width, 0, x1], [0, (y2 - y1) / height, y1], [0, 0, 1]])
    return np.asarray(plan.effects.warp @ to_box)


def resample_warped(frames: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames [T, H, W, C] seen through a matrix, bilinear, with ``FILL`` around the frame; float32 [T, h, w, C].

    The output pixel with its centre at (x, y) reads the source at matrix @ (x, y, 1), pixel centres at halves: the rule
    of DALI's ``fn.warp_affine``, to one grey level.

    Args:
        matrix: float [2, 3].
        size: output height and width in pixels.
    """
    height, width = frames.shape[1:3]
    framed = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=FILL)  # one pixel of fill on each side
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    matrix = np.asarray(matrix, np.float64)
    x = np.clip(matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2] + 0.5, 0, width + 1)
    y = np.clip(matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2] + 0.5, 0, height + 1)
    left, top = np.minimum(x.astype(np.int64), width), np.minimum(y.astype(np.int64), height)
    x_weight, y_weight = ((part - whole)[..., None].astype(np.float32) for part, whole in ((x, left), (y, top)))
    upper = framed[:, top, left] * (1 - x_weight) + framed[:, top, left + 1] * x_weight
    lower = framed[:, top + 1, left] * (1 - x_weight) + framed[:, top + 1, left + 1] * x_weight
    return np.asarray(upper * (1 - y_weight) + lower * y_weight, np.float32)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian over each frame [T, H, W, C], float32; pixels around the frame mirror those inside it."""
    reach = blur_window(sigma) // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        count = pixels.shape[axis]
        places = np.abs(np.arange(-reach, count + reach))  # reflected, the border pixel itself not repeated
        places = places % max(1, 2 * (count - 1))
        places = np.minimum(places, 2 * (count - 1) - places)
        taps = np.take(pixels, places, axis=axis)
        parts = (np.take(taps, np.arange(start, start + count), axis=axis) for start in range(2 * reach + 1))
        pixels = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    return np.asarray(pixels, np.float32)


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
