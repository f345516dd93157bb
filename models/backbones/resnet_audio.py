"""ResNet for spectrograms, whose first stages look along time and along frequency apart.

Source: the network of sound of "Audiovisual SlowFast Networks" (arXiv:2001.08740), section 3.2, as MMAction2 1.2.0
builds it (mmaction/models/backbones/resnet_audio.py): a block's 3x3 convolution becomes a 3x1 and a 1x3 one side by
side in the stages that are factored; the 3x3 of the others has neither BatchNorm nor activation behind it.

Shapes: N views, C channels, T frames, F bands; t x f cells of the feature map.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidflow.models.backbones.resnet import conv1x1, conv3x3
from vidflow.models.layers.conv_norm import conv_norm, init_convs
from vidflow.models.layers.freezing import Freezable


@dataclass(frozen=True, kw_only=True)
class AudioResNetConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    blocks: tuple[int, int, int, int]
    """Blocks of each stage."""
    width: int = 32
    """Channels after the first convolutions."""
    stem_size: int = 9
    """Cells that each of the first two convolutions sees, odd."""
    factored: tuple[bool, bool, bool, bool] = (True, True, False, False)
    """Stages whose blocks look along time and along frequency apart."""

    num_stages: ClassVar[int] = 4

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.width * 8 * AudioBlock.expansion


class AxisConv(nn.Module):
    """A convolution along time and one along frequency, each with BatchNorm and ReLU, of the same input.

    Args:
        joined: "sum" adds the two, "side" puts one's channels behind the other's.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1, *, joined: str) -> None:
        super().__init__()
        self.joined = joined
        self.time = nn.Conv2d(in_channels, out_channels, (size, 1), stride, (size // 2, 0), bias=False)
        self.time_bn = nn.BatchNorm2d(out_channels)
        self.frequency = nn.Conv2d(in_channels, out_channels, (1, size), stride, (0, size // 2), bias=False)
        self.frequency_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, t, f] -> [N, C', t', f'], C' doubled where both stand side by side."""
        along_time = self.time_bn(self.time(x)).relu()
        along_frequency = self.frequency_bn(self.frequency(x)).relu()
        if self.joined == "sum":
            return along_time + along_frequency
        return torch.cat([along_time, along_frequency], dim=1)


class AudioBlock(nn.Module):
    """1x1 to fewer channels, 3x3 or its two axes, 1x1 to four times as many."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, *, factored: bool) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2: nn.Module = (
            AxisConv(planes, planes, 3, stride, joined="side") if factored else conv3x3(planes, planes, stride)
        )
        self.conv3 = conv1x1(planes * (2 if factored else 1), planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != planes * self.expansion:
            self.downsample = conv_norm(in_channels, planes * self.expansion, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, t, f] -> [N, C', t', f']."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.conv2(self.bn1(self.conv1(x)).relu())
        return (self.bn3(self.conv3(y)) + shortcut).relu()


# "Audiovisual SlowFast Networks" with ResNet-50, MMAction2 1.2.0's audioonly_r50.
AUDIO_RESNETS = {"50": AudioResNetConfig(blocks=(3, 4, 6, 3))}


class AudioResNet(Freezable):
    """Spectrograms [N, C, T, F] -> features of the last stage [N, ``out_channels``, T/8, F/8].

    Args:
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``partial_bn``; the stem is the first convolutions.
    """

    def __init__(
        self,
        config: AudioResNetConfig,
        *,
        in_channels: int = 1,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        partial_bn: bool = False,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, partial_bn=partial_bn)
        self.config = config
        self.out_channels = config.out_channels
        self.conv1 = AxisConv(in_channels, config.width, config.stem_size, joined="sum")
        self.bn1 = nn.BatchNorm2d(config.width)
        channels = config.width
        for stage, (num_blocks, factored) in enumerate(zip(config.blocks, config.factored, strict=True)):
            planes = config.width * 2**stage
            blocks = nn.Sequential()
            for index in range(num_blocks):
                blocks.append(AudioBlock(channels, planes, 2 if stage and not index else 1, factored=factored))
                channels = planes * AudioBlock.expansion
            self.add_module(f"layer{stage + 1}", blocks)
        init_convs(self)
        self.freeze()

    def parts(self) -> list[list[nn.Module]]:
        """The first convolutions with their BatchNorms, then each stage."""
        return [[self.conv1, self.bn1], *([self.get_submodule(f"layer{stage}")] for stage in range(1, 5))]

    def forward(self, spectrograms: Tensor, num_frames: int = 1) -> Tensor:
        """[N, C, T, F] -> [N, ``out_channels``, t, f]; ``num_frames`` is for families of frames, and not looked at."""
        x = self.bn1(self.conv1(spectrograms)).relu()
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x
