"""MobileOne for single frames: branches in training that become one convolution for deployment.

Source: "MobileOne: An Improved One millisecond Mobile Backbone" (arXiv:2206.04040), section 3.2 (branches and how
they are joined), tables 2 and 3 (sizes).

Shapes: N = B*V*T frames, C channels, H x W pixels, h x w cells of the feature map.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.backbones.resnet import BlockHook
from vidflow.models.layers.conv_norm import conv_norm, init_convs
from vidflow.models.layers.freezing import Freezable


@dataclass(frozen=True, kw_only=True)
class MobileOneConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    widths: tuple[float, float, float, float]
    """Factor of each stage's channels."""
    branches: int = 1
    """Convolutions beside each other in every block but the first."""
    gated: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Last blocks of each stage that have a squeeze and excitation."""
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: tuple[int, int, int, int] = (2, 8, 10, 1)
    """Pairs of a 3x3 depthwise and a 1x1 block in each stage."""
    deploy: bool = False
    """One convolution with bias instead of the branches."""

    num_stages: ClassVar[int] = 4

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(int(base * width) for base, width in zip(self.channels, self.widths, strict=True))

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.stage_channels[-1]


# arXiv:2206.04040, table 3 ("num_blocks" are those of all).
MOBILEONES = {
    "s0": MobileOneConfig(widths=(0.75, 1.0, 1.0, 2.0), branches=4),
    "s1": MobileOneConfig(widths=(1.5, 1.5, 2.0, 2.5)),
    "s2": MobileOneConfig(widths=(1.5, 2.0, 2.5, 4.0)),
    "s3": MobileOneConfig(widths=(2.0, 2.5, 3.0, 4.0)),
    "s4": MobileOneConfig(widths=(3.0, 3.5, 3.5, 4.0), gated=(0, 0, 5, 1)),
}


class Gate(nn.Module):
    """Squeeze and excitation (arXiv:1709.01507): each channel times a factor in (0, 1) that the whole frame decides."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // ratio, 1)
        self.excite = nn.Conv2d(channels // ratio, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        factors = self.excite(functional.relu(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))
        return x * factors.sigmoid()


class MobileOneBlock(nn.Module):
    """The sum of convolutions, a 1x1 convolution (beside larger ones) and a BatchNorm (where the shape stays), or the
    one convolution with bias that equals it in evaluation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        branches: int = 1,
        gated: bool = False,
        deploy: bool = False,
        before: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.before = before
        self.shape = (in_channels, out_channels, kernel, stride, groups)
        self.fused: nn.Conv2d | None = None
        self.convs: nn.ModuleList | None = None
        self.scale: nn.Sequential | None = None
        self.skip: nn.BatchNorm2d | None = None
        if deploy:
            self.fused = self._fused_conv()
        else:
            self.convs = nn.ModuleList(
                conv_norm(in_channels, out_channels, kernel, stride, groups) for _ in range(branches)
            )
            if kernel > 1:
                self.scale = conv_norm(in_channels, out_channels, 1, stride, groups)
            if stride == 1 and in_channels == out_channels:
                self.skip = nn.BatchNorm2d(in_channels)
        self.gate = Gate(out_channels) if gated else None

    def _fused_conv(self) -> nn.Conv2d:
        in_channels, out_channels, kernel, stride, groups = self.shape
        return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups)

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace the branches by the convolution that equals them in evaluation."""
        if self.convs is None:
            return
        _, out_channels, kernel, _, groups = self.shape
        branches: list[Any] = list(self.convs)  # pairs of a convolution and its BatchNorm
        pairs = [(branch[0].weight, branch[1]) for branch in branches]
        if self.scale is not None:
            scale: Any = self.scale
            pairs.append((functional.pad(scale[0].weight, [kernel // 2] * 4), scale[1]))  # to the middle of k x k
        like = pairs[0][0]
        if self.skip is not None:
            # The identity as a convolution: one at the centre of each channel's own plane.
            identity = torch.zeros_like(like)
            rows = torch.arange(out_channels)
            identity[rows, rows % (out_channels // groups), kernel // 2, kernel // 2] = 1
            pairs.append((identity, self.skip))
        fused = self._fused_conv().to(like)
        fused.weight.zero_()
        assert fused.bias is not None
        fused.bias.zero_()
        for weight, norm in pairs:
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            fused.weight += weight * factor[:, None, None, None]
            fused.bias += norm.bias - norm.running_mean * factor
        self.fused, self.convs, self.scale, self.skip = fused, None, None, None

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w']; every ``num_frames`` rows in a row are one clip."""
        if self.before is not None:
            x = self.before(x, num_frames)
        if self.fused is not None:
            y = self.fused(x)
        else:
            assert self.convs is not None
            branches = [*self.convs, *(m for m in (self.scale, self.skip) if m is not None)]
            y = branches[0](x)
            for branch in branches[1:]:
                y = y + branch(x)
        return functional.relu(y if self.gate is None else self.gate(y))


class MobileOne(Freezable):
    """Frames [N, C, H, W] -> features of the last stage [N, ``out_channels``, H/32, W/32].

    Args:
        in_channels: C.
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``partial_bn``.
        before_block: mixes frames at the entry of every block, the first one included: all branches see what it gives,
            so that they can still be joined.
    """

    def __init__(
        self,
        config: MobileOneConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        partial_bn: bool = False,
        before_block: BlockHook | None = None,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, partial_bn=partial_bn)
        self.out_channels = config.out_channels
        channels = min(64, config.stage_channels[0])

        def before(stage: int, index: int, width: int) -> nn.Module | None:
            return before_block(stage, index, width) if before_block else None

        self.stage0 = MobileOneBlock(
            in_channels, channels, 3, stride=2, deploy=config.deploy, before=before(0, 0, in_channels)
        )
        for stage, (out_channels, pairs) in enumerate(zip(config.stage_channels, config.blocks, strict=True), start=1):
            blocks = nn.Sequential()
            for pair in range(pairs):
                gated = pair >= pairs - config.gated[stage - 1]
                depthwise = (channels, channels, 3, 2 if pair == 0 else 1, channels)
                for in_width, out_width, kernel, stride, groups in (depthwise, (channels, out_channels, 1, 1, 1)):
                    block = MobileOneBlock(
                        in_width,
                        out_width,
                        kernel,
                        stride=stride,
                        groups=groups,
                        branches=config.branches,
                        gated=gated,
                        deploy=config.deploy,
                        before=before(stage, len(blocks), in_width),
                    )
                    blocks.append(block)
                channels = out_channels
            self.add_module(f"stage{stage}", blocks)
        init_convs(self)
        self.freeze()

    def parts(self) -> list[list[nn.Module]]:
        """The first block, then each stage."""
        return [[self.stage0], *([self.get_submodule(f"stage{k}")] for k in range(1, 5))]

    def forward(self, frames: Tensor, num_frames: int) -> Tensor:
        """[N, C, H, W] -> [N, ``out_channels``, h, w]; every ``num_frames`` rows in a row are one clip."""
        x = self.stage0(frames, num_frames)
        for stage in self.parts()[1:]:
            for block in stage[0].children():
                x = block(x, num_frames)
        return x
