"""Which frames make the clips of a video: integers in, integers out.

The rules are those that published results were measured with (MMAction2 1.2.0); where they are plainly wrong we
differ, and the function says so. Shapes: C clips of T frames, N frames in the video.
"""

from typing import assert_never

import numpy as np

from vidflow.config.sampling import (
    BinSampling,
    ClipSampling,
    DenseSampling,
    KeyTimeSampling,
    Sampling,
    SegmentSampling,
    UniformSampling,
    UntrimmedSampling,
)
from vidflow.errors import DataError
from vidflow.pipelines.uniform import bin_frames, span_frames


def clip_shape(sampling: Sampling) -> tuple[int, int]:
    """C and T: how many clips a sampling gives, and their frames. The same for every video, however short.

    >>> clip_shape(SegmentSampling(num_segments=8, twice=True))
    (2, 8)
    >>> clip_shape(ClipSampling(length=32, interval=2, num_clips=10))
    (10, 32)
    >>> clip_shape(DenseSampling(num_segments=8, num_starts=10)), clip_shape(DenseSampling(num_segments=8, random=True))
    ((10, 8), (1, 8))

    Raises:
        ValueError: an untrimmed sampling, whose number of clips depends on the video; see ``has_fixed_clips``.
    """
    match sampling:
        case SegmentSampling():
            return 2 if sampling.twice else 1, sampling.num_segments
        case ClipSampling():
            return sampling.num_clips * (2 if sampling.twice else 1), sampling.length
        case DenseSampling():
            return 1 if sampling.random else sampling.num_starts, sampling.num_segments
        case UniformSampling() | BinSampling():
            return sampling.num_clips, sampling.length
        case KeyTimeSampling():
            return 1, sampling.length
        case UntrimmedSampling():
            raise ValueError("an untrimmed sampling gives as many clips as the video has room for")
    assert_never(sampling)


def has_fixed_clips(sampling: Sampling) -> bool:
    """Whether all videos give equally many clips, so that samples fit into one batch."""
    return not isinstance(sampling, UntrimmedSampling)


def sample_frames(
    num_frames: int, sampling: Sampling, rng: np.random.Generator | None = None, *, key_frame: int | None = None
) -> np.ndarray:
    """Frame numbers of all clips, int64 [C, T], each in [0, num_frames).

    >>> sample_frames(300, SegmentSampling(num_segments=8)).tolist()
    [[18, 56, 93, 131, 168, 206, 243, 281]]

    Args:
        num_frames: frames in the video, > 0.
        rng: the source of chance; needed where ``sampling.random``, not used otherwise.
        key_frame: the frame that a key-time sampling is about.

    Raises:
        ValueError: a video without frames, a random sampling without ``rng``, or a key-time one without ``key_frame``.
        DataError: the video is shorter than the clip, and the sampling refuses such.
    """
    return fold(positions(num_frames, sampling, rng, key_frame=key_frame), num_frames, policy_of(sampling))


def policy_of(sampling: Sampling) -> str:
    """What the sampling does with positions beyond the video; see ``fold``."""
    if isinstance(sampling, ClipSampling | DenseSampling):
        return sampling.out_of_bound
    return "clamp" if isinstance(sampling, UntrimmedSampling | KeyTimeSampling) else "loop"


def positions(
    num_frames: int, sampling: Sampling, rng: np.random.Generator | None = None, *, key_frame: int | None = None
) -> np.ndarray:
    """As ``sample_frames``, before ``fold``: a position outside [0, num_frames) is one that the video lacks."""
    if num_frames <= 0:
        raise ValueError(f"num_frames ({num_frames}) must be positive")
    if not sampling.random:
        rng = None
    elif rng is None:
        raise ValueError(f"random = true in a {sampling.kind!r} sampling needs rng")
    match sampling:
        case SegmentSampling():
            frames = segment_frames(num_frames, num_segments=sampling.num_segments, twice=sampling.twice, rng=rng)
        case ClipSampling():
            starts = clip_starts(
                num_frames,
                length=sampling.length,
                interval=sampling.interval,
                num_clips=clip_shape(sampling)[0],
                rng=rng,
            )
            frames = starts[:, None] + np.arange(sampling.length) * sampling.interval  # (C,) -> (C, T)
        case DenseSampling():
            frames = dense_frames(
                num_frames,
                num_segments=sampling.num_segments,
                window=sampling.window,
                num_starts=sampling.num_starts,
                rng=rng,
            )
        case UniformSampling():
            frames = span_frames(num_frames, length=sampling.length, num_clips=sampling.num_clips, rng=rng)
        case BinSampling():
            frames = bin_frames(
                num_frames,
                length=sampling.length,
                num_clips=sampling.num_clips,
                rng=np.random.RandomState(sampling.test_seed) if rng is None else rng,
            )
        case UntrimmedSampling():
            centres = np.arange(sampling.clip_interval // 2, num_frames, sampling.clip_interval)
            centres = centres if len(centres) else np.array([num_frames // 2])
            frames = around(centres, length=sampling.length, interval=sampling.interval)
        case KeyTimeSampling():
            if key_frame is None:
                raise ValueError("a 'key_time' sampling needs key_frame")
            frames = around(np.array([key_frame]), length=sampling.length, interval=sampling.interval)
            if rng is not None:
                half, other_half = sampling.interval // -2, (sampling.interval + 1) // 2
                frames = frames + rng.integers(half, other_half, size=frames.shape)
        case _:
            assert_never(sampling)
    return frames.astype(np.int64)


def around(centres: np.ndarray, *, length: int, interval: int) -> np.ndarray:
    """Positions of clips [C, T] whose frame T // 2 lies at a centre [C]; they may lie outside the video.

    >>> around(np.array([10]), length=4, interval=3).tolist(), around(np.array([10]), length=3, interval=2).tolist()
    ([[4, 7, 10, 13]], [[8, 10, 12]])
    """
    return np.asarray(centres[:, None] + (np.arange(length) - length // 2) * interval)


def segment_frames(
    num_frames: int, *, num_segments: int, twice: bool = False, rng: np.random.Generator | None = None
) -> np.ndarray:
    """One frame of each of ``num_segments`` equal parts, [C, T = num_segments]; C is 2 with ``twice``.

    Without ``rng`` the frames at the parts' centres, rounded down; ``twice`` adds a clip of the parts' starts.

    >>> segment_frames(30, num_segments=3, twice=True).tolist()
    [[5, 15, 25], [0, 10, 20]]

    A video of fewer frames than parts shows frames more than once, in order:

    >>> segment_frames(5, num_segments=8).tolist()
    [[0, 0, 1, 2, 2, 3, 4, 4]]

    With ``rng`` a random frame of each part, parts being N // num_segments frames long, so that up to
    num_segments - 1 frames at the end are never drawn. Too short a video takes evenly spread frames, rounded half
    to even. ``twice`` makes two independent draws.

    Differs from MMAction2 1.2.0 in training on too short videos: a last frame that is rounded up beyond the end
    wraps to frame 0 there, out of order; here it is the video's last frame.

    Source: arXiv:1608.00859, section 3.1.
    """
    if rng is None:
        step = num_frames / num_segments
        starts = np.arange(num_segments) * step
        centres = starts + step / 2
        return np.stack([centres, starts] if twice else [centres]).astype(np.int64)
    num_draws = 2 if twice else 1
    if num_frames >= num_segments:
        return np.stack([_draw_spread(num_frames, num_segments, rng) for _ in range(num_draws)])
    spread = np.round(np.arange(num_segments) * (num_frames / num_segments)).astype(np.int64)
    return np.stack([np.minimum(spread, num_frames - 1)] * num_draws)


def clip_starts(
    num_frames: int, *, length: int, interval: int, num_clips: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """First frames of ``num_clips`` clips, int64 [C], in [0, num_frames).

    Without ``rng`` the starts are spread evenly, the first clip at frame 0 and the last one ending at the last
    frame, rounded half to even; a single clip lies in the middle:

    >>> clip_starts(300, length=8, interval=8, num_clips=10).tolist()
    [0, 27, 54, 81, 108, 135, 162, 189, 216, 243]
    >>> clip_starts(300, length=8, interval=8, num_clips=1).tolist()
    [121]

    With ``rng`` one random start in each of ``num_clips`` equal parts of the possible starts, or anywhere, in order,
    where there are fewer of them than clips. A clip then counts as ``length * interval`` frames long: almost one
    interval more than from its first frame to its last.

    A video shorter than the clip starts at 0; ``fold`` says what follows its last frame.

    Differs from MMAction2 1.2.0 in doubled clip sampling: there 2 N starts keep the distance of N, so that half of
    the clips begin beyond the video's end (and N = 1 divides by zero). Here 2 N starts are spread like any other
    number.
    """
    if rng is not None:
        num_possible = max(1, num_frames - length * interval + 1)
        if num_possible >= num_clips:
            return _draw_spread(num_possible, num_clips, rng)
        return np.sort(rng.integers(num_possible, size=num_clips))
    slack = max(num_frames - ((length - 1) * interval + 1), 0)
    if num_clips == 1:
        return np.array([slack // 2])
    return np.round(np.arange(num_clips) * (slack / (num_clips - 1))).astype(np.int64)


def dense_frames(
    num_frames: int, *, num_segments: int, window: int, num_starts: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Frames ``window // num_segments`` apart inside a window, [C, T = num_segments].

    Without ``rng`` one clip for each of ``num_starts`` windows, spread evenly from the video's start to its end and
    rounded down; a single window starts at 0. In a video shorter than the window ``fold`` says what follows its end:

    >>> dense_frames(100, num_segments=4, window=64, num_starts=3).tolist()
    [[0, 16, 32, 48], [18, 34, 50, 66], [36, 52, 68, 84]]
    >>> dense_frames(30, num_segments=8, window=64, num_starts=1).tolist()
    [[0, 8, 16, 24, 32, 40, 48, 56]]

    With ``rng`` one window, anywhere inside the video.

    Differs from MMAction2 1.2.0 in training: there the last possible start is never drawn.
    """
    num_possible = max(1, num_frames - window + 1)
    if rng is not None:
        starts = rng.integers(num_possible, size=1)
    else:
        starts = np.linspace(0, num_possible - 1, num_starts).astype(np.int64)
    return np.asarray(starts[:, None] + np.arange(num_segments) * (window // num_segments))  # (C,) -> (C, T)


def fold(frames: np.ndarray, num_frames: int, out_of_bound: str) -> np.ndarray:
    """Positions [C, T] that may lie beyond the video, brought into [0, num_frames).

    ``loop`` starts again from frame 0. ``repeat_last`` repeats the clip's last frame that lies inside the video;
    where frames are more than one apart, that need not be the video's last one. ``clamp`` takes the video's first or
    last frame. ``error`` refuses.

    >>> fold(np.arange(8)[None], 5, "loop").tolist(), fold(np.arange(8)[None], 5, "repeat_last").tolist()
    ([[0, 1, 2, 3, 4, 0, 1, 2]], [[0, 1, 2, 3, 4, 4, 4, 4]])
    >>> fold(np.arange(0, 48, 8)[None], 31, "repeat_last").tolist()
    [[0, 8, 16, 24, 24, 24]]

    Raises:
        DataError: with ``error``, a position that the video lacks.
    """
    if out_of_bound == "loop":
        return frames % num_frames
    if out_of_bound == "clamp":
        return np.clip(frames, 0, num_frames - 1)
    if out_of_bound == "error":
        if frames.max() >= num_frames:
            span = int((frames.max(axis=1) - frames.min(axis=1)).max()) + 1
            raise DataError(
                f"the video has {num_frames} frames and the clip spans {span}; leave short ones out with "
                f'where = "num_frames >= {span}", or set sampling.out_of_bound to "loop" or "repeat_last"'
            )
        return frames
    if out_of_bound != "repeat_last":
        raise ValueError(f"out_of_bound ({out_of_bound!r}) must be 'loop', 'repeat_last', 'clamp' or 'error'")
    last = np.where(frames < num_frames, frames, 0).max(axis=1, keepdims=True)
    return np.where(frames < num_frames, frames, last)


def _draw_spread(num_possible: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """One of ``num_possible`` places at random in each of ``count`` equal parts, int64 [count], ascending."""
    step = num_possible // count
    return np.arange(count) * step + rng.integers(step, size=count)
