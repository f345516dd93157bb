"""What the families with one 3D ResNet share: I3D, SlowOnly, R(2+1)D and CSN differ by its options alone.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.resnet3d import ResNet3D, ResNet3DConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.recognizer import RecognizerConfig, added_parts
from vidflow.models.weights.inflation import inflate
from vidflow.models.weights.keys import RESNET_3D_KEYS


@dataclass(frozen=True, kw_only=True)
class FreezingConfig(RecognizerConfig):
    """What stays as it is in training, of backbones that are ``vidflow.models.layers.freezing.Freezable``."""

    frozen_stages: int = -1
    """-1 none, 0 the first convolution, k also stages 1..k of the backbone stay as they are."""
    norm_eval: bool = False
    """BatchNorm keeps its stored statistics in training."""
    norm_frozen: bool = False
    """BatchNorm keeps its stored statistics and weights in training."""
    activation_checkpointing: bool = False
    """Compute the blocks' activations again in the backward pass: less memory, about a third more time."""


@dataclass(frozen=True, kw_only=True)
class ResNet3DRecognizerConfig(FreezingConfig):
    """Options of one family's variant."""

    backbone: ResNet3DConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = len(self.backbone.blocks)
        if not -1 <= self.frozen_stages <= stages:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, {stages}]")


class ResNet3DRecognizer(ClipRecognizer):
    """3D ResNet, average over the whole clip, dropout, linear layer."""

    foreign_keys = RESNET_3D_KEYS
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1.weight", 1),
    }

    def __init__(self, config: ResNet3DRecognizerConfig) -> None:
        backbone = ResNet3D(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            norm_frozen=config.norm_frozen,
        )
        head = FeatureHead(backbone.out_channels, config.num_classes, dropout=config.dropout, init_std=0.01)
        super().__init__(config, backbone, head)
        self.fresh_prefixes = added_parts(self)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of images, inflated in time."""
        return inflate(tensors, self.state_dict())
