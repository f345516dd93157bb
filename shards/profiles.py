"""How video is stored: ``copy`` keeps the bytes, ``train`` and ``intra`` re-encode H.264 for cheap decoding.

Both re-encodings keep every frame and its time stamp (variable frame rates stay variable), apply the rotation, drop the
sound, and shrink so that the short side is 256 pixels; smaller videos keep their size. 4:2:0 needs even sizes: a shrunk
side is rounded to the nearest even number; a side that is kept and odd gets its last row or column twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from vidflow.errors import ConfigError, VidflowError
from vidflow.media.decode import iter_video_frames
from vidflow.schema import VideoInfo
from vidflow.shards.files import NO_ROOM

# Of four pictures three (B) are needed by no other: a reader of sparse frames leaves them out, and decodes less than
# half of what lies between a key frame and the frame that it wants. pbratio=1: they are watched like any other.
_UNREFERENCED = 3
# MP4 stores time units per second in 31 bits.
_MAX_TIMESCALE = 2**31 - 1


class EncodeError(VidflowError):
    """A video that decodes but cannot be re-encoded."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is done to the stored video."""

    name: str
    gop: int | None
    """Frames from key frame to key frame; None keeps the bytes."""
    short_side: int = 256
    """Pixels; never enlarged."""
    crf: int = 23
    """x264's constant quality, 0 (lossless) to 51."""

    @property
    def encodes(self) -> bool:
        """Whether the video is re-encoded."""
        return self.gop is not None

    def options(self) -> dict[str, object]:
        """For dataset.json."""
        if not self.encodes:
            return {"profile": self.name}
        table: dict[str, object] = {
            "profile": self.name,
            "gop": self.gop,
            "short_side": self.short_side,
            "crf": self.crf,
        }
        for library in ("libavcodec", "libswscale"):  # other versions may give other bytes
            table[library] = ".".join(str(number) for number in av.library_versions[library])
        return table


PROFILES = {
    profile.name: profile
    for profile in (Profile(name="copy", gop=None), Profile(name="train", gop=16), Profile(name="intra", gop=1))
}


def choose_profile(name: str, *, short_side: int | None = None, crf: int | None = None) -> Profile:
    """A profile by name, with options changed.

    Raises:
        ConfigError: no such profile, or an option out of range or without effect.
    """
    if name not in PROFILES:
        raise ConfigError(f"--profile {name}: no such profile; choose one of {', '.join(PROFILES)}")
    profile = PROFILES[name]
    if not profile.encodes and (short_side is not None or crf is not None):
        raise ConfigError(f"--short-side and --crf have no effect on --profile {name}, which keeps the bytes")
    if short_side is not None:
        if short_side < 16:
            raise ConfigError(f"--short-side {short_side}: must be at least 16 pixels")
        profile = replace(profile, short_side=short_side)
    if crf is not None:
        if not 0 <= crf <= 51:
            raise ConfigError(f"--crf {crf}: must lie in [0, 51]")
        profile = replace(profile, crf=crf)
    return profile


def stored_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height after re-encoding.

    >>> stored_size(1920, 1080, 256), stored_size(340, 256, 256), stored_size(161, 121, 256)
    ((456, 256), (340, 256), (162, 122))
    """
    short = min(width, height)
    if short <= short_side:
        return width + width % 2, height + height % 2
    # To the nearest even number of pixels, halves up, in whole numbers.
    scaled = [2 * ((2 * side * short_side + 2 * short) // (4 * short)) for side in (width, height)]
    return scaled[0], scaled[1]


@dataclass(frozen=True, kw_only=True)
class FrameStream:
    """What must be known of frames before the first is encoded."""

    width: int
    height: int
    rate: Fraction
    """Frames per second, for the encoder's rate control."""
    time_base: Fraction
    sample_aspect_ratio: Fraction
    durations: Iterator[int]
    """How long each frame shows, in units of the time base; drawn for a frame right behind it."""


def _fitted(frames: Iterator[av.VideoFrame], info: FrameStream, size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    """Frames as limited-range yuv420p of the stored size, in the matrix that they had."""
    width, height = size
    reformatter, padder = VideoReformatter(), VideoReformatter()
    enlarged = width > info.width or height > info.height
    for frame in frames:
        pts, fitted = frame.pts, frame
        if enlarged:
            rgb = padder.reformat(fitted, format="rgb24", threads=1).to_ndarray()
            pixels = np.pad(rgb, ((0, height - info.height), (0, width - info.width), (0, 0)), mode="edge")
            fitted = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        full_range = fitted.format.name.startswith("yuvj") or fitted.color_range == ColorRange.JPEG
        fitted = reformatter.reformat(
            fitted,
            width=width,
            height=height,
            format="yuv420p",
            interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
            src_color_range=ColorRange.JPEG if full_range else None,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        fitted.pts = pts
        fitted.pict_type = PictureType.NONE  # the source's key frames must not become ours
        yield fitted


def encode(source: Path, info: VideoInfo, out: Path, profile: Profile) -> None:
    """Re-encode a probed video into an MP4 file; the same input gives the same bytes.

    Raises:
        EncodeError: the encoder or MP4 cannot hold it.
        DecodeError: the source does not decode as it did when it was probed.
        OSError: the file cannot be written.
    """
    stream = FrameStream(
        width=info.width,
        height=info.height,
        rate=Fraction(info.fps).limit_denominator(100_000),
        time_base=Fraction(*info.time_base),
        sample_aspect_ratio=Fraction(info.sample_aspect_ratio).limit_denominator(1000),
        durations=_durations(info),
    )
    encode_frames(iter_video_frames(source, info), stream, out, profile, where=source)


def encode_frames(
    frames: Iterator[av.VideoFrame], stream: FrameStream, out: Path, profile: Profile, *, where: object
) -> int:
    """Encode upright frames into an MP4 file, the first one at time 0; gives their number.

    Args:
        where: what to call the source in messages.

    Raises:
        EncodeError: the encoder or MP4 cannot hold it.
        OSError: the file cannot be written.
    """
    assert profile.gop is not None
    width, height = stored_size(stream.width, stream.height, profile.short_side)
    unit = stream.time_base
    if unit.denominator > _MAX_TIMESCALE:
        raise EncodeError(f"{where}: time stamps in units of {unit} s do not fit into MP4")
    # mbtree computes in floating point by code that differs from CPU to CPU, and was seen to give other bytes from one
    # run to the next under AVX-512 (x264 core 165); all else of x264 is in whole numbers.
    x264 = (
        f"threads=1:keyint={profile.gop}:min-keyint={profile.gop}:scenecut=0:mbtree=0:rc-lookahead=0:"
        f"bframes={_UNREFERENCED if profile.gop > 1 else 0}:b-adapt=0:b-pyramid=none:pbratio=1"
    )
    options = {"preset": "medium", "tune": "fastdecode", "crf": str(profile.crf), "x264-params": x264, "threads": "1"}
    # video_track_timescale: FFmpeg would otherwise multiply small units, which changes nothing but the numbers.
    container_options = {"fflags": "+bitexact", "video_track_timescale": str(unit.denominator)}
    first, number = 0, 0
    durations: dict[int, int] = {}  # by time stamp
    try:
        with av.open(out, "w", format="mp4", options=container_options) as container:
            coded = container.add_stream("libx264", rate=stream.rate, options=options)
            context = coded.codec_context
            context.flags |= Flags.bitexact
            context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuv420p", unit
            context.color_range = ColorRange.MPEG
            context.sample_aspect_ratio = stream.sample_aspect_ratio
            for number, frame in enumerate(_fitted(frames, stream, (width, height)), 1):
                if number == 1:
                    context.colorspace = frame.colorspace
                    first = frame.pts
                frame.pts -= first
                frame.time_base = unit
                durations[frame.pts] = next(stream.durations)
                container.mux(_with_durations(coded.encode(frame), durations))
            container.mux(_with_durations(coded.encode(), durations))
    except av.FFmpegError as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        raise EncodeError(f"{where}: cannot be encoded ({error.strerror})") from error
    return number


def _durations(info: VideoInfo) -> Iterator[int]:
    """How long each frame shows, in units of the time base; the last one to the video's end."""
    stamps = info.timestamps
    unit = Fraction(*info.time_base)
    last = round(info.duration / unit) - int(stamps[-1] - stamps[0])
    return iter([*np.diff(stamps).tolist(), max(last, 1)])


def _with_durations(packets: list[av.Packet], durations: dict[int, int]) -> list[av.Packet]:
    """Packets come in coding order, which is not that of the frames."""
    for packet in packets:
        packet.duration = durations.pop(packet.pts)
    return packets
