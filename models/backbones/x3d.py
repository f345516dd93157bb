"""X3D: a small 2D network expanded step by step along its axes, with depthwise convolutions in time and space.

Source: "X3D: Expanding Architectures for Efficient Video Recognition" (arXiv:2004.04730), tables 1 and 3; channels and
depth as in the authors' code (facebookresearch/SlowFast), which rounds them differently from the paper.

Shapes: N = B*V clips, C channels, T frames, H x W pixels, h x w cells of the feature map.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from vidflow.models.backbones.resnet3d import init_convs3d
from vidflow.models.layers.conv3d import Conv3d
from vidflow.models.layers.freezing import Freezable
from vidflow.models.layers.recompute import run_block


@dataclass(frozen=True, kw_only=True)
class X3DConfig:
    """The factors of expansion; X3D-S and X3D-M differ in the clips that they are given only."""

    width: int = 24
    """Channels after the stem, gamma_w times 24."""
    bottleneck: float = 2.25
    """gamma_b: inner channels of a block for one of its outer ones."""
    depth: float = 2.2
    """gamma_d, times 1, 2, 5 and 3 blocks."""
    stem_frames: int = 5
    """Frames that the stem's depthwise convolution spans."""

    @property
    def blocks(self) -> list[int]:
        """Blocks of each stage."""
        return [math.ceil(self.depth * count) for count in (1, 2, 5, 3)]

    @property
    def out_channels(self) -> int:
        """Channels of the last convolution."""
        return self.inner(self.width * 8)

    def inner(self, channels: int) -> int:
        """Inner channels of a block."""
        return int(channels * self.bottleneck)


def squeezed_channels(channels: int) -> int:
    """A sixteenth, to a multiple of 8, at least 8 and not much less than asked for.

    >>> [squeezed_channels(c) for c in (54, 108, 216, 432)]
    [8, 8, 16, 32]
    """
    wanted = channels / 16
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class SqueezeExcitation(nn.Module):
    """Channels weighted by what the whole clip holds (arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = squeezed_channels(channels)
        self.fc1, self.fc2 = Conv3d(channels, inner, 1), Conv3d(inner, channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> the same shape."""
        return x * self.fc2(self.relu(self.fc1(x.mean(dim=(2, 3, 4), keepdim=True)))).sigmoid()


class X3DBlock(nn.Module):
    """1x1x1 to more channels, depthwise 3x3x3, 1x1x1 back.

    Args:
        stride: in pixels.
        excited: squeeze and excitation after the depthwise convolution.
    """

    def __init__(self, in_channels: int, inner: int, out_channels: int, *, stride: int, excited: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = Conv3d(in_channels, inner, 1, bias=False), nn.BatchNorm3d(inner)
        self.conv2 = Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.excitation = SqueezeExcitation(inner) if excited else nn.Identity()
        self.conv3, self.bn3 = Conv3d(inner, out_channels, 1, bias=False), nn.BatchNorm3d(out_channels)
        self.relu, self.swish = nn.ReLU(inplace=True), nn.SiLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            shortcut = Conv3d(in_channels, out_channels, 1, (1, stride, stride), bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(out_channels))
        # The block starts as its shortcut (arXiv:1706.02677, section 5.1).
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> [N, C', T, h / stride, w / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.swish(self.excitation(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class X3D(Freezable):
    """Clips [N, C, T, H, W] -> features [N, ``out_channels``, T, H/32, W/32].

    Args:
        in_channels: C.
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``norm_frozen``.
    """

    recomputes = True

    def __init__(
        self,
        config: X3DConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_frozen: bool = False,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, norm_frozen=norm_frozen)
        width, frames = config.width, config.stem_frames
        self.conv1_s = Conv3d(in_channels, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.conv1_t = Conv3d(width, width, (frames, 1, 1), padding=(frames // 2, 0, 0), groups=width, bias=False)
        self.bn1, self.relu = nn.BatchNorm3d(width), nn.ReLU(inplace=True)
        channels = width
        for stage, num_blocks in enumerate(config.blocks):
            outer, blocks = width * 2**stage, nn.Sequential()
            for index in range(num_blocks):
                stride = 2 if index == 0 else 1
                blocks.append(X3DBlock(channels, config.inner(outer), outer, stride=stride, excited=index % 2 == 0))
                channels = outer
            self.add_module(f"layer{stage + 1}", blocks)
        self.out_channels = config.out_channels
        self.conv5, self.bn5 = Conv3d(channels, self.out_channels, 1, bias=False), nn.BatchNorm3d(self.out_channels)
        init_convs3d(self)
        self.freeze()

    def _stages(self) -> list[nn.Module]:
        return [self.get_submodule(f"layer{number}") for number in range(1, 5)]

    def parts(self) -> list[list[nn.Module]]:
        """The stem, then each stage."""
        return [[self.conv1_s, self.conv1_t, self.bn1], *([stage] for stage in self._stages())]

    def forward(self, clips: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, ``out_channels``, T, h, w]."""
        x = self.relu(self.bn1(self.conv1_t(self.conv1_s(clips))))
        for stage in self._stages():
            for block in stage.children():
                x = run_block(block, x, recompute=self.recompute)
        return self.relu(self.bn5(self.conv5(x)))
