"""Convolutions over the frames of skeletons, each keypoint by itself.

Sources: one kernel as in ST-GCN (arXiv:1801.07455); several dilations at once as in MS-G3D (arXiv:2003.14111, section
3.4), in the two forms of ST-GCN++ (arXiv:2205.09443) and CTR-GCN (arXiv:2107.12213, section 3.4); details as in
MMAction2 1.2.0 (mmaction/models/utils/gcn_utils.py and projects/ctrgcn).

Shapes: N skeletons, C channels, T frames, K keypoints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidflow.models.layers.conv_norm import init_convs


class TemporalConv(nn.Module):
    """[N, C, T, K] -> [N, C', ceil(T / stride), K]: a convolution that keeps the rate up to ``stride``, and BatchNorm.

    Args:
        norm: False leaves BatchNorm out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 9,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
        self.bn = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        init_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, K] -> [N, C', ceil(T / stride), K]."""
        return self.drop(self.bn(self.conv(x)))


def _branches(
    in_channels: int, widths: Sequence[int], *, kernel: int, stride: int, dilations: Sequence[int], norm: bool
) -> nn.ModuleList:
    """One branch per dilation, one that takes the maximum of 3 frames, and one of single frames.

    Args:
        widths: channels of each branch.
        norm: BatchNorm at each branch's end.
    """

    def norms(width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width)] if norm else []

    def reduced(width: int) -> list[nn.Module]:
        return [nn.Conv2d(in_channels, width, 1), nn.BatchNorm2d(width), nn.ReLU()]

    *dilated, pooled, single = widths
    branches = [
        [*reduced(width), TemporalConv(width, width, kernel, stride=stride, dilation=dilation, norm=norm)]
        for width, dilation in zip(dilated, dilations, strict=True)
    ]
    branches.append([*reduced(pooled), nn.MaxPool2d((3, 1), (stride, 1), (1, 0)), *norms(pooled)])
    branches.append([nn.Conv2d(in_channels, single, 1, (stride, 1)), *norms(single)])
    return nn.ModuleList(nn.Sequential(*branch) if len(branch) > 1 else branch[0] for branch in branches)


class MixedTemporalConv(nn.Module):
    """ST-GCN++'s: six branches side by side, then BatchNorm, ReLU, a linear layer of each frame, and BatchNorm.

    [N, C, T, K] -> [N, C', ceil(T / stride), K]
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        narrow = out_channels // 6
        widths = (out_channels - 5 * narrow, *[narrow] * 5)
        self.branches = _branches(in_channels, widths, kernel=3, stride=stride, dilations=(1, 2, 3, 4), norm=False)
        self.transform = nn.Sequential(
            nn.BatchNorm2d(out_channels), nn.ReLU(), nn.Conv2d(out_channels, out_channels, 1)
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, K] -> [N, C', ceil(T / stride), K]."""
        joined = torch.cat([branch(x) for branch in self.branches], dim=1)
        return self.drop(self.bn(self.transform(joined)))


class MultiScaleTemporalConv(nn.Module):
    """CTR-GCN's and MS-G3D's: branches side by side with BatchNorm, the input added on request, and ReLU.

    [N, C, T, K] -> [N, C', ceil(T / stride), K]

    Args:
        skip: add the input, through a linear layer of each frame where its shape is another.
        activation: False leaves the last ReLU out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        dilations: Sequence[int] = (1, 2, 3, 4),
        skip: bool = True,
        activation: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        narrow = out_channels // (len(dilations) + 2)
        widths = (*[narrow] * (len(dilations) + 1), out_channels - narrow * (len(dilations) + 1))
        self.branches = _branches(in_channels, widths, kernel=kernel, stride=stride, dilations=dilations, norm=True)
        self.residual = residual(in_channels, out_channels, stride) if skip else None
        self.activation = nn.ReLU() if activation else nn.Identity()
        self.drop = nn.Dropout(dropout)
        init_convs(self)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, K] -> [N, C', ceil(T / stride), K]."""
        out = torch.cat([branch(x) for branch in self.branches], dim=1)
        if self.residual is not None:
            out = out + self.residual(x)
        return self.drop(self.activation(out))


def residual(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What is added to a block's output: its input, or a linear layer of each kept frame where the shape changes."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return TemporalConv(in_channels, out_channels, 1, stride=stride)
