"""Heatmaps as a plain NumPy generator draws them, patch by patch: the oracle of ``vidflow.pipelines.heatmaps``.

Written from arXiv:2104.13586, section 3.2, eq. 1 and 2, with the windows of three standard deviations that
MMAction2's ``GeneratePoseTarget`` has: one small Gaussian per person, frame and keypoint, in loops.
"""

from collections.abc import Sequence

import numpy as np


def draw_sample(
    keypoints: np.ndarray,
    scores: np.ndarray,
    size: tuple[int, int],
    sigma: float,
    *,
    with_keypoints: bool = True,
    limbs: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Keypoints [M, T, K, 2] and scores [M, T, K] of one clip -> float32 [T, C, H, W], keypoints before limbs."""
    _, num_frames, num_keypoints, _ = keypoints.shape
    num_points = num_keypoints if with_keypoints else 0
    maps = np.zeros((num_frames, num_points + len(limbs), *size), np.float32)
    for frame in range(num_frames):
        places, heights = keypoints[:, frame], scores[:, frame]
        for number in range(num_points):
            for center, height in zip(places[:, number], heights[:, number], strict=True):
                draw_point(maps[frame, number], center, height, sigma)
        for number, (first, second) in enumerate(limbs):
            ends = zip(places[:, first], places[:, second], heights[:, first], heights[:, second], strict=True)
            for start, end, start_height, end_height in ends:
                draw_line(maps[frame, num_points + number], start, end, start_height, end_height, sigma)
    return maps


def _axis(low: float, high: float, sigma: float, length: int) -> np.ndarray:
    return np.arange(max(int(low - 3 * sigma), 0), min(int(high + 3 * sigma) + 1, length), 1, np.float32)


def draw_point(picture: np.ndarray, center: np.ndarray, height: float, sigma: float) -> None:
    """Raise one map [H, W] to a Gaussian."""
    if height < 1e-4:
        return
    x = _axis(float(center[0]), float(center[0]), sigma, picture.shape[1])
    y = _axis(float(center[1]), float(center[1]), sigma, picture.shape[0])
    if not (len(x) and len(y)):
        return
    patch = np.exp(-((x - center[0]) ** 2 + (y[:, None] - center[1]) ** 2) / 2 / sigma**2) * height
    _raise(picture, x, y, patch)


def draw_line(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, start_height: float, end_height: float, sigma: float
) -> None:
    """Raise one map [H, W] to a Gaussian around a line."""
    height = min(start_height, end_height)
    if height < 1e-4:
        return
    x = _axis(float(min(start[0], end[0])), float(max(start[0], end[0])), sigma, picture.shape[1])
    y = _axis(float(min(start[1], end[1])), float(max(start[1], end[1])), sigma, picture.shape[0])
    if not (len(x) and len(y)):
        return
    length = ((end - start) ** 2).sum()
    if length < 1:
        draw_point(picture, start, start_height, sigma)
        return
    pixels = np.stack(np.meshgrid(x, y), axis=-1)  # [h, w, x y]
    steps = np.clip(((pixels - start) * (end - start)).sum(axis=-1) / length, 0, 1)
    nearest = start + steps[..., None] * (end - start)
    squares = ((pixels - nearest) ** 2).sum(axis=-1)
    _raise(picture, x, y, np.exp(-squares / 2 / sigma**2) * height)


def _raise(picture: np.ndarray, x: np.ndarray, y: np.ndarray, patch: np.ndarray) -> None:
    part = picture[int(y[0]) : int(y[-1]) + 1, int(x[0]) : int(x[-1]) + 1]
    np.maximum(part, patch, out=part)
