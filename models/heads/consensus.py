"""Classification by the average over frames.

Source: the average consensus of "Temporal Segment Networks" (arXiv:1608.00859), section 3.1. TSN averages the frames'
features and TSM (arXiv:1811.08383) the frames' scores; both are the same function in evaluation, and differ by
dropout in training.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class ConsensusHead(nn.Module):
    """Frame features [N*T, D, h, w] -> class scores of clips [N, K].

    Args:
        average: "features" averages over frames before dropout and the linear layer, "scores" after them.
        init_std: standard deviation of the normal distribution from which the linear layer's weights are drawn.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        average: Literal["features", "scores"],
        dropout: float,
        init_std: float,
    ) -> None:
        super().__init__()
        self.average = average
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.fc.weight, std=init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor, num_frames: int) -> Tensor:
        """[N*T, D, h, w] -> [N, K], in float32 at least."""
        x = features.mean(dim=(2, 3))
        if self.average == "features":
            x = x.unflatten(0, (-1, num_frames)).mean(dim=1)  # [N*T, D] -> [N, D]
        x = self.fc(self.dropout(x))
        # Scores of half precision are averaged and compared in single.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x if self.average == "features" else x.unflatten(0, (-1, num_frames)).mean(dim=1)  # [N*T, K] -> [N, K]
