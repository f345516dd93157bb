"""One sample, as its ``KEY.json`` in a shard and its row in the manifest hold it.

``SampleRecord`` is what a sample *is*; ``Location`` is where its bytes lie. Both make one manifest row.
"""

from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

SCHEMA_VERSION = 1

Kind = Literal["video", "frames", "skeleton", "audio", "feature"]
Layout = Literal["coco", "openpose", "nturgb+d", "kinect20", "msr20", "custom"]

NUM_KEYPOINTS: dict[str, int] = {"coco": 17, "openpose": 18, "nturgb+d": 25, "kinect20": 20, "msr20": 20}
"""Keypoints of each layout that has a fixed number; ``custom`` may have any."""


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


class FramesInfo(Frozen):
    """Frames that lie in the shard as one picture each: ``KEY.rgb.00001.jpg`` and so on, counted from 1.

    Flow, where there is some, is two grey pictures per step, ``KEY.flow_x.00001.jpg`` and ``KEY.flow_y.00001.jpg``.
    """

    container: Literal["jpg", "png"]
    """File name extension of the frames; flow is always jpg."""
    num_frames: int = Field(gt=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    """Size in pixels, the same for all frames and all flow of the sample."""
    fps: float | None = Field(default=None, gt=0)
    duration: float | None = Field(default=None, ge=0)
    """Seconds, ``num_frames / fps`` where the rate is known."""
    num_flow: int = Field(default=0, ge=0)
    """Pairs of flow pictures; 0 where there is no flow."""


class SkeletonInfo(Frozen):
    """``KEY.keypoint.npy`` [M, T, K, C] and perhaps ``KEY.keypoint_score.npy`` [M, T, K].

    A keypoint that is missing has zeros for all its coordinates.
    """

    layout: Layout
    num_people: int = Field(gt=0)
    """M; a person keeps its place through the whole sample."""
    num_frames: int = Field(gt=0)
    """T."""
    num_keypoints: int = Field(gt=0)
    """K."""
    num_coords: Literal[2, 3]
    """C: x, y in pixels of the picture (as the source has them), or x, y, z in metres."""
    has_scores: bool = False
    """Whether the source has a confidence per keypoint."""
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    """Size in pixels of the picture that the keypoints were found in, where it is known."""
    fps: float | None = Field(default=None, gt=0)
    duration: float | None = Field(default=None, ge=0)
    """Seconds, ``num_frames / fps`` where the rate is known."""
    num_damaged: int = Field(default=0, ge=0)
    """Keypoints that were not finite and that the policy ``conceal`` marked as missing."""

    @model_validator(mode="after")
    def _keypoints_fit_the_layout(self) -> "SkeletonInfo":
        expected = NUM_KEYPOINTS.get(self.layout, self.num_keypoints)
        if self.num_keypoints != expected:
            raise ValueError(f"layout {self.layout} has {expected} keypoints, not {self.num_keypoints}")
        return self


class AudioInfo(Frozen):
    """Sound: a stream, ``KEY.wav``, ``KEY.flac`` or ``KEY.mp3``, or mel features of one, ``KEY.mel.npy`` [T, M].

    A stream is told by what decoding the whole of it once has shown; of mel features no more is known than their size.
    """

    container: Literal["flac", "wav", "mp3", "mel.npy"]
    codec: str | None = None
    """FFmpeg's name: pcm_s16le, flac, mp3, ...; this and the next four of streams only."""
    sample_rate: int | None = Field(default=None, gt=0)
    """Per second."""
    num_channels: int | None = Field(default=None, gt=0)
    num_samples: int | None = Field(default=None, gt=0)
    """Per channel, over what really decodes."""
    duration: float | None = Field(default=None, gt=0)
    """Seconds, ``num_samples / sample_rate``."""
    num_mel_frames: int | None = Field(default=None, gt=0)
    """T, of mel features."""
    num_mels: int | None = Field(default=None, gt=0)
    """M: frequency bands, of mel features."""

    @model_validator(mode="after")
    def _is_a_stream_or_mel_features(self) -> "AudioInfo":
        stream = ("codec", "sample_rate", "num_channels", "num_samples", "duration")
        mel = ("num_mel_frames", "num_mels")
        needed, barred = (mel, stream) if self.container == "mel.npy" else (stream, mel)
        if wrong := [name for name in needed if getattr(self, name) is None]:
            raise ValueError(f"sound as {self.container} needs {', '.join(wrong)}")
        if wrong := [name for name in barred if getattr(self, name) is not None]:
            raise ValueError(f"sound as {self.container} has no {', '.join(wrong)}")
        return self


class FeatureInfo(Frozen):
    """``KEY.feature.npy`` [T, C]: one vector per step of a longer video."""

    num_steps: int = Field(gt=0)
    """T."""
    num_features: int = Field(gt=0)
    """C."""
    seconds_per_step: float | None = Field(default=None, gt=0)
    duration: float | None = Field(default=None, gt=0)
    """Seconds of the video, where it is known."""


class Segment(Frozen):
    """One action in a longer video: ``[start, end)`` in seconds."""

    start: float = Field(ge=0)
    end: float
    label: int = Field(ge=0)
    """Class index."""

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "Segment":
        if not self.start < self.end:
            raise ValueError(f"a segment must end after its start, not [{self.start}, {self.end}]")
        return self


class TimedBox(Frozen):
    """One person or thing at one time."""

    time: float = Field(ge=0)
    """Seconds from the first frame."""
    x1: float
    y1: float
    x2: float
    y2: float
    """Edges over the picture's width and height, in [0, 1]."""
    labels: tuple[int, ...] = ()
    """Class indices; none for a box without an action."""
    person: int | None = None
    """The same number follows one person through time."""
    score: float | None = None
    """Of the detector, for proposals."""

    @model_validator(mode="after")
    def _lies_in_the_picture(self) -> "TimedBox":
        if not (0 <= self.x1 < self.x2 <= 1 and 0 <= self.y1 < self.y2 <= 1):
            raise ValueError(f"a box must lie in [0, 1], not {self.x1}, {self.y1}, {self.x2}, {self.y2}")
        return self


class Moment(Frozen):
    """A sentence about one part of a longer video: ``[start, end)`` in seconds."""

    start: float = Field(ge=0)
    end: float
    text: str = Field(min_length=1)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "Moment":
        if not self.start < self.end:
            raise ValueError(f"a moment must end after its start, not [{self.start}, {self.end}]")
        return self


class Question(Frozen):
    """A question about a sample: an open one, whose answers are words, or one with choices to pick from."""

    id: str | None = None
    """The number or name that the source gives it, by which results are reported."""
    text: str = ""
    """Empty where the question is only which of the choices fits."""
    answers: tuple[str, ...] = ()
    """Right answers as the source words them; one may be there several times, as often as people gave it."""
    labels: tuple[int, ...] = ()
    """Class indices of those answers that are classes, where the classes are a vocabulary of answers."""
    choices: tuple[str, ...] = ()
    right_choice: int | None = Field(default=None, ge=0)
    """Position in ``choices``; None where it is kept secret, or where there are none."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> "Question":
        if not self.text and not self.choices:
            raise ValueError("a question needs text or choices")
        if len(self.choices) == 1:
            raise ValueError("a question with one choice asks nothing; give two choices or more, or none")
        if self.right_choice is not None and self.right_choice >= len(self.choices):
            raise ValueError(f"right_choice {self.right_choice} is not one of {len(self.choices)} choices, from 0")
        return self


MediaInfo = VideoInfo | FramesInfo | SkeletonInfo | AudioInfo | FeatureInfo

KINDS: dict[str, type[Frozen]] = {
    "video": VideoInfo,
    "frames": FramesInfo,
    "skeleton": SkeletonInfo,
    "audio": AudioInfo,
    "feature": FeatureInfo,
}
"""Kind of sample -> type of its media info, which is the record's field of the same name."""

ANNOTATIONS = ("segments", "boxes", "captions", "moments", "questions")
"""Fields that a sample of any kind may have."""


class SampleRecord(Frozen):
    """One packed item: the whole of ``KEY.json``."""

    schema_version: int = SCHEMA_VERSION
    key: str = Field(pattern=r"^[0-9]+$")
    """Zero-padded ordinal, unique over the data set."""
    id: str = Field(min_length=1)
    """The path as the source named it, byte for byte; a name that is not UTF-8 carries surrogate escapes as \\udcXX."""
    split: str = Field(min_length=1)
    kind: Kind = "video"
    labels: tuple[int, ...] = ()
    """Class indices into dataset.json's ``classes``: one for single-label sets, any number for multi-label ones."""
    group: str | None = None
    """Clips of one source share a group; no group is spread over two splits."""
    video: VideoInfo | None = None
    frames: FramesInfo | None = None
    skeleton: SkeletonInfo | None = None
    """Of a sample of kind "video" or "frames": the people in its pictures, frame by frame."""
    audio: AudioInfo | None = None
    feature: FeatureInfo | None = None
    segments: tuple[Segment, ...] = ()
    boxes: tuple[TimedBox, ...] = ()
    captions: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    questions: tuple[Question, ...] = ()

    @model_validator(mode="after")
    def _has_the_info_of_its_kind_and_no_other(self) -> "SampleRecord":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        pictures = self.video if self.kind == "video" else self.frames if self.kind == "frames" else None
        if pictures is not None and self.skeleton is not None:
            given.remove("skeleton")
            if self.skeleton.num_frames != pictures.num_frames:
                raise ValueError(
                    f"skeletons of {self.skeleton.num_frames} frames beside a {self.kind} sample of "
                    f"{pictures.num_frames} frames; there must be one for each"
                )
        if given != [self.kind]:
            raise ValueError(f"a sample of kind {self.kind} needs {self.kind}=..., it has {', '.join(given) or 'none'}")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Other kinds' infos and absent annotations are left out, so that KEY.json stays short."""
        values: dict[str, Any] = handler(self)
        absent = [name for name in (*KINDS, *ANNOTATIONS) if name in values and not values[name]]
        return {name: value for name, value in values.items() if name not in absent}

    @property
    def all_labels(self) -> tuple[int, ...]:
        """Class indices wherever they stand: of the sample, its segments, boxes and questions; with repeats."""
        boxes = (label for box in self.boxes for label in box.labels)
        questions = (label for question in self.questions for label in question.labels)
        return (*self.labels, *(segment.label for segment in self.segments), *boxes, *questions)

    @property
    def media(self) -> MediaInfo:
        """What the sample's media are: the info of its kind."""
        info: MediaInfo = getattr(self, self.kind)
        return info


class Location(Frozen):
    """Where a sample's bytes lie: ``[offset, offset + length)`` of the shard, tar headers and padding included."""

    shard: str = Field(pattern=r"^[^/\\]+$")
    """File name below the data set's root; never a path that could lead out of it."""
    offset: int = Field(ge=0)
    length: int = Field(gt=0)
    data_offset: int = Field(ge=0)
    """First byte of the first media member's content in the shard."""
    data_length: int = Field(gt=0)
    """Bytes of the first media member."""
