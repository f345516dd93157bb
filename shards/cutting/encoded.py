"""A stretch of a video as a file of its own, frame-exact: decoded and encoded anew by one of the profiles."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from vidflow.media.probe import probe_video
from vidflow.media.window import Window, WindowFrames, open_window
from vidflow.schema import VideoInfo
from vidflow.shards.profiles import EncodeError, FrameStream, Profile, encode_frames


@dataclass(frozen=True, slots=True)
class CutVideo:
    """What was written, and which stretch of the source it shows."""

    info: VideoInfo
    start_seconds: float
    """Time of the first frame, from the source's first frame."""

    @property
    def end_seconds(self) -> float:
        """Where the last frame ends."""
        return self.start_seconds + self.info.duration


def encode_window(source: Path, window: Window, out: Path, profile: Profile) -> CutVideo:
    """Write the frames of a window to an MP4 file without sound; the same input gives the same bytes.

    Raises:
        DecodeError: as ``open_window`` says.
        EncodeError: the frames cannot be encoded, or other frames come out than went in.
        OSError: the file cannot be written.
    """
    with open_window(source, window) as opened:
        durations: deque[int] = deque()
        frames = _Measured(opened, durations)
        stream = FrameStream(
            width=opened.width,
            height=opened.height,
            rate=opened.rate,
            time_base=opened.time_base,
            sample_aspect_ratio=opened.sample_aspect_ratio,
            durations=iter(durations.popleft, None),
        )
        count = encode_frames(iter(frames), stream, out, profile, where=source)
    info = probe_video(out)
    if info.num_frames != count:
        raise EncodeError(f"{source}: encoding gave {info.num_frames} frames for {count}")
    return CutVideo(info, opened.zero_seconds + float(frames.first * opened.time_base))


class _Measured:
    """Frames, each let go once the next one has shown how long it lasts."""

    def __init__(self, opened: WindowFrames, durations: deque[int]) -> None:
        self._opened, self._durations = opened, durations
        self.first = 0
        """Time stamp of the first frame."""

    def __iter__(self) -> Iterator[av.VideoFrame]:
        held: av.VideoFrame | None = None
        held_pts, step = 0, max(round(1 / (self._opened.rate * Fraction(self._opened.time_base))), 1)
        for frame in self._opened.frames:
            pts = frame.pts  # a frame that is repeated is one object with many time stamps
            if held is None:
                self.first = pts
            else:
                step = pts - held_pts
                self._durations.append(step)
                held.pts = held_pts
                yield held
            held, held_pts = frame, pts
        if held is not None:
            self._durations.append(step)
            held.pts = held_pts
            yield held
