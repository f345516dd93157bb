"""Samplings that spread one clip over the whole video: equal spans, and bins of whole frames.

Shapes: C clips of T frames, N frames in the video.
"""

import numpy as np

Chance = np.random.Generator | np.random.RandomState


def span_frames(
    num_frames: int, *, length: int, num_clips: int = 1, rng: np.random.Generator | None = None
) -> np.ndarray:
    """One frame of each of T equal spans of [0, N - 1], int64 [C, T]; borders are rounded half to even.

    Without ``rng`` clip k of K lies (k + 1) / (K + 1) of a span's length behind its border, rounded down. With ``rng``
    a random frame from the span's first to its last, both included (and shared with the neighbouring spans).

    >>> span_frames(100, length=8).tolist()
    [[6, 18, 31, 43, 56, 68, 80, 93]]

    Source: MMAction2 1.2.0's UniformSample, after SlowFast's sampling of Something-Something V2.
    """
    borders = np.round(np.arange(length + 1) * ((num_frames - 1) / length)).astype(np.int64)
    if rng is not None:
        return rng.integers(borders[:-1], borders[1:], endpoint=True)[None]  # [T] -> [1, T]
    offsets = (np.arange(num_clips)[:, None] + 1) / (num_clips + 1) * ((num_frames - 1) / length)
    return np.asarray((borders[:-1] + offsets).astype(np.int64))


def bin_frames(num_frames: int, *, length: int, num_clips: int, rng: Chance) -> np.ndarray:
    """One random frame of each of T bins of whole frames, int64 [C, T]; positions beyond the video are to be looped.

    From 2 T frames on, bin i is [i N // T, (i + 1) N // T). With fewer, T of the N frames in order, at most one left
    out between neighbours. With fewer than T, consecutive frames from a start: random, or with a ``RandomState``
    (tests) at the clip's share of the video.

    Args:
        rng: a ``RandomState`` draws as the published tests do (seed 255), to the number.

    Source: arXiv:2104.13586; MMAction2 1.2.0's UniformSampleFrames.
    """
    tests = isinstance(rng, np.random.RandomState)
    clips = []
    for clip in range(num_clips):
        if num_frames < length:
            share = clip if num_frames < num_clips else clip * num_frames // num_clips
            clips.append((share if tests else _below(rng, num_frames)) + np.arange(length))
        elif num_frames < 2 * length:
            gaps = np.zeros(length + 1, np.int64)
            gaps[rng.choice(length + 1, num_frames - length, replace=False)] = 1
            clips.append(np.arange(length) + np.cumsum(gaps)[:-1])
        else:
            edges = np.arange(length + 1) * num_frames // length
            clips.append(edges[:-1] + _below(rng, np.diff(edges)))
    return np.stack(clips)


def _below(rng: Chance, bounds: int | np.ndarray) -> np.ndarray:
    """Whole numbers in [0, bound)."""
    if isinstance(rng, np.random.RandomState):
        return np.asarray(rng.randint(bounds))
    return np.asarray(rng.integers(bounds))
