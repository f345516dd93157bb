"""What may happen to the pixels of a training clip beside cropping and mirroring. All of it is drawn into the plan."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from vidflow.schema import Frozen


def _ordered(value: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    if not low < value[0] <= value[1] <= high:
        raise ValueError(f"must be a range {low:g} < low <= high <= {high:g}, not {list(value)}")
    return value


class ColorJitter(Frozen):
    """Random brightness, contrast, saturation (factors in [max(0, 1 - x), 1 + x]) and hue (degrees in [-x, x])."""

    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    saturation: float = Field(default=0.0, ge=0)
    hue: float = Field(default=0.0, ge=0, le=180)
    probability: float = Field(default=1.0, ge=0, le=1)
    order: Literal["contrast_first", "random"] = "contrast_first"
    """``random`` tosses a coin whether contrast or brightness comes first. That is all that the order of the four
    changes: contrast turns around middle grey, which saturation and hue leave alone."""


class GaussianBlur(Frozen):
    """Blur of all frames of a clip with one sigma, in pixels of the output."""

    sigma: tuple[float, float] = (0.1, 2.0)
    probability: float = Field(default=0.5, ge=0, le=1)

    @field_validator("sigma")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ordered(value, 0, 20)


class RandomErasing(Frozen):
    """Boxes of the output that are painted over, the same in all frames of a clip. arXiv:1708.04896."""

    probability: float = Field(default=0.25, ge=0, le=1)
    area: tuple[float, float] = (0.02, 1 / 3)
    """Range of a box's part of the output's area; with several boxes, of all together."""
    aspect: tuple[float, float] = (0.3, 10 / 3)
    """Range of height / width, log-uniform."""
    mode: Literal["const", "rand", "pixel"] = "rand"
    """Paint with the mean colour of ``normalize``, one random colour per box, or a random colour per pixel (what
    MMAction2 calls "rand")."""
    max_count: int = Field(default=1, gt=0)
    """Boxes, from 1 to this many."""

    @field_validator("area")
    @classmethod
    def _is_a_part(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ordered(value, 0, 1)

    @field_validator("aspect")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ordered(value, 0, float("inf"))


class RandAugment(Frozen):
    """Some random operations of a fixed list, all at about one strength. arXiv:1909.13719."""

    num_ops: int = Field(default=2, gt=0)
    """Operations drawn per clip."""
    magnitude: float = Field(default=9.0, ge=0, le=10)
    """Strength, 10 is the largest."""
    magnitude_std: float = Field(default=0.5, ge=0)
    """Spread of the strength around ``magnitude``."""
    probability: float = Field(default=0.5, ge=0, le=1)
    """Of each drawn operation to be carried out."""
    ranges: Literal["pytorchvideo", "timm"] = "pytorchvideo"
    """Whose list of operations and strengths; see docs/augmentation.md."""


class AugMix(Frozen):
    """A weighted mean of the clip and some chains of random operations on it. arXiv:1912.02781."""

    width: int = Field(default=3, gt=0, le=8)
    """Chains."""
    depth: int | None = Field(default=None, gt=0, le=8)
    """Operations per chain; None draws one to three for each."""
    magnitude: float = Field(default=3.0, ge=0, le=10)
    magnitude_std: float = Field(default=0.5, ge=0)
    alpha: float = Field(default=1.0, gt=0)
    """Of the Dirichlet distribution of the chains' weights, and the beta distribution of the whole mixture's."""


class BatchMixing(Frozen):
    """Mixup (arXiv:1710.09412) or cutmix (arXiv:1905.04899) of a finished batch, on the device, with soft labels."""

    mixup: float | None = Field(default=None, gt=0)
    """Alpha of mixup's beta distribution; None leaves it out."""
    cutmix: float | None = Field(default=None, gt=0)
    """Alpha of cutmix's beta distribution; None leaves it out."""
    probability: float = Field(default=1.0, ge=0, le=1)
    """Of a batch to be mixed at all."""
    cutmix_share: float = Field(default=0.5, ge=0, le=1)
    """Where both are wanted: the part of the mixed batches that get cutmix."""

    @model_validator(mode="after")
    def _mixes_somehow(self) -> "BatchMixing":
        if self.mixup is None and self.cutmix is None:
            raise ValueError("give mixup, cutmix or both, such as mixup = 0.8")
        return self
