"""MS-G3D: three stages, each a path over many numbers of hops and two over windows of frames.

Source: "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition" (arXiv:2003.14111,
sections 3.2 to 3.4), as in MMAction2 1.2.0 (projects/msg3d).

Shapes: N skeletons, D channels, T frames, K keypoints, R frames of a window, S numbers of hops.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.backbones.graph import SkeletonNorm
from vidflow.models.layers.graph_adjacency import hop_adjacency
from vidflow.models.layers.temporal_conv import MultiScaleTemporalConv
from vidflow.skeletons.layouts import SkeletonLayout

WINDOWS = (3, 5)
"""R of each path over windows."""


class MultiScaleGraphConv(nn.Module):
    """[N, D, T, K] -> [N, D', T, K]: the mean over the keypoints of each number of hops, and one linear layer of all.

    Args:
        adjacency: [S, K, K], constant; a learned offset is added.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.adjacency: Tensor
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.offset = nn.Parameter(torch.empty_like(adjacency).uniform_(-1e-6, 1e-6))
        self.mlp = nn.Sequential(
            nn.Conv2d(in_channels * len(adjacency), out_channels, 1), nn.BatchNorm2d(out_channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, T, K] -> [N, D', T, K]."""
        gathered = x.unsqueeze(1) @ (self.adjacency + self.offset).unsqueeze(1)  # [N, S, D, T, K]
        out: Tensor = self.mlp(gathered.flatten(1, 2))
        return out


class WindowGraphConv(nn.Module):
    """[N, D, T, K] -> [N, D', ceil(T / stride), K]: a graph convolution over all keypoints of R frames at once.

    Args:
        hidden: channels between the graph convolution and the one that joins a window's frames.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        layout: SkeletonLayout,
        *,
        num_scales: int,
        window_frames: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.window_frames, self.stride = window_frames, stride
        adjacency = hop_adjacency(layout, num_scales=num_scales, window_frames=window_frames)
        self.graph = MultiScaleGraphConv(in_channels, hidden, adjacency)
        self.out_conv = nn.Conv3d(hidden, out_channels, (1, window_frames, 1))
        self.out_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, T, K] -> [N, D', ceil(T / stride), K]."""
        size = self.window_frames
        padded = functional.pad(x, (0, 0, size // 2, size // 2))
        windows = padded.unfold(2, size, self.stride)  # [N, D, T', K, R]
        windows = windows.transpose(3, 4).flatten(3)  # [N, D, T', R*K]
        out = self.graph(windows).unflatten(3, (size, -1))  # [N, D'', T', R, K]
        collapsed: Tensor = self.out_bn(self.out_conv(out).squeeze(3))
        return collapsed


class Stage(nn.Module):
    """[N, D, T, K] -> [N, D', ceil(T / stride), K].

    Args:
        widths: channels in, between and out.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        layout: SkeletonLayout,
        *,
        num_scales: int,
        num_window_scales: int,
        stride: int,
        dropout: float,
        first: bool,
    ) -> None:
        super().__init__()
        before, middle, after = widths
        self.windows = nn.ModuleList(
            WindowGraphConv(
                before,
                after if first else before,
                after,
                layout,
                num_scales=num_window_scales,
                window_frames=size,
                stride=stride,
            )
            for size in WINDOWS
        )
        self.scales = nn.Sequential(
            MultiScaleGraphConv(before, middle, hop_adjacency(layout, num_scales=num_scales)),
            MultiScaleTemporalConv(middle, after, stride=stride),
            MultiScaleTemporalConv(after, after, activation=False),
        )
        self.temporal = MultiScaleTemporalConv(after, after, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, T, K] -> [N, D', ceil(T / stride), K]."""
        out = self.scales(x)
        for window in self.windows:
            out = out + window(x)
        mixed: Tensor = self.temporal(functional.relu(out))
        return mixed


class MSG3DBackbone(nn.Module):
    """[N, M, T, K, C] -> [N, M, D, T', K].

    Args:
        width: D of the first stage; the others have two and four times as many.
    """

    def __init__(
        self,
        layout: SkeletonLayout,
        *,
        in_channels: int,
        width: int,
        num_scales: int,
        num_window_scales: int,
        dropout: float,
        num_people: int,
    ) -> None:
        super().__init__()
        self.data_norm = SkeletonNorm(layout.num_keypoints, in_channels, num_people)
        # Channels in, after the path's graph convolution, and out; the first stage keeps all frames.
        sizes: Sequence[tuple[int, int, int]] = (
            (in_channels, width, width),
            (width, width, 2 * width),
            (2 * width, 2 * width, 4 * width),
        )
        for number, widths in enumerate(sizes, start=1):
            stage = Stage(
                widths,
                layout,
                num_scales=num_scales,
                num_window_scales=num_window_scales,
                stride=1 if number == 1 else 2,
                dropout=dropout,
                first=number == 1,
            )
            self.add_module(f"stage{number}", stage)
        self.out_channels = 4 * width

    def forward(self, skeletons: Tensor) -> Tensor:
        """[N, M, T, K, C] -> [N, M, D, T', K]."""
        x = self.data_norm(skeletons)
        for number in (1, 2, 3):
            x = self.get_submodule(f"stage{number}")(x)
        return x.unflatten(0, skeletons.shape[:2])
