"""DenseNet for single frames: each layer sees the features of all layers before it in its block.

Source: "Densely Connected Convolutional Networks" (arXiv:1608.06993), table 1 (the 161 of the authors' code has
growth 48). Parameter names are torchvision's. Differs from both: no ReLU after the last BatchNorm, as in MMAction2's
TSN (mmaction/models/recognizers/recognizer2d.py takes torchvision's ``features`` alone), whose weights were trained so.

Shapes: N = B*V*T frames, C channels, H x W pixels, h x w cells of the feature map.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.conv_norm import init_convs
from vidflow.models.layers.freezing import Freezable


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    growth: int
    """Channels that each layer adds."""
    blocks: tuple[int, ...]
    """Layers of each block."""
    stem_channels: int
    bottleneck: int = 4
    """Channels between a layer's two convolutions, in multiples of ``growth``."""

    @property
    def num_stages(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def out_channels(self) -> int:
        """Channels of the last block."""
        channels = self.stem_channels
        for index, layers in enumerate(self.blocks):
            channels = (channels if index == 0 else channels // 2) + layers * self.growth
        return channels


# arXiv:1608.06993, table 1.
DENSENETS = {
    "121": DenseNetConfig(growth=32, blocks=(6, 12, 24, 16), stem_channels=64),
    "161": DenseNetConfig(growth=48, blocks=(6, 12, 36, 24), stem_channels=96),
}


class DenseLayer(nn.Module):
    """BatchNorm, ReLU and 1x1, then the same with 3x3."""

    def __init__(self, in_channels: int, inner: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the new features [N, ``growth``, h, w]."""
        x = self.conv1(functional.relu(self.norm1(x), inplace=True))
        return self.conv2(functional.relu(self.norm2(x), inplace=True))


class DenseBlock(nn.Module):
    """Layers ``denselayer1``, ``denselayer2``, ..."""

    def __init__(self, in_channels: int, layers: int, config: DenseNetConfig) -> None:
        super().__init__()
        for index in range(layers):
            channels = in_channels + index * config.growth
            self.add_module(
                f"denselayer{index + 1}", DenseLayer(channels, config.bottleneck * config.growth, config.growth)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C + layers * growth, h, w]."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


def transition(in_channels: int, out_channels: int) -> nn.Sequential:
    """Between blocks: fewer channels, half the size."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(in_channels, out_channels, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(Freezable):
    """Frames [N, C, H, W] -> features of the last block [N, ``out_channels``, H/32, W/32].

    Args:
        in_channels: C.
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``partial_bn``; a stage is a block and what follows it.
    """

    def __init__(
        self,
        config: DenseNetConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        partial_bn: bool = False,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, partial_bn=partial_bn)
        self.config, self.out_channels = config, config.out_channels
        channels = config.stem_channels
        features: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for index, layers in enumerate(config.blocks, start=1):
            features[f"denseblock{index}"] = DenseBlock(channels, layers, config)
            channels += layers * config.growth
            if index < len(config.blocks):
                features[f"transition{index}"] = transition(channels, channels // 2)
                channels //= 2
        features[f"norm{len(config.blocks) + 1}"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(features)
        init_convs(self)
        self.freeze()

    def parts(self) -> list[list[nn.Module]]:
        """The first convolution with its BatchNorm, then each block with what follows it."""
        modules = list(self.features)
        return [modules[:4], *(modules[4 + 2 * k : 6 + 2 * k] for k in range(len(self.config.blocks)))]

    def forward(self, frames: Tensor, num_frames: int) -> Tensor:
        """[N, C, H, W] -> [N, ``out_channels``, h, w]."""
        return self.features(frames)
