"""One sample, as its ``KEY.json`` in a shard and its row in the manifest hold it.

``SampleRecord`` is what a sample *is*; ``Location`` is where its bytes lie. Both make one manifest row.
"""

from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1


class Frozen(BaseModel):
    """Base of all schema and config types: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class VideoInfo(Frozen):
    """What decoding the whole stream once has shown. Header values are not copied here, except where the name says so.

    Frame ``i`` is the ``i``-th frame in presentation order, counted from 0 over the frames that really decode.
    """

    container: str
    """File name extension of the member that holds the stream: mp4, webm, mkv, avi, ..."""
    codec: str
    """FFmpeg's name: h264, hevc, vp9, av1, mpeg4, mjpeg, ..."""
    codec_profile: str | None = None
    """FFmpeg's name, such as "High" or "High 4:2:2"; hardware decoders depend on it."""
    pixel_format: str
    """FFmpeg's name of the decoded frames' format, such as yuv420p or yuv420p10le."""
    bit_depth: int = Field(default=8, ge=1)
    stream_index: int = Field(default=0, ge=0)
    """Index of the stream in the container; cover art and thumbnails are passed over."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    """Size in pixels as people see it: after ``rotation``. Pixels are taken as stored, not stretched by the SAR."""
    rotation: Literal[0, 90, 180, 270] = 0
    """Degrees by which a decoded frame must still be turned clockwise to stand upright."""
    sample_aspect_ratio: float = Field(default=1.0, gt=0)
    num_frames: int = Field(gt=0)
    fps: float = Field(gt=0)
    """(num_frames - 1) / (time from the first to the last frame); the stream's rate where there is one frame."""
    duration: float = Field(ge=0)
    """Seconds from the first frame's time stamp to the end of the last frame. Audio does not count."""
    variable_frame_rate: bool = False
    time_base: tuple[int, int]
    """Seconds per time stamp unit, as numerator and denominator."""
    pts_start: int
    """Time stamp of frame 0, in ``time_base`` units."""
    pts_step: int | None = Field(default=None, gt=0)
    """Difference between neighbouring time stamps, where it is the same for all frames."""
    pts: tuple[int, ...] | None = None
    """All time stamps, strictly increasing; only where ``pts_step`` is None and the stream has usable ones."""
    key_frames: tuple[int, ...] = (0,)
    """Frames at which decoding may start: seeking there and decoding gives this frame and all later ones unharmed."""
    seekable: bool = True
    """False: seeking was seen to land wrong, or time stamps are missing; decode from the start and count."""
    reorder_depth: int = Field(default=0, ge=0)
    """Frames that the decoder must hold back to order them; its own guess from the first packets can be too small."""
    has_audio: bool = False
    num_damaged: int = Field(default=0, ge=0)
    """Frames that the decoder could not restore and that the policy ``conceal`` kept or left out."""
    header_num_frames: int | None = None
    """What the container claims, for the report; None where it claims nothing."""

    @model_validator(mode="after")
    def _time_stamps_are_complete(self) -> "VideoInfo":
        if min(self.time_base) <= 0:
            raise ValueError(f"time_base must be positive, not {self.time_base[0]}/{self.time_base[1]}")
        if self.pts is not None:
            if self.pts_step is not None:
                raise ValueError("give pts_step or pts, not both")
            if len(self.pts) != self.num_frames:
                raise ValueError(f"pts has {len(self.pts)} time stamps for {self.num_frames} frames")
            if any(b <= a for a, b in zip(self.pts, self.pts[1:], strict=False)):
                raise ValueError("pts must be strictly increasing")
        elif self.pts_step is None and self.seekable:
            raise ValueError("a seekable stream needs pts_step or pts")
        if any(k < 0 or k >= self.num_frames for k in self.key_frames):
            raise ValueError(f"key_frames must lie in [0, {self.num_frames})")
        return self

    @cached_property
    def timestamps(self) -> np.ndarray:
        """int64 [N], time stamps of all frames in ``time_base`` units; number / fps where the stream has none."""
        if self.pts is not None:
            return np.asarray(self.pts, np.int64)
        if self.pts_step is not None:
            return np.arange(self.num_frames, dtype=np.int64) * self.pts_step + self.pts_start
        unit = self.time_base[0] / self.time_base[1]
        return np.round(np.arange(self.num_frames) / self.fps / unit).astype(np.int64)

    @cached_property
    def seconds(self) -> np.ndarray:
        """float64 [N], presentation times of all frames in seconds, frame 0 at 0."""
        unit = self.time_base[0] / self.time_base[1]
        return np.asarray((self.timestamps - self.timestamps[0]) * unit, np.float64)


class SampleRecord(Frozen):
    """One packed item: the whole of ``KEY.json``."""

    schema_version: int = SCHEMA_VERSION
    key: str = Field(pattern=r"^[0-9]+$")
    """Zero-padded ordinal, unique over the data set."""
    id: str = Field(min_length=1)
    """The path as the source named it, byte for byte; a name that is not UTF-8 carries surrogate escapes as \\udcXX."""
    split: str = Field(min_length=1)
    kind: Literal["video"] = "video"
    labels: tuple[int, ...] = ()
    """Class indices into dataset.json's ``classes``: one for single-label sets, any number for multi-label ones."""
    group: str | None = None
    """Clips of one source share a group; no group is spread over two splits."""
    video: VideoInfo | None = None


class Location(Frozen):
    """Where a sample's bytes lie: ``[offset, offset + length)`` of the shard, tar headers and padding included."""

    shard: str = Field(pattern=r"^[^/\\]+$")
    """File name below the data set's root; never a path that could lead out of it."""
    offset: int = Field(ge=0)
    length: int = Field(gt=0)
    data_offset: int = Field(ge=0)
    """First byte of the media member's content in the shard."""
    data_length: int = Field(gt=0)
