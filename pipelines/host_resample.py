"""The one resampling on the CPU: OpenCV, in the threads that decode, while a sample's frames are still at hand.

DALI's CPU backend does the same in its graph, and takes many times as long for it (1.3 ms per frame of 224 x 224
pixels, against 0.07 ms of OpenCV's ``resize`` and 0.3 ms of its ``warpAffine``; DALI 2.4, OpenCV 5.0). ``resize`` takes
boxes of whole pixels only. Whether ``warpAffine`` reads between pixels exactly depends on OpenCV's version and build
(older ones round to 1/32 pixel), so it is tried once.

Shapes: T frames of H x W pixels and C channels, h x w output pixels.
"""

import math
from functools import cache

import cv2
import numpy as np

from vidflow.pipelines.pixel_ops import FILL
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import resample, view_matrix


def use_one_thread() -> None:
    """Keep OpenCV from starting threads of its own: many calls run side by side in the threads that decode.

    It counts for the whole process.
    """
    cv2.setNumThreads(1)


@cache
def resamples_exactly() -> bool:
    """Whether OpenCV agrees with the reference to one grey level, on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 40, 48, 3), np.uint8)
    box, size = np.array([3.37, 2.9, 41.2, 33.7]), (24, 32)
    expected = np.rint(resample(noise, box, size))
    found = _warped(noise, _box_matrix(box, size), size, outside=None)
    return bool(np.abs(found - expected).max() <= 1)


def can_resample(plan: Plan) -> bool:
    """Whether a plan's views can be made here: OpenCV is exact for three channels only, flow is left to the graph."""
    return plan.flow_length == 0 and resamples_exactly()


def resampled_views(frames: np.ndarray, plan: Plan) -> list[np.ndarray]:
    """The views of a plan before their colours change, uint8 [T, h, w, 3] each; all to one grey level of the reference.

    Args:
        frames: uint8 [C * T, H, W, 3], in the order of ``plan.frames``; C clips.
    """
    clips = np.split(frames, plan.num_clips)
    return [_view(clips[clip], plan, view) for view, clip in enumerate(plan.view_clips.tolist())]


def _view(frames: np.ndarray, plan: Plan, view: int) -> np.ndarray:
    height, width = plan.size
    if plan.effects.warp is not None:
        return _warped(frames, view_matrix(plan, view), plan.size, outside=FILL)
    x1, y1, x2, y2 = plan.boxes[view].tolist()
    if not all(value.is_integer() for value in (x1, y1, x2, y2)):
        return _warped(frames, _box_matrix(plan.boxes[view], plan.size), plan.size, outside=None)
    inside = frames[:, int(y1) : int(y2), int(x1) : int(x2)]
    if (x2 - x1, y2 - y1) == (width, height):
        return np.ascontiguousarray(inside)
    return _resized(frames, inside, plan.boxes[view], plan.size)


def _resized(frames: np.ndarray, inside: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A box of whole pixels stretched to a size, uint8 [T, h, w, C].

    Args:
        inside: the box's part of the frames.
    """
    height, width = size
    out = np.empty((len(frames), *size, frames.shape[3]), np.uint8)
    for part, view in zip(inside, out, strict=True):
        cv2.resize(part, (width, height), dst=view, interpolation=cv2.INTER_LINEAR)
    # Where pixels are enlarged, those at the border of the box also read the frame's pixels just outside it.
    rows, columns = (_num_reaching_out(inside.shape[axis + 1], size[axis]) for axis in (0, 1))
    matrix = _box_matrix(box, size)
    for top, left, h, w in (
        (0, 0, rows, width),
        (height - rows, 0, rows, width),
        (0, 0, height, columns),
        (0, width - columns, height, columns),
    ):
        if h and w:
            shifted = matrix.copy()
            shifted[:, 2] += matrix[:, :2] @ [left, top]
            out[:, top : top + h, left : left + w] = _warped(frames, shifted, (h, w), outside=None)
    return out


def _num_reaching_out(num_inputs: int, num_outputs: int) -> int:
    """How many output pixels at one end have their centre nearer to the box's edge than half a source pixel."""
    return max(0, math.ceil(num_outputs / (2 * num_inputs) - 0.5))


def _box_matrix(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """From output pixels to source pixels, float64 [2, 3]; the corners of pixels count, not their centres."""
    x1, y1, x2, y2 = box.astype(np.float64)
    return np.array([[(x2 - x1) / size[1], 0, x1], [0, (y2 - y1) / size[0], y1]])


def _warped(frames: np.ndarray, matrix: np.ndarray, size: tuple[int, int], *, outside: int | None) -> np.ndarray:
    """Frames seen through a matrix, uint8 [T, h, w, C].

    Args:
        outside: grey level around the frame; None repeats the frame's edge.
    """
    # OpenCV's coordinates count from the centre of the first pixel.
    centred = np.array(matrix, np.float64)
    centred[:, 2] += centred[:, :2] @ [0.5, 0.5] - 0.5
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    out = np.empty((len(frames), *size, frames.shape[3]), np.uint8)
    for frame, view in zip(frames, out, strict=True):
        cv2.warpAffine(
            frame,
            centred,
            (size[1], size[0]),
            dst=view,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border,
            borderValue=(outside or 0,) * 3,
        )
    return out
