"""A plan: the few numbers that decide what is decoded and resampled for one sample."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Plan:
    """Which frames to decode, and for each of V views which box of which clip becomes the output.

    C clips of T frames give V views; a view shows one clip through one box.
    """

    frames: np.ndarray
    """int64 [C * T], frame numbers of the source, clip after clip; any order, repeats allowed."""
    num_clips: int
    """C."""
    view_clips: np.ndarray
    """int64 [V], the clip that each view shows."""
    boxes: np.ndarray
    """float32 [V, 4], x1 y1 x2 y2 in pixels of the upright source frame, inside it; resampled to ``size``."""
    mirror: np.ndarray
    """bool [V], whether the view is mirrored left to right after resampling."""
    size: tuple[int, int]
    """Output height and width in pixels."""
    color: np.ndarray | None = None
    """float32 [4], brightness factor, contrast factor, saturation factor, hue turn in degrees; None leaves colours alone."""
