"""How samples become clips: frame sampling, cropping, colour, normalisation. One section per split in a config.

Every choice here only decides the *plan* of a sample (``vidflow.pipelines.plan``); executors carry plans out.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vidflow.schema import Frozen


class SegmentSampling(Frozen):
    """TSN: one frame from each of N equal parts of the video. arXiv:1608.00859, section 3.1."""

    kind: Literal["segments"] = "segments"
    num_segments: int = Field(default=8, gt=0)
    """Frames per clip, T."""
    random: bool = False
    """A random frame of each part (training) instead of its centre."""
    twice: bool = False
    """Test with a second clip, at the starts of the parts (TSM's "2 clips"). Gives 2 clips per sample."""


class ClipSampling(Frozen):
    """Clips of ``length`` frames, ``interval`` source frames apart, spread evenly (test) or at random (training)."""

    kind: Literal["clips"] = "clips"
    length: int = Field(gt=0)
    """Frames per clip, T."""
    interval: int = Field(default=1, gt=0)
    """Source frames from one frame of the clip to the next."""
    num_clips: int = Field(default=1, gt=0)
    random: bool = False
    twice: bool = False
    out_of_bound: Literal["loop", "repeat_last"] = "loop"
    """What follows the last frame of a video that is shorter than the clip."""


class DenseSampling(Frozen):
    """Frames at equal distances inside one window; tests average windows at several starts (TSM's dense sampling)."""

    kind: Literal["dense"] = "dense"
    num_segments: int = Field(default=8, gt=0)
    """Frames per clip, T."""
    window: int = Field(default=64, gt=0)
    """Source frames that the window spans."""
    num_starts: int = Field(default=10, gt=0)
    """Clips in tests; training draws one window."""
    random: bool = False

    @model_validator(mode="after")
    def _window_holds_the_segments(self) -> "DenseSampling":
        if self.window < self.num_segments:
            raise ValueError(f"window ({self.window}) must be at least num_segments ({self.num_segments})")
        return self


Sampling = Annotated[SegmentSampling | ClipSampling | DenseSampling, Field(discriminator="kind")]


class RandomResizedCrop(Frozen):
    """A box of random area and aspect ratio. arXiv:1409.4842, section 6."""

    kind: Literal["random_resized"] = "random_resized"
    area: tuple[float, float] = (0.08, 1.0)
    """Range of the box's part of the (resized) frame's area."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of width / height."""

    @field_validator("area", "aspect")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError(f"must be a range 0 < low <= high, not {list(value)}")
        return value


class MultiScaleCrop(Frozen):
    """A box with sides from a few scales of the short side, at fixed positions. arXiv:1507.02159, section 3."""

    kind: Literal["multi_scale"] = "multi_scale"
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    max_gap: int = Field(default=1, ge=0)
    """How many places of ``scales`` the width's and the height's may lie apart."""
    positions: Literal[5, 13, "random"] = 5
    """Number of fixed positions, or anywhere."""


class RandomCrop(Frozen):
    """A box of the output's size, anywhere in the (resized) frame."""

    kind: Literal["random"] = "random"


class CenterCrop(Frozen):
    """One box of the output's size in the middle."""

    kind: Literal["center"] = "center"


class ThreeCrop(Frozen):
    """Three square boxes along the long side: first, last, middle. Three views per clip."""

    kind: Literal["three"] = "three"


class TenCrop(Frozen):
    """Four corners and the centre, each with its mirror image. Ten views per clip."""

    kind: Literal["ten"] = "ten"


class FullFrame(Frozen):
    """The whole frame, stretched to the output's size."""

    kind: Literal["full"] = "full"


Crop = Annotated[
    RandomResizedCrop | MultiScaleCrop | RandomCrop | CenterCrop | ThreeCrop | TenCrop | FullFrame,
    Field(discriminator="kind"),
]


class ColorJitter(Frozen):
    """Random brightness, contrast, saturation (factors in [max(0, 1 - x), 1 + x]) and hue (degrees in [-x, x])."""

    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    saturation: float = Field(default=0.0, ge=0)
    hue: float = Field(default=0.0, ge=0, le=180)
    probability: float = Field(default=1.0, ge=0, le=1)


class Normalize(Frozen):
    """(pixel - mean) / std per RGB channel, of pixels in [0, 255]."""

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


class ClipPipeline(Frozen):
    """From an encoded video to normalised views [V, C, T, H, W]."""

    sampling: Sampling = SegmentSampling()
    short_side: int | None = Field(default=256, gt=0)
    """Short side in pixels to which the frame counts as resized before it is cropped; None crops the frame as it is.
    Only geometry: pixels are resampled once, from the source to the output."""
    crop: Crop = CenterCrop()
    size: tuple[int, int] = (224, 224)
    """Output height and width in pixels."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of mirroring left to right."""
    flip_labels: dict[int, int] = {}
    """Labels that change when mirrored, such as {"86" = 87, "87" = 86} for "left" and "right"."""
    color_jitter: ColorJitter | None = None
    normalize: Normalize = Normalize()

    @field_validator("size", mode="before")
    @classmethod
    def _one_number_is_a_square(cls, value: object) -> object:
        return (value, value) if isinstance(value, int) else value

    @field_validator("size")
    @classmethod
    def _size_is_positive(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) <= 0:
            raise ValueError(f"must be positive, not {list(value)}")
        return value
