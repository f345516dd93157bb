"""Spatio-temporal graph networks: blocks of a convolution over keypoints and one over frames.

Source: ST-GCN (arXiv:1801.07455, "Network architecture and training"), whose ten blocks 2s-AGCN, CTR-GCN and ST-GCN++
have kept; their numbers of channels and strides as in MMAction2 1.2.0 (mmaction/models/backbones/stgcn.py).

Shapes: N samples, M people, T frames, K keypoints, C coordinates, D channels.
"""

from collections.abc import Callable

from torch import Tensor, nn

from vidflow.models.layers.temporal_conv import residual

MakeConv = Callable[[int, int], nn.Module]
"""From numbers of channels in and out to a unit on [N, D, T, K]."""
MakeTemporal = Callable[[int, int, float], nn.Module]
"""From a number of channels, a stride and a dropout to a unit on [N, D, T, K]."""


class SkeletonNorm(nn.Module):
    """BatchNorm of each coordinate of each keypoint over samples and frames: [N, M, T, K, C] -> [N*M, C, T, K].

    Args:
        num_people: statistics for each of M people by itself; None has the same for all, who may be any number.
    """

    def __init__(self, num_keypoints: int, in_channels: int, num_people: int | None) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d((num_people or 1) * num_keypoints * in_channels)
        self.by_person = num_people is not None

    def forward(self, skeletons: Tensor) -> Tensor:
        """[N, M, T, K, C] -> [N*M, C, T, K]."""
        num, people, frames, points, channels = skeletons.shape
        x = skeletons.permute(0, 1, 3, 4, 2)  # [N, M, K, C, T]
        x = self.bn(x.flatten(1, 3) if self.by_person else x.flatten(0, 1).flatten(1, 2))
        x = x.reshape(num * people, points, channels, frames)
        return x.permute(0, 2, 3, 1).contiguous()


class GraphBlock(nn.Module):
    """[N, D, T, K] -> [N, D', T', K]: over keypoints, over frames, the input added, ReLU."""

    def __init__(self, graph: nn.Module, temporal: nn.Module, skip: nn.Module | None) -> None:
        super().__init__()
        self.graph, self.temporal, self.residual = graph, temporal, skip
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, T, K] -> [N, D', T', K]."""
        out = self.temporal(self.graph(x))
        return self.relu(out if self.residual is None else out + self.residual(x))


class GraphBackbone(nn.Module):
    """[N, M, T, K, C] -> [N, M, D, T', K].

    Args:
        graph: makes the units over keypoints.
        temporal: makes the units over frames.
        width: D of the first block.
        num_blocks: blocks; the first has nothing added.
        wider_blocks: counted from 1: blocks that double D and halve the frames.
        temporal_dropout: of all units over frames but the first block's.
        num_people: see ``SkeletonNorm``.
    """

    def __init__(
        self,
        *,
        graph: MakeConv,
        temporal: MakeTemporal,
        num_keypoints: int,
        in_channels: int = 3,
        width: int = 64,
        num_blocks: int = 10,
        wider_blocks: tuple[int, ...] = (5, 8),
        temporal_dropout: float = 0.0,
        num_people: int | None = None,
    ) -> None:
        super().__init__()
        self.data_norm = SkeletonNorm(num_keypoints, in_channels, num_people)
        blocks, channels, out_channels = [], in_channels, width
        for number in range(1, num_blocks + 1):
            stride = 1
            if number in wider_blocks:
                out_channels, stride = 2 * out_channels, 2
            skip = residual(channels, out_channels, stride) if number > 1 else None
            over_frames = temporal(out_channels, stride, temporal_dropout if number > 1 else 0.0)
            blocks.append(GraphBlock(graph(channels, out_channels), over_frames, skip))
            channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.out_channels = channels

    def forward(self, skeletons: Tensor) -> Tensor:
        """[N, M, T, K, C] -> [N, M, D, T', K]."""
        x = self.data_norm(skeletons)
        for block in self.blocks:
            x = block(x)
        return x.unflatten(0, skeletons.shape[:2])
