"""The task model of 2D recognizers: frames through a backbone, clips through a head.

Shapes: B samples, V views, C channels, T frames, H x W pixels, K classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidflow.models.backbones.frames import FrameBackboneConfig, build_frame_backbone
from vidflow.models.backbones.resnet import ResNet, ResNetConfig
from vidflow.models.recognizer import Recognizer, RecognizerConfig, added_parts


@dataclass(frozen=True, kw_only=True)
class FrameRecognizerConfig(RecognizerConfig):
    """Options that the 2D families share beside those of every recognizer."""

    backbone: FrameBackboneConfig
    frozen_stages: int = -1
    """-1 none, 0 the first convolution, k also stages 1..k of the backbone stay as they are."""
    norm_eval: bool = False
    """BatchNorm keeps its stored statistics in training."""
    partial_bn: bool = False
    """All BatchNorm layers but the first keep their stored statistics and weights."""
    activation_checkpointing: bool = False
    """Compute the blocks' activations again in the backward pass: less memory, about a third more time; of ResNets
    only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation_checkpointing and not isinstance(self.backbone, ResNetConfig):
            raise ValueError(f"activation_checkpointing is for ResNets, not {type(self.backbone).__name__}")
        if not -1 <= self.frozen_stages <= self.backbone.num_stages:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, {self.backbone.num_stages}]")

    def build_backbone(self, **hooks: Any) -> nn.Module:
        """The backbone with these options; ``hooks`` are the family's modules that mix frames."""
        backbone = build_frame_backbone(
            self.backbone,
            in_channels=self.in_channels,
            frozen_stages=self.frozen_stages,
            norm_eval=self.norm_eval,
            partial_bn=self.partial_bn,
            **hooks,
        )
        if self.activation_checkpointing:
            assert isinstance(backbone, ResNet)
            backbone.recompute_blocks()
        return backbone


def fold_frames(clips: Tensor, *, channels_last: bool) -> Tensor:
    """Clips [B, V, C, T, H, W] -> frames [B*V*T, C, H, W], with one copy at most.

    Args:
        channels_last: memory layout of the frames.
    """
    _, _, C, _, H, W = clips.shape
    if channels_last:
        return clips.permute(0, 1, 3, 4, 5, 2).reshape(-1, H, W, C).permute(0, 3, 1, 2)
    return clips.transpose(2, 3).reshape(-1, C, H, W)


class FrameRecognizer(Recognizer):
    """Classifies clips frame by frame; only the backbone's hooks and the head's average join the frames.

    Args:
        backbone: called as ``backbone(frames [N, C, H, W], T)``, gives [N, D, h, w].
        head: called as ``head(features [N, D, h, w], T)``, gives [N / T, K].
    """

    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1.weight", 1),
    }

    def __init__(self, config: FrameRecognizerConfig, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__(config)
        self.backbone, self.head = backbone, head
        self.fresh_prefixes = added_parts(self)

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: clips of another shape.
        """
        self.check_clips(clips)
        num_frames = clips.shape[3]
        weight = next(self.backbone.parameters())
        channels_last = (
            weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        )
        features = self.backbone(fold_frames(clips, channels_last=channels_last), num_frames)
        return self.head(features, num_frames).unflatten(0, clips.shape[:2])  # [B*V, K] -> [B, V, K]
