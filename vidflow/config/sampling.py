"""Which frames make the clips of a sample: the ``sampling`` table of a clip pipeline.

Shapes: C clips of T frames.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vidflow.schema import Frozen

OutOfBound = Literal["loop", "repeat_last", "error"]
"""What follows the last frame of a video that is shorter than the clip: its first frame again, the clip's last frame
over and over, or an error that names the sample."""


class _Sampling(Frozen):
    """What all samplings share."""

    target_fps: float | None = Field(default=None, gt=0)
    """Count in frames of a video of this rate instead of the sample's own: at each of its ticks it shows the source
    frame that is on screen then, by time stamps. None counts source frames."""


class SegmentSampling(_Sampling):
    """TSN: one frame from each of N equal parts of the video. arXiv:1608.00859, section 3.1."""

    kind: Literal["segments"] = "segments"
    num_segments: int = Field(default=8, gt=0)
    """Frames per clip, T."""
    random: bool = False
    """A random frame of each part (training) instead of its centre."""
    twice: bool = False
    """Test with a second clip, at the starts of the parts (TSM's "2 clips"). Gives 2 clips per sample."""


class ClipSampling(_Sampling):
    """Clips of ``length`` frames, ``interval`` source frames apart, spread evenly (test) or at random (training)."""

    kind: Literal["clips"] = "clips"
    length: int = Field(gt=0)
    """Frames per clip, T."""
    interval: int = Field(default=1, gt=0)
    """Source frames from one frame of the clip to the next."""
    num_clips: int = Field(default=1, gt=0)
    random: bool = False
    twice: bool = False
    out_of_bound: OutOfBound = "loop"


class DenseSampling(_Sampling):
    """Frames at equal distances inside one window; tests average windows at several starts (TSM's dense sampling)."""

    kind: Literal["dense"] = "dense"
    num_segments: int = Field(default=8, gt=0)
    """Frames per clip, T."""
    window: int = Field(default=64, gt=0)
    """Source frames that the window spans."""
    num_starts: int = Field(default=10, gt=0)
    """Clips in tests; training draws one window."""
    random: bool = False
    out_of_bound: OutOfBound = "loop"

    @model_validator(mode="after")
    def _window_holds_the_segments(self) -> "DenseSampling":
        if self.window < self.num_segments:
            raise ValueError(f"window ({self.window}) must be at least num_segments ({self.num_segments})")
        return self


class UniformSampling(_Sampling):
    """One frame of each of T equal spans from the first frame to the last, both ends included (Something-Something)."""

    kind: Literal["uniform"] = "uniform"
    length: int = Field(gt=0)
    """Frames per clip, T."""
    num_clips: int = Field(default=1, gt=0)
    """Clips in tests, each a little later in its spans; training draws one."""
    random: bool = False

    @model_validator(mode="after")
    def _training_draws_one_clip(self) -> "UniformSampling":
        if self.random and self.num_clips > 1:
            raise ValueError(f"num_clips ({self.num_clips}) must be 1 with random = true")
        return self


class BinSampling(_Sampling):
    """One random frame of each of T bins of whole frames, in tests too (PoseC3D, arXiv:2104.13586)."""

    kind: Literal["bins"] = "bins"
    length: int = Field(gt=0)
    """Frames per clip, T."""
    num_clips: int = Field(default=1, gt=0)
    random: bool = False
    test_seed: int = Field(default=255, ge=0)
    """Tests draw the same frames for every video of one length, from this seed."""


class UntrimmedSampling(_Sampling):
    """Clips at a fixed distance over the whole of a long video, as many as it has room for: batches hold one sample.

    Frames before the video's first or after its last are that frame again.
    """

    kind: Literal["untrimmed"] = "untrimmed"
    length: int = Field(default=1, gt=0)
    """Frames per clip, T."""
    interval: int = Field(default=1, gt=0)
    """Source frames from one frame of a clip to the next."""
    clip_interval: int = Field(default=16, gt=0)
    """Source frames from one clip's centre to the next."""
    random: Literal[False] = False


class KeyTimeSampling(_Sampling):
    """A clip around a key time of the sample, where its boxes are annotated (AVA, arXiv:1705.08421).

    A sample with several key times gives one of them: any in training, the middle one in tests. Frames before the
    video's first or after its last are that frame again.
    """

    kind: Literal["key_time"] = "key_time"
    length: int = Field(gt=0)
    """Frames per clip, T; frame T // 2 shows the key time."""
    interval: int = Field(default=1, gt=0)
    """Source frames from one frame of the clip to the next."""
    random: bool = False
    """Each frame is shifted by up to half an interval."""


Sampling = Annotated[
    SegmentSampling
    | ClipSampling
    | DenseSampling
    | UniformSampling
    | BinSampling
    | UntrimmedSampling
    | KeyTimeSampling,
    Field(discriminator="kind"),
]
