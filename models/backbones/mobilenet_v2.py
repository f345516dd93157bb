"""MobileNetV2 for single frames, with a place for modules that mix them.

Source: "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381), table 2.

Shapes: N = B*V*T frames, C channels, H x W pixels, h x w cells of the feature map.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vidflow.models.backbones.resnet import BlockHook
from vidflow.models.layers.conv_norm import conv_norm, init_convs
from vidflow.models.layers.freezing import Freezable


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config:
    """Everything that decides the parameter shapes except the input's channels."""

    # arXiv:1801.04381, table 2: (factor of the inner channels, channels, blocks, stride of the first block).
    stages: tuple[tuple[int, int, int, int], ...] = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    stem_channels: int = 32
    out_channels: int = 1280

    @property
    def num_stages(self) -> int:
        """Stages after the first convolution."""
        return len(self.stages)


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 in each of them, 1x1 to few; a shortcut where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, before: nn.Module | None
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.relu = nn.ReLU6(inplace=True)
        self.shortcut = stride == 1 and in_channels == out_channels
        self.before = before
        self.conv = nn.Sequential()
        if expansion != 1:
            self.conv.append(conv_norm(in_channels, inner, 1))
        self.conv.append(conv_norm(inner, inner, 3, stride, groups=inner))
        self.conv.append(conv_norm(inner, out_channels, 1))

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[N, C, h, w] -> [N, C', h', w']; every ``num_frames`` rows in a row are one clip."""
        y = x if self.before is None else self.before(x, num_frames)
        *inner, last = self.conv
        for conv in inner:
            y = self.relu(conv(y))
        y = last(y)
        return x + y if self.shortcut else y


class MobileNetV2(Freezable):
    """Frames [N, C, H, W] -> features [N, ``out_channels``, H/32, W/32].

    Args:
        in_channels: C.
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``partial_bn``; there are 7 stages.
        before_block: mixes frames at the entry of a residual branch, of blocks with a shortcut only: the others have
            nothing that keeps a frame's own features (arXiv:1811.08383, section 3.2).
    """

    def __init__(
        self,
        config: MobileNetV2Config,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        partial_bn: bool = False,
        before_block: BlockHook | None = None,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, partial_bn=partial_bn)
        self.out_channels = config.out_channels
        self.num_stages = config.num_stages
        self.relu = nn.ReLU6(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, config.stem_channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        channels = config.stem_channels
        for stage, (expansion, out_channels, num_blocks, first_stride) in enumerate(config.stages):
            blocks = nn.Sequential()
            for index in range(num_blocks):
                stride = first_stride if index == 0 else 1
                mixes = before_block is not None and stride == 1 and channels == out_channels
                before = before_block(stage, index, channels) if before_block and mixes else None
                blocks.append(InvertedResidual(channels, out_channels, stride, expansion, before))
                channels = out_channels
            self.add_module(f"layer{stage + 1}", blocks)
        self.conv2 = nn.Conv2d(channels, config.out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(config.out_channels)
        init_convs(self)
        self.freeze()

    def parts(self) -> list[list[nn.Module]]:
        """The first convolution, then each stage."""
        return [[self.conv1, self.bn1], *([self.get_submodule(f"layer{k + 1}")] for k in range(self.num_stages))]

    def forward(self, frames: Tensor, num_frames: int) -> Tensor:
        """[N, C, H, W] -> [N, ``out_channels``, h, w]; every ``num_frames`` rows in a row are one clip."""
        x = self.relu(self.bn1(self.conv1(frames)))
        for stage in self.parts()[1:]:
            for block in stage[0].children():
                x = block(x, num_frames)
        return self.relu(self.bn2(self.conv2(x)))
