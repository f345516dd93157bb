"""The one resampling on the CPU: OpenCV, in the threads that decode, while a sample's frames are still at hand.

DALI's CPU backend does the same in its graph, and takes many times as long for it (1.3 ms per frame of 224 x 224
pixels, against 0.07 ms of OpenCV's ``resize`` and 0.3 ms of its ``warpAffine``; DALI 2.4, OpenCV 5.0). ``resize`` takes
boxes of whole pixels only. Whether ``warpAffine`` reads between pixels exactly depends on OpenCV's version and build
(older ones round to 1/32 pixel), so it is tried once.

Shapes: T frames of H x W pixels and C channels, h x w output pixels.
"""

import math
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from vidflow.pipelines.pixel_ops import FILL
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import resample, view_matrix

Allocate = Callable[[tuple[int, ...]], np.ndarray]
"""From a shape to a uint8 array."""
_Resampler = Callable[[np.ndarray, np.ndarray], None]
"""Makes of a frame, uint8 [H, W, 3], the pixels of a view, uint8 [h, w, 3]."""


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
    found = empty_pixels((*size, 3))
    _Warp(_box_matrix(box, size), outside=None)(noise[0], found)
    return bool(np.abs(found - expected[0]).max() <= 1)


def can_resample(plan: Plan) -> bool:
    """Whether a plan's views can be made here: OpenCV is exact for three channels only, flow is left to the graph."""
    return plan.flow_length == 0 and resamples_exactly()


def empty_pixels(shape: tuple[int, ...]) -> np.ndarray:
    """uint8 of any content."""
    return np.empty(shape, np.uint8)


class ViewWriter:
    """The views of one plan before their colours change, made of frames that come one by one and in any order.

    All agree to one grey level with the reference.

    Args:
        allocate: makes uint8 arrays for the views.
    """

    def __init__(self, plan: Plan, allocate: Allocate = empty_pixels) -> None:
        self._length = plan.clip_length
        self.views = [allocate((self._length, *plan.size, 3)) for _ in range(plan.num_views)]
        """uint8 [T, h, w, 3] each."""
        self._of_clip: list[list[tuple[np.ndarray, _Resampler]]] = [[] for _ in range(plan.num_clips)]
        for view, clip in enumerate(plan.view_clips.tolist()):
            self._of_clip[clip].append((self.views[view], _resampler(plan, view)))

    def write(self, position: int, frame: np.ndarray) -> None:
        """Resample a frame, uint8 [H, W, 3], that stands at this position of ``plan.frames``."""
        clip, place = divmod(position, self._length)
        for view, resampler in self._of_clip[clip]:
            resampler(frame, view[place])


def resampled_views(frames: np.ndarray, plan: Plan, allocate: Allocate = empty_pixels) -> list[np.ndarray]:
    """The views of a plan, as ``ViewWriter`` makes them.

    Args:
        frames: uint8 [C * T, H, W, 3], in the order of ``plan.frames``; C clips.
    """
    writer = ViewWriter(plan, allocate)
    for position, frame in enumerate(frames):
        writer.write(position, frame)
    return writer.views


def _resampler(plan: Plan, view: int) -> _Resampler:
    if plan.effects.warp is not None:
        return _Warp(view_matrix(plan, view), outside=FILL)
    box = plan.boxes[view].tolist()
    if not all(value.is_integer() for value in box):
        return _Warp(_box_matrix(plan.boxes[view], plan.size), outside=None)
    x1, y1, x2, y2 = map(int, box)
    if (x2 - x1, y2 - y1) == plan.size[::-1]:
        return lambda frame, out: np.copyto(out, frame[y1:y2, x1:x2])
    return _WholePixels((x1, y1, x2, y2), plan.size)


class _Warp:
    """A frame seen through a matrix, from output pixels to source pixels, float64 [2, 3].

    Args:
        outside: grey level around the frame; None repeats the frame's edge.
    """

    def __init__(self, matrix: np.ndarray, *, outside: int | None) -> None:
        # OpenCV's coordinates count from the centre of the first pixel.
        self._matrix = np.array(matrix, np.float64)
        self._matrix[:, 2] += self._matrix[:, :2] @ [0.5, 0.5] - 0.5
        self._border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
        self._value = (outside or 0,) * 3

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> None:
        cv2.warpAffine(
            frame,
            self._matrix,
            (out.shape[1], out.shape[0]),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=self._border,
            borderValue=self._value,
        )


class _WholePixels:
    """A box of whole pixels stretched to a size."""

    def __init__(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> None:
        x1, y1, x2, y2 = box
        height, width = size
        self._box = (slice(y1, y2), slice(x1, x2))
        # Where pixels are enlarged, those at the border of the box also read the frame's pixels just outside it.
        rows, columns = _num_reaching_out(y2 - y1, height), _num_reaching_out(x2 - x1, width)
        matrix = _box_matrix(np.array(box), size)
        self._strips = []
        for top, left, h, w in (
            (0, 0, rows, width),
            (height - rows, 0, rows, width),
            (0, 0, height, columns),
            (0, width - columns, height, columns),
        ):
            if h and w:
                shifted = matrix.copy()
                shifted[:, 2] += matrix[:, :2] @ [left, top]
                place = (slice(top, top + h), slice(left, left + w))
                self._strips.append((place, _Warp(shifted, outside=None)))

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> None:
        cv2.resize(frame[self._box], (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_LINEAR)
        for place, warp in self._strips:
            warp(frame, out[place])


def _num_reaching_out(num_inputs: int, num_outputs: int) -> int:
    """How many output pixels at one end have their centre nearer to the box's edge than half a source pixel."""
    return max(0, math.ceil(num_outputs / (2 * num_inputs) - 0.5))


def _box_matrix(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """From output pixels to source pixels, float64 [2, 3]; the corners of pixels count, not their centres."""
    x1, y1, x2, y2 = box.astype(np.float64)
    return np.array([[(x2 - x1) / size[1], 0, x1], [0, (y2 - y1) / size[0], y1]])
