"""Which stretch of the sound belongs to a clip of frames: frame numbers and time stamps in, steps of sound out.

Shapes: C clips of T frames, N frames in the video, S steps of sound (samples, or columns of a spectrogram).
"""

import numpy as np


def sound_spans(frames: np.ndarray, *, seconds: np.ndarray, duration: float, rate: float, num_steps: int) -> np.ndarray:
    """The steps of sound from the start of a clip's first frame to the end of its last, int64 [C, 2], [start, stop).

    >>> seconds = np.arange(100) / 25
    >>> sound_spans(np.array([[0, 8, 16, 24]]), seconds=seconds, duration=4, rate=16000, num_steps=64000).tolist()
    [[0, 16000]]

    Args:
        frames: int64 [C, T], frame numbers in [0, N), any order.
        seconds: float64 [N], presentation times of the frames, ascending; sound starts with frame 0 at 0.
        duration: seconds to the end of the last frame.
        rate: steps of sound per second.
        num_steps: S; spans end there where the sound is shorter than the picture.

    Raises:
        ValueError: frames outside the video, or a rate that is not positive.
    """
    first, last = frames.min(axis=1), frames.max(axis=1)
    if len(frames) and (first.min() < 0 or last.max() >= len(seconds)):
        raise ValueError(f"frames {first.min()} to {last.max()} reach beyond a video of {len(seconds)} frames")
    if rate <= 0 or num_steps < 0:
        raise ValueError(f"rate ({rate}) must be positive and num_steps ({num_steps}) not negative")
    ends = np.append(seconds[1:], duration)
    times = np.stack([seconds[first], ends[last]], axis=1)  # [C, 2]
    return np.clip(np.round(times * rate).astype(np.int64), 0, num_steps)


def shared_spans(frames: np.ndarray, *, num_frames: int, num_steps: int) -> np.ndarray:
    """As ``sound_spans`` where no times are known: sound and frames cover the same time, evenly, int64 [C, 2].

    >>> shared_spans(np.array([[0, 8, 16, 24]]), num_frames=100, num_steps=50).tolist()
    [[0, 12]]

    Differs from MMAction2 1.2.0's AudioFeatureSelector, where a span starts at its first frame's end, so that the clip
    loses one frame of sound and a clip of one frame has none.
    """
    edges = np.arange(num_frames) / num_frames
    return sound_spans(frames, seconds=edges, duration=1.0, rate=num_steps, num_steps=num_steps)
