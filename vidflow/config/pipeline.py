"""How samples become clips: frame sampling, cropping, colour, normalisation. One section per split in a config.

Every choice here only decides the *plan* of a sample (``vidflow.pipelines.plan``); executors carry plans out.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vidflow.config.augmentation import AugMix, ColorJitter, GaussianBlur, RandAugment, RandomErasing
from vidflow.config.base_pipeline import BasePipeline
from vidflow.config.fields import Size
from vidflow.config.sampling import ClipSampling, DenseSampling, Sampling, SegmentSampling
from vidflow.schema import Frozen

__all__ = [
    "CenterCrop",
    "ClipPipeline",
    "ClipSampling",
    "ColorJitter",
    "Crop",
    "DenseSampling",
    "FullFrame",
    "MultiScaleCrop",
    "Normalize",
    "RandomCrop",
    "RandomResizedCrop",
    "Sampling",
    "SegmentSampling",
    "TenCrop",
    "ThreeCrop",
]


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


class Normalize(Frozen):
    """(pixel - mean) / std per channel, of pixels in [0, 255]: red, green, blue, or a flow's x and y."""

    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    @model_validator(mode="after")
    def _fits_together(self) -> "Normalize":
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values, std {len(self.std)}")
        if min(self.std, default=1) <= 0:
            raise ValueError(f"std must be positive, not {list(self.std)}")
        return self


FLOW_NORMALIZE = Normalize(mean=(128.0, 128.0), std=(128.0, 128.0))
"""Of flow, where a pipeline names none: no motion is about 0, the largest about 1 (TSN's flow configs in MMAction2)."""


class ClipPipeline(BasePipeline):
    """From encoded frames to normalised views [V, C, T, H, W]."""

    kind: Literal["clip"] = "clip"
    modality: Literal["rgb", "flow"] = "rgb"
    """What the views show; flow needs samples of kind "frames" that have flow pictures."""
    flow_length: int = Field(default=1, gt=0)
    """Steps of flow behind each of the T frames, L; they are stacked to 2 L channels x1 y1 x2 y2 ..."""
    sampling: Sampling = SegmentSampling()
    short_side: int | tuple[int, int] | None = 256
    """Short side in pixels to which the frame counts as resized before it is cropped; two numbers draw it from a range
    (scale jitter), both ends included; None crops the frame as it is.
    Only geometry: pixels are resampled once, from the source to the output."""
    crop: Crop = CenterCrop()
    size: Size = (224, 224)
    """Output height and width in pixels."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of mirroring left to right."""
    color_jitter: ColorJitter | None = None
    grayscale: float = Field(default=0.0, ge=0, le=1)
    """Probability of a clip without colours."""
    blur: GaussianBlur | None = None
    erasing: RandomErasing | None = None
    rand_augment: RandAugment | None = None
    aug_mix: AugMix | None = None
    normalize: Normalize = Normalize()

    @model_validator(mode="before")
    @classmethod
    def _flow_has_its_own_normalisation(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("modality") == "flow" and "normalize" not in values:
            return values | {"normalize": FLOW_NORMALIZE}
        return values

    @field_validator("size")
    @classmethod
    def _size_is_positive(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) <= 0:
            raise ValueError(f"must be positive, not {list(value)}")
        return value

    @field_validator("short_side")
    @classmethod
    def _short_side_is_positive(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        low, high = value if isinstance(value, tuple) else (value or 1, value or 1)
        if not 0 < low <= high or value == 0:
            shown = list(value) if isinstance(value, tuple) else value
            raise ValueError(f"must be positive, or a range 0 < low <= high, not {shown}")
        return value

    @model_validator(mode="after")
    def _steps_fit_the_modality(self) -> "ClipPipeline":
        channels = 2 if self.modality == "flow" else 3
        if len(self.normalize.mean) != channels:
            raise ValueError(f"normalize: {self.modality} needs {channels} values, not {len(self.normalize.mean)}")
        if self.rand_augment is not None and self.aug_mix is not None:
            raise ValueError("give rand_augment or aug_mix, not both")
        if self.modality == "rgb":
            if self.flow_length != 1:
                raise ValueError(f"flow_length = {self.flow_length} is for modality = 'flow'")
            return self
        colours = ("color_jitter", "grayscale", "blur", "erasing", "rand_augment", "aug_mix")
        if wrong := [name for name in colours if getattr(self, name)]:
            raise ValueError(f"{', '.join(wrong)}: not for modality = 'flow', whose values are no colours")
        return self
