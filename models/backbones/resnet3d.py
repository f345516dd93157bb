"""ResNet for clips: one network with the options of C2D's 3D relatives I3D, SlowOnly, SlowFast, R(2+1)D and CSN.

Sources: a 2D ResNet (arXiv:1512.03385) whose kernels are inflated in time: "Quo Vadis, Action Recognition?"
(arXiv:1705.07750), with the 3x1x1 kernels of "Non-local Neural Networks" (arXiv:1711.07971), table 1; kernels "2+1" are
arXiv:1711.11248; "ir" and "ip" are the channel-separated bottlenecks of arXiv:1904.02811, figure 2. Parameter names are
torchvision's, so that weights of images can be inflated.

Shapes: N = B*V clips, C channels, T frames, H x W pixels, h x w cells of the feature map; kernels and strides are
(frames, pixels).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vidflow.models.layers.conv3d import Conv3d
from vidflow.models.layers.factored_conv import FactoredConv3d
from vidflow.models.layers.freezing import Freezable
from vidflow.models.layers.non_local import NonLocal, NonLocalMode
from vidflow.models.layers.recompute import run_block
from vidflow.models.layers.still import StillBatchNorm3d, StillConv3d

Pair = tuple[int, int]
Kernels = Literal["3x1x1", "3x3x3", "2+1", "ir", "ip"]
PerBlock = bool | tuple[bool, ...]
"""One value for all blocks of a stage, or one for each."""


@dataclass(frozen=True, kw_only=True)
class ResNet3DConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    block: Literal["basic", "bottleneck"]
    blocks: tuple[int, ...]
    """Blocks of each stage."""
    width: int = 64
    """Channels after the first convolution."""
    stem_kernel: Pair = (5, 7)
    stem_stride: Pair = (1, 2)
    pool_stride: Pair = (1, 2)
    """Of the max pooling after the first convolution."""
    second_pool: bool = False
    """Halve the frames after the first stage."""
    inflated: tuple[PerBlock, ...] = (True, True, True, True)
    """Blocks whose kernels span 3 frames, per stage."""
    kernels: Kernels = "3x1x1"
    """Which convolutions span frames: a bottleneck's first ("3x1x1") or second ("3x3x3"); "2+1" factors all of them;
    "ir" and "ip" are 3x3x3 and depthwise, "ip" after a 1x1x1."""
    frame_strides: tuple[int, ...] = (1, 1, 1, 1)
    pixel_strides: tuple[int, ...] = (1, 2, 2, 2)
    still: bool = False
    """Take a clip of one frame for a still picture, see ``vidflow.models.layers.still``."""
    norm_momentum: float = 0.1
    norm_eps: float = 1e-5
    """Of every BatchNorm, except those inside factored convolutions, which keep 1e-5 (as in MMAction2)."""
    non_local: NonLocalMode | None = None
    non_local_scale: bool = False
    non_local_blocks: tuple[PerBlock, ...] = (False, False, False, False)
    """Blocks that are followed by a non-local one, per stage."""
    lateral_channels: tuple[int, ...] = (0, 0, 0, 0)
    """Channels from elsewhere that each stage finds beside those of the stage before."""
    zero_init: bool = False
    """The last BatchNorm of each block starts at zero, so that blocks start as their shortcut (arXiv:1706.02677,
    section 5.1)."""

    def __post_init__(self) -> None:
        if self.block == "basic" and self.kernels in ("3x1x1", "ir", "ip"):
            raise ValueError(f"kernels ({self.kernels!r}) are for bottlenecks; basic blocks take '3x3x3' or '2+1'")
        for name in ("inflated", "frame_strides", "pixel_strides", "non_local_blocks", "lateral_channels"):
            if len(getattr(self, name)) != len(self.blocks):
                raise ValueError(
                    f"{name} ({getattr(self, name)}) must have a value for each of {len(self.blocks)} stages"
                )
        for name in ("inflated", "non_local_blocks"):
            for stage, value in enumerate(getattr(self, name)):
                if isinstance(value, tuple) and len(value) != self.blocks[stage]:
                    raise ValueError(
                        f"{name}[{stage}] ({value}) must have a value for each of {self.blocks[stage]} blocks"
                    )
        if self.non_local is None and any(value is True or (value and any(value)) for value in self.non_local_blocks):
            raise ValueError(f"non_local_blocks need a mode, non_local, not None ({self.non_local_blocks})")

    def norm(self, channels: int) -> nn.BatchNorm3d:
        """A BatchNorm of the network."""
        kind = StillBatchNorm3d if self.still else nn.BatchNorm3d
        return kind(channels, eps=self.norm_eps, momentum=self.norm_momentum)

    @property
    def expansion(self) -> int:
        """Channels of a block's output for one of its inner ones."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def stage_channels(self) -> list[int]:
        """Channels of each stage's output."""
        return [self.width * 2**stage * self.expansion for stage in range(len(self.blocks))]


def per_block(value: PerBlock, num_blocks: int) -> tuple[bool, ...]:
    """The value of each block of a stage."""
    return value if isinstance(value, tuple) else (value,) * num_blocks


def conv3d(
    config: ResNet3DConfig, in_channels: int, out_channels: int, kernel: Pair, stride: Pair = (1, 1), groups: int = 1
) -> nn.Module:
    """Without bias, padded to keep the size; factored where the config says so."""
    if config.kernels == "2+1":
        return FactoredConv3d(in_channels, out_channels, kernel, stride)
    frames, pixels = kernel
    padding = (frames // 2, pixels // 2, pixels // 2)
    steps = (stride[0], stride[1], stride[1])
    kind = StillConv3d if config.still else Conv3d
    return kind(in_channels, out_channels, (frames, pixels, pixels), steps, padding, groups=groups, bias=False)


class Block3D(nn.Module):
    """A residual block; its branch is two or three convolutions, each with BatchNorm.

    Args:
        planes: inner channels.
        stride: of the block.
        inflated: the kernels span 3 frames.
        non_local: a non-local block follows.
    """

    def __init__(
        self, in_channels: int, planes: int, stride: Pair, config: ResNet3DConfig, *, inflated: bool, non_local: bool
    ) -> None:
        super().__init__()
        kernels, out_channels = config.kernels, planes * config.expansion

        norm = config.norm
        frames = 3 if inflated else 1
        if config.block == "basic":
            self.conv1 = conv3d(config, in_channels, planes, (frames, 3), stride)
            self.conv2 = conv3d(config, planes, planes, (frames, 3))
        else:
            first, second = (frames, 1) if kernels == "3x1x1" else (1, frames)
            depthwise = kernels in ("ir", "ip")
            self.conv1 = conv3d(config, in_channels, planes, (first, 1))
            self.conv2 = conv3d(config, planes, planes, (second, 3), stride, groups=planes if depthwise else 1)
            if kernels == "ip":
                self.conv2 = nn.Sequential(conv3d(config, planes, planes, (1, 1)), norm(planes), self.conv2)
        self.bn1, self.bn2 = norm(planes), norm(planes)
        self.conv3: nn.Module | None = None
        self.bn3: nn.Module | None = None
        if config.block == "bottleneck":
            self.conv3, self.bn3 = conv3d(config, planes, out_channels, (1, 1)), norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != (1, 1) or in_channels != out_channels:
            shortcut = conv3d(config, in_channels, out_channels, (1, 1), stride)
            self.downsample = nn.Sequential(shortcut, norm(out_channels))
        self.after: NonLocal | None = None
        if non_local:
            assert config.non_local is not None
            self.after = NonLocal(out_channels, mode=config.non_local, scale=config.non_local_scale)
        if config.zero_init:
            nn.init.zeros_((self.bn3 or self.bn2).weight)  # type: ignore[arg-type]  # a BatchNorm's

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> [N, C', T', h', w']."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.conv3 is not None and self.bn3 is not None:
            y = self.bn3(self.conv3(self.relu(y)))
        y += x if self.downsample is None else self.downsample(x)
        y = self.relu(y)
        return y if self.after is None else self.after(y)


class ResNet3D(Freezable):
    """Clips [N, C, T, H, W] -> features of the last stage [N, ``out_channels``, T', H/32, W/32].

    Args:
        in_channels: C; 3 for RGB, 2 per flow field.
        frozen_stages: see ``Freezable``, as ``norm_eval`` and ``norm_frozen``; the stem is the first convolution.
    """

    recomputes = True

    def __init__(
        self,
        config: ResNet3DConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_frozen: bool = False,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, norm_frozen=norm_frozen)
        self.config, self.out_channels = config, config.stage_channels[-1]
        self.conv1 = conv3d(config, in_channels, config.width, config.stem_kernel, config.stem_stride)
        self.bn1 = config.norm(config.width)
        self.relu = nn.ReLU(inplace=True)
        frames, pixels = config.pool_stride
        self.maxpool = nn.MaxPool3d((1, 3, 3), (frames, pixels, pixels), (0, 1, 1))
        self.second_pool = nn.MaxPool3d((2, 1, 1), (2, 1, 1)) if config.second_pool else None
        channels = config.width
        for stage, num_blocks in enumerate(config.blocks):
            planes, blocks = config.width * 2**stage, nn.Sequential()
            channels += config.lateral_channels[stage]
            inflated = per_block(config.inflated[stage], num_blocks)
            non_local = per_block(config.non_local_blocks[stage], num_blocks)
            stride = (config.frame_strides[stage], config.pixel_strides[stage])
            for index in range(num_blocks):
                blocks.append(
                    Block3D(
                        channels,
                        planes,
                        stride if index == 0 else (1, 1),
                        config,
                        inflated=inflated[index],
                        non_local=non_local[index],
                    )
                )
                channels = planes * config.expansion
            self.add_module(f"layer{stage + 1}", blocks)
        init_convs3d(self)
        self.freeze()

    def stage(self, number: int) -> nn.Module:
        """The stage of a number in 1..``len(config.blocks)``."""
        return self.get_submodule(f"layer{number}")

    def parts(self) -> list[list[nn.Module]]:
        """The first convolution with its BatchNorm, then each stage."""
        return [[self.conv1, self.bn1], *([self.stage(k + 1)] for k in range(len(self.config.blocks)))]

    def stem(self, clips: Tensor) -> Tensor:
        """What the first stage is given: [N, C, T, H, W] -> [N, ``width``, T', H/4, W/4]."""
        return self.maxpool(self.relu(self.bn1(self.conv1(clips))))

    def run_stage(self, number: int, x: Tensor) -> Tensor:
        """One stage, and the pooling that may follow the first."""
        for block in self.stage(number).children():
            x = run_block(block, x, recompute=self.recompute)
        return x if number != 1 or self.second_pool is None else self.second_pool(x)

    def stages(self, clips: Tensor) -> list[Tensor]:
        """Features of all stages, [N, C', T', h, w] each."""
        x, outputs = self.stem(clips), []
        for number in range(1, len(self.config.blocks) + 1):
            x = self.run_stage(number, x)
            outputs.append(x)
        return outputs

    def forward(self, clips: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, ``out_channels``, T', h, w]."""
        return self.stages(clips)[-1]


def init_convs3d(model: nn.Module) -> None:
    """Draw the weights of 3D convolutions from the normal distribution of arXiv:1502.01852, eq. 15, with the fan of the
    outputs; the maps of non-local blocks keep theirs."""
    own = {id(conv) for module in model.modules() if isinstance(module, NonLocal) for conv in module.modules()}
    for module in model.modules():
        if isinstance(module, nn.Conv3d) and id(module) not in own and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
