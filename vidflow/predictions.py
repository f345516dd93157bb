"""What models predict, in the form that metrics and people read."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ClassPredictions:
    """Scores of B samples."""

    scores: Tensor
    """float32 [B, K], averaged over views; probabilities that sum to 1, or each in [0, 1] for multi-label models."""
