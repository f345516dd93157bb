"""ResNet for single frames.

Source: "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), table 1; ResNeXt's grouped convolutions are
"Aggregated Residual Transformations" (arXiv:1611.05431), table 1. Differs from the paper: the stride of a bottleneck
sits in its 3x3 convolution, as in torchvision, whose parameter names are kept so that its weights load as they are.

Families that mix frames place modules of their own around and inside the blocks (``before_block``, ``inside_block``,
``after_block``); those are called with the number of frames beside the features.

Shapes: N = B*V*T frames, C channels, H x W pixels, h x w cells of the feature map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from vidflow.models.layers.conv_norm import conv_norm, init_convs
from vidflow.models.layers.freezing import Freezable
from vidflow.models.layers.recompute import run_block

BlockHook = Callable[[int, int, int], nn.Module | None]
"""(stage in 0..3, block in the stage, channels at that place) -> a module called as ``module(features, num_frames)``,
or None."""
Hooks = tuple[nn.Module | None, nn.Module | None, nn.Module | None]
"""A block's modules: before, inside, after."""


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

    num_stages: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.block == "basic" and (self.groups, self.group_width) != (1, 64):
            raise ValueError(f"groups ({self.groups}) and group_width ({self.group_width}) are for bottlenecks only")

    def inner_channels(self, planes: int) -> int:
        """Channels after a block's first convolution, ``planes`` in a plain ResNet."""
        return planes * self.group_width // 64 * self.groups

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

    def __init__(self, in_channels: int, out_channels: int, stride: int, hooks: Hooks) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = conv_norm(in_channels, out_channels, 1, stride)
        self.before, self.inside, self.after = hooks

    def mixed(self, x: Tensor, num_frames: int) -> Tensor:
        """What the module inside the block makes of the features after the first convolution."""
        return x if self.inside is None else self.inside(x, num_frames)

    def residual(self, x: Tensor, num_frames: int) -> Tensor:
        """The branch that is added to the shortcut, before the last ReLU."""
        raise NotImplementedError

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w']; every ``num_frames`` rows in a row are one clip."""
        shortcut = x if self.downsample is None else self.downsample(x)
        branch = x if self.before is None else self.before(x, num_frames)
        y = self.residual(branch, num_frames)
        y += shortcut
        y = self.relu(y)
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
        hooks: Hooks,
    ) -> None:
        super().__init__(in_channels, planes, stride, hooks)
        self.conv1 = conv3x3(in_channels, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)

    def residual(self, x: Tensor, num_frames: int) -> Tensor:
        x = self.mixed(self.relu(self.bn1(self.conv1(x))), num_frames)
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
        hooks: Hooks,
    ) -> None:
        super().__init__(in_channels, planes * 4, stride, hooks)
        inner = config.inner_channels(planes)
        self.conv1 = conv1x1(in_channels, inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, stride, config.groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv1x1(inner, planes * 4)
        self.bn3 = nn.BatchNorm2d(planes * 4)

    def residual(self, x: Tensor, num_frames: int) -> Tensor:
        x = self.mixed(self.relu(self.bn1(self.conv1(x))), num_frames)
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


class ResNet(Freezable):
    """Frames [N, C, H, W] -> features of the last stage [N, ``out_channels``, H/32, W/32].

    Args:
        in_channels: C; 3 for RGB, 2 per flow field.
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``partial_bn``; the stem is the first convolution.
        before_block: mixes frames at the entry of a block's residual branch; the shortcut does not see it.
        inside_block: comes after the first convolution of a block's residual branch, its BatchNorm and ReLU.
        after_block: comes after a block's last ReLU.
    """

    recomputes = True
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
        inside_block: BlockHook | None = None,
        after_block: BlockHook | None = None,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, partial_bn=partial_bn)
        self.config = config
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
                inside = inside_block(stage, index, config.inner_channels(planes)) if inside_block else None
                after = after_block(stage, index, planes * kind.expansion) if after_block else None
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(kind(channels, planes, stride, config, (before, inside, after)))
                channels = planes * kind.expansion
            self.add_module(f"layer{stage + 1}", blocks)
        init_convs(self)
        self.freeze()

    def _stages(self) -> list[nn.Sequential]:
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def parts(self) -> list[list[nn.Module]]:
        """The first convolution with its BatchNorm, then each stage."""
        parts: list[list[nn.Module]] = [[self.conv1, self.bn1]]
        return parts + [[stage] for stage in self._stages()]

    def stages(self, frames: Tensor, num_frames: int) -> list[Tensor]:
        """Features of all four stages, [N, C', h, w] each; every ``num_frames`` rows in a row are one clip."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        outputs = []
        for stage in self._stages():
            for block in stage:
                x = run_block(block, x, num_frames, recompute=self.recompute)
            outputs.append(x)
        return outputs

    def forward(self, frames: Tensor, num_frames: int) -> Tensor:
        """[N, C, H, W] -> [N, ``out_channels``, h, w]; every ``num_frames`` rows in a row are one clip."""
        return self.stages(frames, num_frames)[-1]
