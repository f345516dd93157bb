"""ResNet for single frames.

Source: "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), table 1; ResNeXt's grouped convolutions are
"Aggregated Residual Transformations" (arXiv:1611.05431), table 1. Differs from the paper: the stride of a bottleneck
sits in its 3x3 convolution, as in torchvision, whose parameter names are kept so that its weights load as they are.

Families that mix frames place modules of their own around the blocks (``before_block``, ``after_block``); those are
called with the number of frames beside the features.

Shapes: N = B*V*T frames, C channels, H x W pixels, h x w cells of the feature map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BlockHook = Callable[[int, int, int], nn.Module | None]
"""(stage in 0..3, block in the stage, channels at that place) -> a module called as ``module(features, num_frames)``,
or None."""


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    block: Literal["basic", "bottleneck"]
    blocks: tuple[int, int, int, int]
    """Blocks of each stage."""
    width: int = 64
    """Channels after the first convolution."""
    groups: int = 1
    """Groups of the 3x3 convolutions of bottlenecks."""
    group_width: int = 64
    """Channels of one group in the first stage, of 64 in a plain ResNet."""
    stem: Literal["7x7-pool", "3x3"] = "7x7-pool"
    """First layers: 7x7 with stride 2 and a max pooling with stride 2 (the paper's), or 3x3 with stride 2 for small
    frames."""

    def __post_init__(self) -> None:
        if self.block == "basic" and (self.groups, self.group_width) != (1, 64):
            raise ValueError(f"groups ({self.groups}) and group_width ({self.group_width}) are for bottlenecks only")

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.width * 8 * BLOCKS[self.block].expansion


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """3x3 without bias, padded to keep the size."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """1x1 without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class Block(nn.Module):
    """What both kinds of block share: shortcut, hooks and the order of things."""

    expansion: int

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, before: nn.Module | None, after: nn.Module | None
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
        self.before, self.after = before, after

    def residual(self, x: Tensor) -> Tensor:
        """The branch that is added to the shortcut, before the last ReLU."""
        raise NotImplementedError

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w']; every ``num_frames`` rows in a row are one clip."""
        shortcut = x if self.downsample is None else self.downsample(x)
        branch = x if self.before is None else self.before(x, num_frames)
        y = self.relu(self.residual(branch) + shortcut)
        return y if self.after is None else self.after(y, num_frames)


class BasicBlock(Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        config: ResNetConfig,
        before: nn.Module | None,
        after: nn.Module | None,
    ) -> None:
        super().__init__(in_channels, planes, stride, before, after)
        self.conv1 = conv3x3(in_channels, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(Block):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        config: ResNetConfig,
        before: nn.Module | None,
        after: nn.Module | None,
    ) -> None:
        super().__init__(in_channels, planes * 4, stride, before, after)
        inner = planes * config.group_width // 64 * config.groups
        self.conv1 = conv1x1(in_channels, inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, stride, config.groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv1x1(inner, planes * 4)
        self.bn3 = nn.BatchNorm2d(planes * 4)

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


BLOCKS: dict[str, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}

# arXiv:1512.03385, table 1; "x101-32x4d" is arXiv:1611.05431, table 1 with 101 layers.
RESNETS = {
    "18": ResNetConfig(block="basic", blocks=(2, 2, 2, 2)),
    "34": ResNetConfig(block="basic", blocks=(3, 4, 6, 3)),
    "50": ResNetConfig(block="bottleneck", blocks=(3, 4, 6, 3)),
    "101": ResNetConfig(block="bottleneck", blocks=(3, 4, 23, 3)),
    "152": ResNetConfig(block="bottleneck", blocks=(3, 8, 36, 3)),
    "x101-32x4d": ResNetConfig(block="bottleneck", blocks=(3, 4, 23, 3), groups=32, group_width=4),
}


class ResNet(nn.Module):
    """Frames [N, C, H, W] -> features of the last stage [N, ``out_channels``, H/32, W/32].

    Args:
        in_channels: C; 3 for RGB, 2 per flow field.
        frozen_stages: first layers whose weights and BatchNorm statistics stay as they are: -1 none, 0 the first
            convolution, k also stages 1..k.
        norm_eval: every BatchNorm uses and keeps its stored statistics in training; its weights still learn.
        partial_bn: every BatchNorm but the first uses and keeps its stored statistics, and its weights are fixed
            (arXiv:1608.00859, section 3.3).
        before_block: mixes frames at the entry of a block's residual branch; the shortcut does not see it.
        after_block: comes after a block's last ReLU.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        config: ResNetConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        partial_bn: bool = False,
        before_block: BlockHook | None = None,
        after_block: BlockHook | None = None,
    ) -> None:
        super().__init__()
        if not -1 <= frozen_stages <= 4:
            raise ValueError(f"frozen_stages ({frozen_stages}) must lie in [-1, 4]")
        self.config, self.frozen_stages, self.norm_eval, self.partial_bn = config, frozen_stages, norm_eval, partial_bn
        self.out_channels = config.out_channels
        kernel = 7 if config.stem == "7x7-pool" else 3
        self.conv1 = nn.Conv2d(in_channels, config.width, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if config.stem == "7x7-pool" else nn.Identity()
        kind = BLOCKS[config.block]
        channels = config.width
        for stage, num_blocks in enumerate(config.blocks):
            planes = config.width * 2**stage
            blocks = nn.Sequential()
            for index in range(num_blocks):
                before = before_block(stage, index, channels) if before_block else None
                after = after_block(stage, index, planes * kind.expansion) if after_block else None
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(kind(channels, planes, stride, config, before, after))
                channels = planes * kind.expansion
            self.add_module(f"layer{stage + 1}", blocks)
        self._init_weights()
        for module in self._fixed_modules():
            module.requires_grad_(False)
        if partial_bn:
            for norm in self._norms()[1:]:
                norm.requires_grad_(False)

    def _init_weights(self) -> None:
        # arXiv:1502.01852, eq. 15, with the fan of the outputs; BatchNorm starts as the identity, its default.
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # drawing nothing still takes its time
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def _stages(self) -> list[nn.Sequential]:
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def _fixed_modules(self) -> list[nn.Module]:
        fixed: list[nn.Module] = [self.conv1, self.bn1] if self.frozen_stages >= 0 else []
        return fixed + list(self._stages()[: max(self.frozen_stages, 0)])

    def train(self, mode: bool = True) -> "ResNet":
        """Training mode, except for what ``frozen_stages``, ``norm_eval`` and ``partial_bn`` keep as it is."""
        super().train(mode)
        if mode:
            for module in self._fixed_modules():
                module.eval()
            for norm in self._norms() if self.norm_eval else self._norms()[1:] if self.partial_bn else []:
                norm.eval()
        return self

    def stages(self, frames: Tensor, num_frames: int) -> list[Tensor]:
        """Features of all four stages, [N, C', h, w] each; every ``num_frames`` rows in a row are one clip."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        outputs = []
        for stage in self._stages():
            for block in stage:
                x = block(x, num_frames)
            outputs.append(x)
        return outputs

    def forward(self, frames: Tensor, num_frames: int) -> Tensor:
        """[N, C, H, W] -> [N, ``out_channels``, h, w]; every ``num_frames`` rows in a row are one clip."""
        return self.stages(frames, num_frames)[-1]
