"""Classification of one feature vector per clip, or of the mean over a feature map."""

import torch
from torch import Tensor, nn


class FeatureHead(nn.Module):
    """Features [N, D] or [N, D, ...] -> class scores [N, K]: mean over all further axes, dropout, linear layer.

    Args:
        init_std: standard deviation of the normal distribution from which the linear layer's weights are drawn.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float, init_std: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.fc.weight, std=init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[N, D, ...] -> [N, K], in float32 at least."""
        x = features.flatten(2).mean(dim=2) if features.ndim > 2 else features
        x = self.fc(self.dropout(x))
        return x.to(torch.promote_types(x.dtype, torch.float32))
