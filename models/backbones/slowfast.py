"""SlowFast: a slow pathway of few frames and many channels, fed by a fast one of many frames and few channels.

Source: "SlowFast Networks for Video Recognition" (arXiv:1812.03982), sections 3 and 4.1, table 1; the lateral
connections are the time-strided convolutions of section 3.3. Both pathways take their frames from one clip.

Shapes: N = B*V clips, C channels, T frames, H x W pixels, h x w cells of the feature map.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidflow.models.backbones.resnet3d import ResNet3D, ResNet3DConfig, init_convs3d
from vidflow.models.layers.conv3d import Conv3d
from vidflow.models.layers.freezing import Freezable


@dataclass(frozen=True, kw_only=True)
class SlowFastConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    slow_blocks: tuple[int, int, int, int]
    """Blocks of each stage of the slow pathway."""
    fast_blocks: tuple[int, int, int, int]
    width: int = 64
    """Channels after the slow pathway's first convolution."""
    slow_step: int
    """Frames of the clip for one of the slow pathway."""
    alpha: int
    """Frames of the fast pathway for one of the slow one."""
    channel_ratio: int = 8
    """Channels of the slow pathway for one of the fast one (1 / beta of the paper)."""
    fusion_kernel: int = 5
    """Frames that a lateral convolution spans."""
    lateral_norm: bool = False
    """BatchNorm and ReLU after the lateral convolutions."""

    def __post_init__(self) -> None:
        if self.slow_step % self.alpha:
            raise ValueError(f"slow_step ({self.slow_step}) must be a multiple of alpha ({self.alpha})")

    @property
    def fast(self) -> ResNet3DConfig:
        """The fast pathway; every block spans time."""
        return ResNet3DConfig(
            block="bottleneck",
            blocks=self.fast_blocks,
            width=self.width // self.channel_ratio,
            stem_kernel=(5, 7),
            zero_init=True,
        )

    @property
    def slow(self) -> ResNet3DConfig:
        """The slow pathway, whose stages take twice the fast pathway's channels beside their own."""
        fast = self.fast
        return ResNet3DConfig(
            block="bottleneck",
            blocks=self.slow_blocks,
            width=self.width,
            stem_kernel=(1, 7),
            inflated=(False, False, True, True),
            lateral_channels=tuple(2 * channels for channels in (fast.width, *fast.stage_channels[:-1])),
            zero_init=True,
        )


class SlowFast(Freezable):
    """Clips [N, C, T, H, W] -> features of both pathways, the slow one's first.

    Args:
        in_channels: C.
        frozen_stages: of both pathways with what connects them, see ``Freezable``, as ``norm_eval`` and
            ``norm_frozen``.
    """

    recomputes = True

    def __init__(
        self,
        config: SlowFastConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_frozen: bool = False,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, norm_frozen=norm_frozen)
        self.config = config
        self.slow = ResNet3D(config.slow, in_channels=in_channels)
        self.fast = ResNet3D(config.fast, in_channels=in_channels)
        self.out_channels = self.slow.out_channels + self.fast.out_channels
        self.laterals = nn.ModuleList(
            self._lateral(channels) for channels in (config.fast.width, *config.fast.stage_channels[:-1])
        )
        init_convs3d(self.laterals)
        self.freeze()

    def parts(self) -> list[list[nn.Module]]:
        """Of both pathways, each with the lateral connection that it feeds."""
        pathways = zip(self.slow.parts(), self.fast.parts(), [*self.laterals, None], strict=True)
        return [[*slow, *fast, *([lateral] if lateral else [])] for slow, fast, lateral in pathways]

    def _lateral(self, channels: int) -> nn.Sequential:
        """From the fast pathway to the slow one: alpha frames to one, twice the channels."""
        config = self.config
        frames = config.fusion_kernel
        conv = Conv3d(channels, 2 * channels, (frames, 1, 1), (config.alpha, 1, 1), (frames // 2, 0, 0), bias=False)
        if not config.lateral_norm:
            return nn.Sequential(conv)
        return nn.Sequential(conv, nn.BatchNorm3d(2 * channels), nn.ReLU(inplace=True))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, T, H, W] -> [N, ``slow.out_channels``, T', h, w] and [N, ``fast.out_channels``, T'', h, w].

        Raises:
            ValueError: T is no multiple of ``slow_step``.
        """
        step = self.config.slow_step
        if clips.shape[2] % step:
            raise ValueError(f"clips of {clips.shape[2]} frames: the number must be a multiple of {step}")
        slow = self.slow.stem(clips[:, :, ::step])
        fast = self.fast.stem(clips[:, :, :: step // self.config.alpha])
        for number, lateral in enumerate(self.laterals, start=1):
            slow = self.slow.run_stage(number, torch.cat([slow, lateral(fast)], dim=1))
            fast = self.fast.run_stage(number, fast)
        return slow, fast
