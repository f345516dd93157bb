"""The frames of a stretch of a long video, without probing the whole of it.

Times are seconds from the video's first frame. Reading jumps to the last key frame before the stretch and goes on from
there; where that frame cannot be trusted (no intra picture, or a seek that lands late), and where frames have no time
stamps, the video is decoded from its start. A frame belongs to ``[start, end)`` by its time stamp, with a tolerance of
a millisecond, since containers round their time stamps; so stretches that meet share no frame and lose none.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import PictureType

from vidflow.errors import DecodeError
from vidflow.media.pixels import Uprighter, rotation_of
from vidflow.media.stream import decode_linear, open_video, read_packets

TOLERANCE_SECONDS = 1e-3
_FALLBACK_RATE = Fraction(25)
# FFmpeg's guess of how far H.264 frames are out of order can be too small, and then costs frames; more only costs time.
_REORDER_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Window:
    """``[start, end)`` of a video, in seconds from its first frame."""

    start: float
    end: float
    fps: float | None = None
    """Frames per second of what comes out, on a grid that begins at ``start``; None keeps the frames as they are."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a window must lie behind 0 and end after its start, not [{self.start}, {self.end})")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be positive, not {self.fps}")


@dataclass
class WindowFrames:
    """The upright frames of a window, to be read once; what is known of them before the first one is decoded."""

    width: int
    height: int
    """Pixels, upright."""
    rate: Fraction
    """Frames per second as the container has it, or the window's own."""
    time_base: Fraction
    """Seconds per unit of the frames' ``pts``."""
    zero_seconds: float
    """Where ``pts`` is 0: the window's start, to the nearest time that the video's unit can tell."""
    sample_aspect_ratio: Fraction
    frames: Iterator[av.VideoFrame] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Where a stream's time begins, and what its frames look like."""

    origin: int
    """Time stamp of the first frame; 0 where frames have none."""
    unit: Fraction
    has_stamps: bool
    rate: Fraction
    rotation: int
    width: int
    height: int


@contextmanager
def open_window(source: Path, window: Window) -> Iterator[WindowFrames]:
    """The frames of a window of a video file.

    Raises:
        DecodeError: the file cannot be opened, no frame of it decodes, damage in the stretch that is read (while the
            frames are drawn), or the video ends before the window begins.
    """
    with open_video(source) as (file, stream):
        first = next(decode_linear(file, stream, damaged=lambda what: None), None)
        if first is None:
            raise DecodeError(f"{source}: no frame decodes")
        assert stream.time_base is not None
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or _FALLBACK_RATE
        has_stamps = first.pts is not None and not guesses_stamps(file, stream)
        rotation = rotation_of(first)
        width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
        timeline = _Timeline(
            first.pts or 0,
            stream.time_base if has_stamps else 1 / rate,
            has_stamps,
            rate,
            rotation,
            width,
            height,
        )
        aspect = stream.sample_aspect_ratio or Fraction(1)
    frames = _upright(_timed(source, window, timeline), timeline)
    unit, zero = timeline.unit, round(window.start / timeline.unit)
    zero_seconds = float(zero * unit)
    if window.fps is not None:
        rate = Fraction(window.fps).limit_denominator(100_000)
        unit, zero_seconds = 1 / rate, window.start
        frames = _on_grid(frames, window, timeline, rate)
    else:
        frames = _inside(frames, window, timeline, zero)
    yield WindowFrames(width, height, rate, unit, zero_seconds, aspect, _not_empty(frames, source, window))


def guesses_stamps(file: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether time stamps are made up: AVI stores the order of packets alone, which is not that of B-frames."""
    return bool(file.format.name == "avi" and stream.codec_context.reorder_depth > 0)


def _upright(frames: Iterator[av.VideoFrame], timeline: _Timeline) -> Iterator[av.VideoFrame]:
    turn = Uprighter(width=timeline.width, height=timeline.height, rotation=timeline.rotation)
    for frame in frames:
        pts = frame.pts
        turned = turn(frame)
        turned.pts, turned.time_base = pts, timeline.unit
        yield turned


def _timed(source: Path, window: Window, timeline: _Timeline) -> Iterator[av.VideoFrame]:
    """Frames from one at or before the window's start to the first behind its end, in presentation order.

    Their time stamps count from the video's first frame.
    """
    if timeline.has_stamps and window.start > 0:
        with _opened(source) as (file, stream):
            key = _jump(file, stream, window, timeline)
            if key is not None:
                yield from _from_here(file, stream, source, window, timeline, key)
                return
    with _opened(source) as (file, stream):
        yield from _from_here(file, stream, source, window, timeline, None)


@contextmanager
def _opened(source: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    with open_video(source, reorder_depth=_REORDER_DEPTH) as (file, stream):
        if stream.codec_context.codec.canonical_name == "h264":
            yield file, stream
            return
    with open_video(source) as (file, stream):
        yield file, stream


def _from_here(
    file: av.container.InputContainer,
    stream: av.VideoStream,
    source: Path,
    window: Window,
    timeline: _Timeline,
    key: int | None,
) -> Iterator[av.VideoFrame]:
    """Frames from the file's position on; what comes out before ``key`` leans on frames that were not decoded."""
    end = (window.end - TOLERANCE_SECONDS) / timeline.unit
    depth: int | None = None
    sound, latest = key is None, -1

    def damaged(what: str) -> None:
        if sound:
            raise DecodeError(f"{source}: damaged before {window.end:g} s: {what}")

    for number, frame in enumerate(decode_linear(file, stream, damaged=damaged)):
        if depth is None:
            depth = stream.codec_context.reorder_depth
        if stream.codec_context.reorder_depth > depth:
            raise DecodeError(f"{source}: frames are ordered more deeply than {depth}, and some were lost")
        if timeline.has_stamps and frame.pts is None:
            raise DecodeError(f"{source}: a frame without a time stamp before {window.end:g} s")
        sound = sound or frame.pts >= key
        if not sound:
            continue
        frame.pts = frame.pts - timeline.origin if timeline.has_stamps else number
        if frame.pts <= latest:
            at = float(frame.pts * timeline.unit)
            raise DecodeError(f"{source}: time stamps go back to {at:g} s; re-encode the whole video first")
        latest = frame.pts
        yield frame
        if frame.pts >= end:
            return


def _jump(file: av.container.InputContainer, stream: av.VideoStream, window: Window, timeline: _Timeline) -> int | None:
    """Seek to a key frame at or before the window's start: its time stamp, or None if decoding may not begin there."""
    target = timeline.origin + int((window.start - TOLERANCE_SECONDS) / timeline.unit)
    if target <= timeline.origin:
        return None
    try:
        file.seek(target, stream=stream)
        packet = next(read_packets(file, stream), None)
        if packet is None or packet.pts is None or not packet.is_keyframe or packet.pts > target:
            return None
        key: int = packet.pts
        file.seek(target, stream=stream)
        for frame in decode_linear(file, stream, damaged=lambda what: None):
            if frame.pts is None or frame.pts > key:
                return None
            if frame.pts == key:
                # With intra refresh, packets have the key flag though only a stripe of the picture is intra.
                if not frame.key_frame or frame.pict_type != PictureType.I or frame.is_corrupt:
                    return None
                file.seek(target, stream=stream)
                return key
    except av.FFmpegError:
        return None
    return None


def _inside(frames: Iterator[av.VideoFrame], window: Window, timeline: _Timeline, zero: int) -> Iterator[av.VideoFrame]:
    """The frames in the window, their time stamps counted from ``zero``."""
    low, high = ((edge - TOLERANCE_SECONDS) / timeline.unit for edge in (window.start, window.end))
    for frame in frames:
        if low <= frame.pts < high:
            frame.pts -= zero
            yield frame


def _on_grid(
    frames: Iterator[av.VideoFrame], window: Window, timeline: _Timeline, rate: Fraction
) -> Iterator[av.VideoFrame]:
    """The frame that is on the screen at each point of the grid; frames are repeated and left out for it.

    The window ends early where the video does.
    """
    count = round((window.end - window.start) * rate)
    shown: av.VideoFrame | None = None
    following, seconds = 0, 0.0
    for frame in frames:
        seconds = float(frame.pts * timeline.unit) - window.start
        while shown is not None and following < min(_first_point(seconds, rate), count):
            yield _stamped(shown, following, rate)
            following += 1
        if following >= count:
            return
        shown = frame
    end = _first_point(seconds + float(1 / timeline.rate), rate)
    while shown is not None and following < min(end, count):
        yield _stamped(shown, following, rate)
        following += 1


def _first_point(seconds: float, rate: Fraction) -> int:
    """The first point of a grid that is not before a time.

    >>> _first_point(0.1, Fraction(10)), _first_point(0.11, Fraction(10)), _first_point(-0.05, Fraction(10))
    (1, 2, 0)
    """
    return math.ceil((seconds - TOLERANCE_SECONDS) * rate)


def _stamped(frame: av.VideoFrame, pts: int, rate: Fraction) -> av.VideoFrame:
    frame.pts, frame.time_base = pts, 1 / rate
    return frame


def _not_empty(frames: Iterator[av.VideoFrame], source: Path, window: Window) -> Iterator[av.VideoFrame]:
    first = next(frames, None)
    if first is None:
        raise DecodeError(f"{source}: has no frame in [{window.start:g}, {window.end:g}) s; it ends before that")
    yield first
    yield from frames
