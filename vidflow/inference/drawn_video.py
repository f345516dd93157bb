"""A video of what was predicted: the frames, or an empty picture, with skeletons and the likeliest classes on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidflow.errors import DataError, StorageError
from vidflow.media.decode import iter_rgb_frames
from vidflow.media.drawing import draw_skeletons, draw_words, on_screen
from vidflow.schema import VideoInfo
from vidflow.shards.profiles import EncodeError, FrameStream, Profile, encode_frames

_PROFILE = Profile(name="drawn", gop=48, short_side=1 << 20, crf=20)
_USUAL_FPS = 25
_EMPTY_SIZE = 480
MAX_SIDE = 16384
"""Pixels; x264 encodes no larger pictures."""
MIN_SCORE = 0.3
"""Keypoints of a picture in which their estimator believes less than this are not drawn."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Figures:
    """The people of a video or of a skeleton file: M people, T frames, K keypoints."""

    keypoints: np.ndarray
    """[M, T, K, 2 or 3]; zeros where missing."""
    scores: np.ndarray | None
    """[M, T, K]."""
    limbs: tuple[tuple[int, int], ...]
    size: tuple[int, int] | None = None
    """Width and height in pixels of the picture that the keypoints lie in; None where there is none."""
    fps: float | None = None


def draw_video(
    out: Path, words: Sequence[str], *, video: tuple[Path, VideoInfo] | None = None, figures: Figures | None = None
) -> None:
    """Write an MP4 file, whole or not at all, with the video's own frame times and without its sound.

    Args:
        words: lines for the upper left corner.
        video: what is drawn on; None draws on an empty picture.
        figures: who is drawn; of a video as many frames as it has.

    Raises:
        DecodeError: the video does not decode.
        DataError: nothing to draw on, figures of another number of frames than the video, a picture of more than
            ``MAX_SIDE``, or frames that cannot be encoded.
        StorageError: the file cannot be written.
    """
    if video is not None:
        path, info = video
        if figures is not None and figures.keypoints.shape[1] != info.num_frames:
            raise DataError(f"{path}: has {info.num_frames} frames, its skeletons {figures.keypoints.shape[1]}")
        pictures = iter_rgb_frames(path, info)
        stamps, unit = info.timestamps, Fraction(*info.time_base)
        width, height, fps, duration = info.width, info.height, info.fps, info.duration
        aspect = Fraction(info.sample_aspect_ratio).limit_denominator(1000)
        where: object = path
    elif figures is not None:
        fps = figures.fps or _USUAL_FPS
        count = figures.keypoints.shape[1]
        figures = _without_a_picture(figures)
        assert figures.size is not None
        width, height = figures.size
        if max(width, height) > MAX_SIDE:
            raise DataError(
                f"{out}: the skeletons lie in a picture of {width} x {height} pixels, and at most {MAX_SIDE} a side "
                "can be drawn; correct the size in their file, or leave it out"
            )
        pictures = (np.zeros((height, width, 3), np.uint8) for _ in range(count))
        unit = Fraction(1, 90_000)
        stamps = np.round(np.arange(count) / fps / float(unit)).astype(np.int64)
        duration, aspect, where = count / fps, Fraction(1), out
    else:
        raise DataError(f"{out}: there is nothing to draw on")
    steps = [*np.diff(stamps).tolist(), max(1, round(duration / unit) - int(stamps[-1] - stamps[0]))]
    stream = FrameStream(
        width=width,
        height=height,
        rate=Fraction(fps).limit_denominator(100_000),
        time_base=unit,
        sample_aspect_ratio=aspect,
        durations=iter(steps),
    )
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            encode_frames(_drawn(pictures, stamps, words, figures), stream, part, _PROFILE, where=where)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    except EncodeError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror or error})") from error


def _without_a_picture(figures: Figures) -> Figures:
    """The same in pixels of an empty picture: their own, where the file tells its size, or one that holds them all."""
    if figures.size is not None and figures.keypoints.shape[-1] == 2:
        return figures
    return Figures(
        keypoints=on_screen(figures.keypoints, size=_EMPTY_SIZE),
        # Depth cameras score a joint 0 where they have inferred its place, which is still worth drawing.
        scores=figures.scores if figures.keypoints.shape[-1] == 2 else None,
        limbs=figures.limbs,
        size=(_EMPTY_SIZE, _EMPTY_SIZE),
        fps=figures.fps,
    )


def _drawn(
    pictures: Iterator[np.ndarray], stamps: np.ndarray, words: Sequence[str], figures: Figures | None
) -> Iterator[av.VideoFrame]:
    for number, (picture, stamp) in enumerate(zip(pictures, stamps.tolist(), strict=True)):
        if figures is not None:
            scores = figures.scores[:, number] if figures.scores is not None else None
            points = figures.keypoints[:, number, :, :2]
            draw_skeletons(picture, points, figures.limbs, scores=scores, min_score=MIN_SCORE)
        draw_words(picture, words)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = stamp
        yield frame
