"""Two networks side by side: SlowOnly on frames and PoseC3D on heatmaps of skeletons, with connections both ways.

Source: RGBPose-Conv3D of "Revisiting Skeleton-based Action Recognition" (arXiv:2104.13586), section 3.4 and table 3.
Connections as in SlowFast (arXiv:1812.03982, section 3.3): convolutions over time, strided towards the frames and
transposed towards the heatmaps.

Shapes: N = B*V clips, C channels, T frames of the clip (4 T heatmaps), h x w cells of the feature maps, which are the
same for both: heatmaps have a quarter of the frames' height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidflow.models.backbones.resnet3d import ResNet3D, ResNet3DConfig, init_convs3d


@dataclass(frozen=True, kw_only=True)
class RGBPoseConfig:
    """Everything that decides the parameter shapes except the inputs' channels."""

    rgb_blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    pose_blocks: tuple[int, int, int] = (4, 6, 3)
    rgb_width: int = 64
    pose_width: int = 32
    alpha: int = 4
    """Heatmaps for one frame."""
    fusion_kernel: int = 7
    """Frames that a connection spans, of the heatmaps'."""

    def __post_init__(self) -> None:
        if self.alpha < 1 or self.fusion_kernel < self.alpha or self.fusion_kernel % 2 == 0:
            raise ValueError(
                f"fusion_kernel ({self.fusion_kernel}) must be odd and alpha ({self.alpha}) lie in [1, fusion_kernel]"
            )

    @property
    def to_rgb(self) -> tuple[int, int]:
        """Channels from the heatmaps' first and second stage to the frames' third and fourth."""
        return self.pose_width * 4, self.pose_width * 8

    @property
    def to_pose(self) -> tuple[int, int]:
        """Channels from the frames' second and third stage to the heatmaps' second and third."""
        return self.rgb_width // 2, self.rgb_width

    @property
    def rgb(self) -> ResNet3DConfig:
        """The network of the frames."""
        return ResNet3DConfig(
            block="bottleneck",
            blocks=self.rgb_blocks,
            width=self.rgb_width,
            stem_kernel=(1, 7),
            inflated=(False, False, True, True),
            lateral_channels=(0, 0, *self.to_rgb),
            zero_init=True,
        )

    @property
    def pose(self) -> ResNet3DConfig:
        """The network of the heatmaps."""
        return ResNet3DConfig(
            block="bottleneck",
            blocks=self.pose_blocks,
            width=self.pose_width,
            stem_kernel=(1, 7),
            stem_stride=(1, 1),
            pool_stride=(1, 1),
            inflated=(False, True, True),
            frame_strides=(1, 1, 1),
            pixel_strides=(2, 2, 2),
            non_local_blocks=(False, False, False),
            lateral_channels=(0, *self.to_pose),
            zero_init=True,
        )


class ToPose(nn.Module):
    """One frame's features to those of ``alpha`` heatmaps: [N, C, T, h, w] -> [N, C', alpha T, h, w]."""

    def __init__(self, in_channels: int, out_channels: int, *, alpha: int, kernel: int) -> None:
        super().__init__()
        padding = kernel // 2
        # As many frames come out as alpha times those that go in.
        extra = alpha - kernel + 2 * padding
        self.conv = nn.ConvTranspose3d(
            in_channels,
            out_channels,
            (kernel, 1, 1),
            (alpha, 1, 1),
            (padding, 0, 0),
            output_padding=(extra, 0, 0),
            bias=False,
        )
        self.bn = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> [N, C', alpha T, h, w]."""
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y


class RGBPose(nn.Module):
    """Frames and heatmaps -> features of both.

    Args:
        rgb_channels, pose_channels: C of the frames and of the heatmaps.
        drop_paths: probabilities of leaving the connections towards the frames, and those towards the heatmaps, out of
            a training step (zeros in their place).
    """

    def __init__(
        self,
        config: RGBPoseConfig,
        *,
        rgb_channels: int = 3,
        pose_channels: int = 17,
        drop_paths: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.config, self.drop_paths = config, drop_paths
        self.rgb = ResNet3D(config.rgb, in_channels=rgb_channels)
        self.pose = ResNet3D(config.pose, in_channels=pose_channels)
        kernel, alpha = config.fusion_kernel, config.alpha
        self.to_rgb = nn.ModuleList(
            nn.Conv3d(channels, out, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False)
            for channels, out in zip(config.pose.stage_channels, config.to_rgb, strict=False)
        )
        self.to_pose = nn.ModuleList(
            ToPose(channels, out, alpha=alpha, kernel=kernel)
            for channels, out in zip(config.rgb.stage_channels[1:], config.to_pose, strict=False)
        )
        init_convs3d(self.to_rgb)
        self.out_channels = (self.rgb.out_channels, self.pose.out_channels)

    def forward(self, frames: Tensor, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [N, C, T, H, W] and heatmaps [N, C', alpha T, H/4, W/4] -> [N, D, T, h, w] and [N, D', alpha T, h, w].

        Raises:
            ValueError: their frames or pixels do not fit together.
        """
        alpha = self.config.alpha
        length, *size = frames.shape[2:]
        if heatmaps.shape[2] != alpha * length or any(
            -(-side // 4) != other for side, other in zip(size, heatmaps.shape[3:], strict=True)
        ):
            raise ValueError(
                f"clips of {length} frames of {size[0]}x{size[1]} pixels need {alpha * length} heatmaps of "
                f"{-(-size[0] // 4)}x{-(-size[1] // 4)}, not {heatmaps.shape[2]} of "
                f"{heatmaps.shape[3]}x{heatmaps.shape[4]}"
            )
        rgb = self.rgb.run_stage(1, self.rgb.stem(frames))
        rgb = self.rgb.run_stage(2, rgb)
        pose = self.pose.run_stage(1, self.pose.stem(heatmaps))
        drops = self._drops()
        for number, (to_rgb, to_pose) in enumerate(zip(self.to_rgb, self.to_pose, strict=True)):
            from_pose, from_rgb = to_rgb(pose), to_pose(rgb)
            # Times 0 and not zeros of their own: processes that train together must all have every gradient.
            from_pose = from_pose * 0 if drops[0] else from_pose
            from_rgb = from_rgb * 0 if drops[1] else from_rgb
            rgb = self.rgb.run_stage(3 + number, torch.cat([rgb, from_pose], dim=1))
            pose = self.pose.run_stage(2 + number, torch.cat([pose, from_rgb], dim=1))
        return rgb, pose

    def _drops(self) -> Sequence[bool]:
        if not self.training or not any(self.drop_paths):
            return False, False
        return (torch.rand(2) < torch.tensor(self.drop_paths)).tolist()
