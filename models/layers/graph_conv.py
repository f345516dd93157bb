"""Convolutions over the keypoints of a skeleton.

Sources: ``GraphConv`` is ST-GCN's (arXiv:1801.07455, "Implementing ST-GCN") and ST-GCN++'s (arXiv:2205.09443),
``AdaptiveGraphConv`` 2s-AGCN's (arXiv:1805.07694, section 4.1), ``ChannelGraphConv`` CTR-GCN's (arXiv:2107.12213,
section 3.2); details and first weights as in MMAction2 1.2.0 (mmaction/models/utils/gcn_utils.py, projects/ctrgcn).

Shapes: N skeletons, C channels, T frames, K keypoints, S subsets of the adjacency; see
``vidflow.models.layers.graph_adjacency``.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from vidflow.models.layers.conv_norm import init_convs

# BatchNorm's first scale before a sum, so that the unit starts as the identity.
_NEARLY_OFF = 1e-6


def _down(in_channels: int, out_channels: int) -> nn.Module:
    """The unit's input in the shape of its output."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


class GraphConv(nn.Module):
    """[N, C, T, K] -> [N, C', T, K]: a linear layer per subset, the sum over neighbours, BatchNorm, ReLU.

    Args:
        adjacency: [S, K, K].
        learned: "importance" learns a factor per edge, "whole" all the entries of the adjacency.
        skip: add the input before the ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        adjacency: Tensor,
        *,
        learned: Literal["importance", "whole"] = "importance",
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.num_subsets = adjacency.shape[0]
        self.adjacency: Tensor
        if learned == "whole":
            self.adjacency = nn.Parameter(adjacency.clone())
            self.importance = None
        else:
            self.register_buffer("adjacency", adjacency, persistent=False)
            self.importance = nn.Parameter(torch.ones_like(adjacency))
        self.conv = nn.Conv2d(in_channels, out_channels * self.num_subsets, 1)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = _down(in_channels, out_channels) if skip else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, K] -> [N, C', T, K]."""
        adjacency = self.adjacency if self.importance is None else self.adjacency * self.importance
        values = self.conv(x).unflatten(1, (self.num_subsets, -1))  # [N, S*C', T, K] -> [N, S, C', T, K]
        out = self.bn(torch.einsum("nsctk,skj->nctj", values, adjacency))
        return self.relu(out if self.down is None else out + self.down(x))


class AdaptiveGraphConv(nn.Module):
    """[N, C, T, K] -> [N, C', T, K]: the learned adjacency and one of the sample's own similarities, added.

    Args:
        adjacency: [S, K, K], from which learning starts.
        reduction: C' through the number of channels in which keypoints are compared.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor, *, reduction: int = 4) -> None:
        super().__init__()
        num_subsets = adjacency.shape[0]
        self.adjacency = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))

        def convs(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(in_channels, channels, 1) for _ in range(num_subsets))

        self.conv_a, self.conv_b = convs(out_channels // reduction), convs(out_channels // reduction)
        self.conv_d = convs(out_channels)
        self.down = _down(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        init_convs(self)
        for conv in self.conv_d.children():
            assert isinstance(conv, nn.Conv2d)
            # S branches are summed.
            nn.init.normal_(conv.weight, std=(2 / (out_channels * in_channels * num_subsets)) ** 0.5)
        nn.init.constant_(self.bn.weight, _NEARLY_OFF)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, K] -> [N, C', T, K]."""
        flat = x.flatten(1, 2)  # [N, C*T, K]
        out: Tensor | int = 0
        for subset, (conv_a, conv_b, conv_d) in enumerate(zip(self.conv_a, self.conv_b, self.conv_d, strict=True)):
            first, second = conv_a(x).flatten(1, 2), conv_b(x).flatten(1, 2)  # [N, C*T, K] of fewer channels
            similar = torch.tanh(first.transpose(1, 2) @ second / first.shape[1])  # [N, K, K]
            mixed = flat @ (self.adjacency[subset] + similar * self.alpha)
            out = out + conv_d(mixed.unflatten(1, x.shape[1:3]))
        return self.relu(self.bn(out) + self.down(x))


class _ChannelRefinement(nn.Module):
    """One subset of ``ChannelGraphConv``: an adjacency per channel from differences of keypoints' means over time."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        narrow = 8 if in_channels <= 16 else in_channels // 8
        self.conv1 = nn.Conv2d(in_channels, narrow, 1)
        self.conv2 = nn.Conv2d(in_channels, narrow, 1)
        self.conv3 = nn.Conv2d(in_channels, out_channels, 1)
        self.conv4 = nn.Conv2d(narrow, out_channels, 1)

    def forward(self, x: Tensor, adjacency: Tensor, alpha: Tensor) -> Tensor:
        """[N, C, T, K], [K, K] and a factor -> [N, C', T, K]."""
        first, second = self.conv1(x).mean(dim=2), self.conv2(x).mean(dim=2)  # [N, C'', K]
        differences = torch.tanh(first.unsqueeze(-1) - second.unsqueeze(-2))  # [N, C'', K, K]
        refined: Tensor = self.conv4(differences) * alpha + adjacency  # [N, C', K, K]
        return self.conv3(x) @ refined


class ChannelGraphConv(nn.Module):
    """[N, C, T, K] -> [N, C', T, K]: the learned adjacency, refined for each channel by the sample.

    Args:
        adjacency: [S, K, K], from which learning starts.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.convs = nn.ModuleList(_ChannelRefinement(in_channels, out_channels) for _ in range(adjacency.shape[0]))
        self.down = _down(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        init_convs(self)
        nn.init.constant_(self.bn.weight, _NEARLY_OFF)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, K] -> [N, C', T, K]."""
        out: Tensor | int = 0
        for subset, conv in enumerate(self.convs):
            out = out + conv(x, self.adjacency[subset], self.alpha)
        return self.relu(self.bn(out) + self.down(x))
