"""TPN: a pyramid over time, built from the last two stages of a backbone.

Source: "Temporal Pyramid Network for Action Recognition" (arXiv:2004.03548), section 3, with the cascade flow of figure
4 and the settings of MMAction2 (configs/_base_/models/tpn_slowonly_r50.py): grouped convolutions in the temporal
modulation and the fusion, no scaling between levels, whose sizes are equal after the spatial modulation.

Shapes: N clips, C channels, T frames, h x w cells of the feature map.
"""

import torch
from torch import Tensor, nn

from vidflow.models.layers.conv3d import Conv3d

GROUPS = 32


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: tuple[int, int] = (1, 1), stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution of (frames, pixels) without bias, padded to keep the size, BatchNorm and ReLU."""
    frames, pixels = kernel
    padding = (frames // 2, pixels // 2, pixels // 2)
    conv = Conv3d(
        in_channels, out_channels, (frames, pixels, pixels), (1, stride, stride), padding, groups=groups, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True))


def temporal_modulation(in_channels: int, out_channels: int, frames: int) -> nn.Sequential:
    """[N, C, T, h, w] -> [N, C', T / frames, h, w], rounded up."""
    conv = Conv3d(in_channels, out_channels, (3, 1, 1), padding=(1, 0, 0), groups=GROUPS, bias=False)
    return nn.Sequential(conv, nn.MaxPool3d((frames, 1, 1), ceil_mode=True))


class LevelFusion(nn.Module):
    """All levels side by side, each through a grouped convolution, then joined by a full one."""

    def __init__(self, channels: int, num_levels: int, out_channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(conv_norm_relu(channels, channels, groups=GROUPS) for _ in range(num_levels))
        self.fusion = conv_norm_relu(channels * num_levels, out_channels)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Each [N, C, T, h, w] -> [N, C', T, h, w]."""
        parts = [conv(level) for conv, level in zip(self.levels, levels, strict=True)]
        return self.fusion(torch.cat(parts, dim=1))


class TPN(nn.Module):
    """Feature maps of the last two stages -> one of the size of the last, [N, ``out_channels``, T', h, w].

    Args:
        channels: of the last stage but one; the last has twice as many.
        width: channels of the pyramid's levels.
        frames: that the temporal modulation joins to one.
    """

    def __init__(self, channels: int, *, width: int, frames: int = 8) -> None:
        super().__init__()
        self.out_channels = 2 * channels
        self.spatial = conv_norm_relu(channels, 2 * channels, (1, 3), stride=2)
        self.temporal = nn.ModuleList(temporal_modulation(2 * channels, width, frames) for _ in range(2))
        self.downward = LevelFusion(width, 2, 2 * channels)
        self.up = Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.upward = LevelFusion(width, 2, 2 * channels)
        self.fusion = conv_norm_relu(4 * channels, 2 * channels)
        init_tpn(self)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """``low`` [N, C, T, 2h, 2w] and ``high`` [N, 2C, T, h, w] -> [N, ``out_channels``, T / frames, h, w]."""
        low, high = self.temporal[0](self.spatial(low)), self.temporal[1](high)
        low = low + high
        downward = self.downward([low, high])
        high = high + self.up(low)
        return self.fusion(torch.cat([downward, self.upward([low, high])], dim=1))


class AuxiliaryHead(nn.Module):
    """Class scores from the last stage but one, for a loss of its own in training: [N, C, T, h, w] -> [N, K]."""

    def __init__(self, channels: int, num_classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv = conv_norm_relu(channels, 2 * channels, (1, 3), stride=2)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * channels, num_classes)
        init_tpn(self)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, T, h, w] -> [N, K]."""
        return self.fc(self.dropout(self.conv(features).mean(dim=(2, 3, 4))))


def init_tpn(model: nn.Module) -> None:
    """Draw the convolutions from the uniform distribution of "Understanding the difficulty of training deep feedforward
    neural networks", eq. 16."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)
