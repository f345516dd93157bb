"""How sound becomes a model's input: the pipeline table with ``kind = "audio"``.

Samples of kind "audio" are read, and the sound of samples of kind "video". The result is ``inputs["mel"]``, log-mel
features by the formula of ``vidflow.media.mel``, and ``inputs["mel_padding"]``, which frames of it hold no sound.

Shapes: V views, T frames of features, F bands.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vidflow.config.base_pipeline import BasePipeline
from vidflow.config.sampling import (
    BinSampling,
    ClipSampling,
    DenseSampling,
    KeyTimeSampling,
    SegmentSampling,
    UniformSampling,
)
from vidflow.media.mel import FFT_SIZE, HIGHEST_HZ, HOP_SIZE, LOWEST_HZ, NUM_MELS, SAMPLE_RATE
from vidflow.schema import Frozen

FrameSampling = Annotated[
    ClipSampling | SegmentSampling | DenseSampling | UniformSampling | BinSampling | KeyTimeSampling,
    Field(discriminator="kind"),
]


class MelSettings(Frozen):
    """The features of a sound stream; packed mel features were made with settings of their own."""

    sample_rate: int = Field(default=SAMPLE_RATE, ge=1000, le=384_000)
    """Samples per second that streams are resampled to."""
    fft_size: int = Field(default=FFT_SIZE, ge=64)
    """Samples per window."""
    hop_size: int = Field(default=HOP_SIZE, gt=0)
    """Samples from frame to frame."""
    num_mels: int = Field(default=NUM_MELS, gt=0)
    """F."""
    lowest_hz: float = Field(default=LOWEST_HZ, ge=0)
    highest_hz: float = Field(default=HIGHEST_HZ, gt=0)

    @model_validator(mode="after")
    def _fits_together(self) -> "MelSettings":
        if self.fft_size % 2 or self.hop_size > self.fft_size // 2:
            raise ValueError(f"fft_size ({self.fft_size}) must be even, and hop_size ({self.hop_size}) at most half")
        if not self.lowest_hz < self.highest_hz <= self.sample_rate / 2:
            raise ValueError(
                f"needs lowest_hz ({self.lowest_hz:g}) < highest_hz ({self.highest_hz:g}) <= half of sample_rate "
                f"({self.sample_rate})"
            )
        return self

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop_size


class WindowSampling(Frozen):
    """Views of the sound by itself: spread evenly over it, or at random places; one shorter than a view lies in its
    middle, or at a random place in it."""

    kind: Literal["windows"] = "windows"
    num_views: int = Field(default=1, gt=0)
    random: bool = False


class AlignedSampling(Frozen):
    """Views of the sound that goes with clips of frames, from the start of a clip's first frame to the end of its last.

    A clip pipeline with the same sampling draws the same frames. What is longer than a view is cut off at its end.
    """

    kind: Literal["frames"] = "frames"
    frames: FrameSampling
    fps: float = Field(default=30.0, gt=0)
    """Frames per second of the pictures that samples of kind "audio" came with; videos have their own time stamps."""


class SpecAugment(Frozen):
    """Stretches of time and of frequency that are blotted out in training. arXiv:1904.08779, section 2.

    Without warping in time. Blotted cells hold ``mean``, which is 0 after normalisation.
    """

    num_time_masks: int = Field(default=2, ge=0)
    time_width: int = Field(default=40, gt=0)
    """Frames, at most (the paper's T)."""
    time_part: float = Field(default=1.0, gt=0, le=1)
    """Part of the view's sound that one mask may cover (the paper's p)."""
    num_frequency_masks: int = Field(default=2, ge=0)
    frequency_width: int = Field(default=27, gt=0)
    """Bands, at most (the paper's F)."""


class AudioPipeline(BasePipeline):
    """From sound to log-mel features [V, 1, T, F]."""

    kind: Literal["audio"] = "audio"
    mel: MelSettings = MelSettings()
    length: int = Field(default=128, gt=0)
    """Frames of features per view, T; where there is less sound, the rest holds silence and counts as padding."""
    sampling: Annotated[WindowSampling | AlignedSampling, Field(discriminator="kind")] = WindowSampling()
    gain_db: float = Field(default=0.0, ge=0, le=60)
    """Loudness is changed at random by up to this much up or down. Streams are brought to one loudness before."""
    masking: SpecAugment | None = None
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
    """Features, which lie in [0, 1], are normalised as (feature - mean) / std."""

    @model_validator(mode="after")
    def _has_nothing_for_pictures(self) -> "AudioPipeline":
        if self.flip_labels:
            raise ValueError("flip_labels: sound is never mirrored")
        return self
