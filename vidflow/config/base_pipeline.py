"""What pipelines of all kinds have in common."""

from pydantic import Field

from vidflow.config.augmentation import BatchMixing
from vidflow.schema import Frozen


class BasePipeline(Frozen):
    """From packed samples to a model's inputs; a subclass per kind, told apart by ``kind``."""

    repeats: int = Field(default=1, gt=0)
    """Plans per sample and epoch, as neighbouring rows of the batch from one decode (repeated augmentation,
    arXiv:1901.09335)."""
    flip_labels: dict[int, int] = {}
    """Labels that change when mirrored, such as {"86" = 87, "87" = 86} for "left" and "right"."""
    mixing: BatchMixing | None = None
    """Mixing of whole training batches, on the device."""
