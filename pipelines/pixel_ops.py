"""Operations of augmentation policies on decoded frames: colours by tables, geometry as affine matrices.

Executors call these in the threads that decode, before the one resample, on every device alike: DALI has no
counterpart for most, and their order differs from sample to sample, which a fixed graph cannot follow.
Statistics (the mean of ``contrast``, the histograms of ``auto_contrast`` and ``equalize``) are each frame's own, as
in torchvision, whose definitions these are. They see the frame before it is scaled, so ``sharpness`` acts on source
pixels.

Shapes: T frames of H x W pixels, uint8 [T, H, W, 3].
"""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of RGB, ITU-R BT.601."""
FILL = 128
"""Grey level of what geometric operations bring into view from outside the frame."""
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13

Op = tuple[str, float]
"""Name and strength of one operation, in the operation's own unit; see ``COLOR_OPS`` and ``geometric_matrix``."""
GEOMETRIC_OPS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


FrameFunction = Callable[[np.ndarray, float], np.ndarray]


def _by_table(values: FrameFunction) -> FrameFunction:
    """An operation that maps each grey level for itself: ``values`` gives the new level of all 256."""

    def apply(frame: np.ndarray, strength: float) -> np.ndarray:
        return np.asarray(cv2.LUT(frame, _levels(values(np.arange(256, dtype=np.float32), strength))))

    return apply


def _levels(values: np.ndarray) -> np.ndarray:
    """Rounded to grey levels, cut at 0 and 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _contrast(frame: np.ndarray, factor: float) -> np.ndarray:
    mean = float(np.array(cv2.mean(frame)[:3]) @ GREY)
    return cv2.LUT(frame, _levels(np.arange(256) * factor + (1 - factor) * mean))


def _saturation(frame: np.ndarray, factor: float) -> np.ndarray:
    matrix = np.eye(3, dtype=np.float32) * factor + (1 - factor) * GREY  # each row adds the grey of the pixel
    return np.asarray(cv2.transform(frame, matrix))


def _sharpness(frame: np.ndarray, factor: float) -> np.ndarray:
    """The border of one pixel stays as it is."""
    kernel = _SMOOTH * np.float32(1 - factor)
    kernel[1, 1] += factor
    out = frame.copy()
    out[1:-1, 1:-1] = cv2.filter2D(frame, -1, kernel)[1:-1, 1:-1]
    return out


def _auto_contrast(frame: np.ndarray, _: float) -> np.ndarray:
    """Each channel stretched to [0, 255]; one of a single level stays."""
    tables = np.empty((256, 1, 3), np.uint8)
    levels = np.arange(256)
    for channel in range(3):
        low, high = np.flatnonzero(_histogram(frame, channel))[[0, -1]]
        tables[:, 0, channel] = _levels((levels - low) * (255 / (high - low))) if high > low else levels
    return np.asarray(cv2.LUT(frame, tables))


def _histogram(frame: np.ndarray, channel: int) -> np.ndarray:
    """int64 [256], pixels of each level."""
    return np.asarray(cv2.calcHist([frame], [channel], None, [256], [0, 256])).reshape(-1).astype(np.int64)


def _equalize(frame: np.ndarray, _: float) -> np.ndarray:
    """Each channel's levels spread evenly, by Pillow's integer rule."""
    tables = np.empty((256, 1, 3), np.uint8)
    for channel in range(3):
        counts = _histogram(frame, channel)
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        below = np.concatenate([[0], np.cumsum(counts)[:-1]])
        tables[:, 0, channel] = np.clip((below + step // 2) // step, 0, 255) if step else np.arange(256)
    return cv2.LUT(frame, tables)


COLOR_OPS: dict[str, FrameFunction] = {
    "brightness": _by_table(lambda levels, factor: levels * factor),
    "contrast": _contrast,
    "saturation": _saturation,
    "sharpness": _sharpness,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": _by_table(lambda levels, _: 255 - levels),
    "posterize": _by_table(lambda levels, bits: levels.astype(np.int64) & (256 - (256 >> int(bits)))),
    "solarize": _by_table(lambda levels, threshold: np.where(levels >= threshold, 255 - levels, levels)),
    "solarize_add": _by_table(lambda levels, add: np.where(levels < 128, levels + add, levels)),
}
"""Name -> function of one frame and a strength: factors (1 changes nothing), bits kept, thresholds and sums in grey
levels."""


def apply_color_ops(frames: np.ndarray, ops: Sequence[Op]) -> np.ndarray:
    """The colour operations among ``ops``, in their order; the frames themselves stay as they are.

    Raises:
        ValueError: an operation that does not exist.
    """
    if unknown := [name for name, _ in ops if name not in COLOR_OPS and name not in GEOMETRIC_OPS]:
        raise ValueError(f"no operation {unknown[0]!r}; there are {', '.join((*COLOR_OPS, *GEOMETRIC_OPS))}")
    chosen = [(COLOR_OPS[name], strength) for name, strength in ops if name in COLOR_OPS]
    if not chosen:
        return frames
    out = np.empty_like(frames)
    for place, frame in enumerate(frames):
        for function, strength in chosen:
            frame = function(frame, strength)
        out[place] = frame
    return out


def geometric_matrix(ops: Sequence[Op], height: int, width: int) -> np.ndarray | None:
    """The geometric operations among ``ops`` as one map, float64 [2, 3]; None where there are none.

    A point (x, y) of the result shows the source at matrix @ (x, y, 1), in pixels, the frame being [0, W] x [0, H].
    Rotation is in degrees counter-clockwise, about the frame's middle; shears are slopes about the middle;
    translations are parts of the frame's width or height, towards the right and the bottom.

    >>> geometric_matrix([("translate_x", 0.25)], 100, 200).tolist()
    [[1.0, 0.0, -50.0], [0.0, 1.0, 0.0]]
    """
    total = None
    for name, strength in ops:
        if name in GEOMETRIC_OPS:
            step = _geometric(name, strength, height, width)
            total = step if total is None else total @ step  # later operations see the picture of earlier ones
    return None if total is None else total[:2]


def _geometric(name: str, strength: float, height: int, width: int) -> np.ndarray:
    turn = np.eye(3)
    if name == "rotate":
        cos, sin = math.cos(math.radians(strength)), math.sin(math.radians(strength))
        turn[:2, :2] = [[cos, -sin], [sin, cos]]
    elif name == "shear_x":
        turn[0, 1] = strength
    elif name == "shear_y":
        turn[1, 0] = strength
    elif name == "translate_x":
        turn[0, 2] = -strength * width
    else:
        turn[1, 2] = -strength * height
    middle, back = np.eye(3), np.eye(3)
    middle[:2, 2], back[:2, 2] = (width / 2, height / 2), (-width / 2, -height / 2)
    return np.asarray(middle @ turn @ back)


def warp_frames(frames: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Frames of the same size seen through a matrix of ``geometric_matrix``, bilinear; outside is ``FILL``."""
    # OpenCV's coordinates count from the centre of the first pixel.
    shifted = np.array(matrix, np.float64)
    shifted[:, 2] += shifted[:, :2] @ [0.5, 0.5] - 0.5
    size = (frames.shape[2], frames.shape[1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fill = (FILL,) * 3
    return np.stack([cv2.warpAffine(f, shifted, size, flags=flags, borderValue=fill) for f in frames])
