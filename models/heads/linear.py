"""Classification of pooled features by one linear layer."""

import torch
from torch import Tensor, nn


class LinearHead(nn.Module):
    """Features of clips [N, D] -> class scores [N, K], through dropout and a linear layer.

    Args:
        init_std: standard deviation of the truncated normal distribution from which the weights are drawn.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.0, init_std: float = 0.02) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)
        nn.init.trunc_normal_(self.fc.weight, std=init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[N, D] -> [N, K], in float32 at least."""
        scores = self.fc(self.dropout(features))
        # Scores of half precision are averaged and compared in single.
        return scores.to(torch.promote_types(scores.dtype, torch.float32))
