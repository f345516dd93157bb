"""TIN: a 2D ResNet whose residual branches see channels moved along time by learned distances.

Source: "Temporal Interlacing Network" (arXiv:2001.06499), section 3: interlacing of a quarter of the channels at the
entry of every block's residual branch, and TSM's head.

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import dataclass

from torch import nn

from vidflow.models.backbones.resnet import RESNETS, ResNetConfig
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.layers.temporal_interlace import TemporalInterlace
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS, TIN_KEYS


@dataclass(frozen=True, kw_only=True)
class TINConfig(FrameRecognizerConfig):
    """The interlacing beside the shared options."""

    num_frames: int = 8
    """T, on which some of the parameters' shapes depend."""
    shift_div: int = 4
    """1 / part of the channels that is moved."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_frames", "shift_div"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be positive")


class TIN(FrameRecognizer):
    """2D ResNet with temporal interlacing, dropout and linear layer on each frame, average over frames."""

    foreign_keys = TIN_KEYS + RESNET_2D_KEYS
    option_shapes = FrameRecognizer.option_shapes | {
        "num_frames": ("backbone.layer1.0.before.distance_fc1.bias", 0),
    }
    param_rule = "tsm_fc_lr5"

    def __init__(self, config: TINConfig) -> None:
        def interlace(stage: int, index: int, channels: int) -> nn.Module:
            return TemporalInterlace(channels, config.num_frames, config.shift_div)

        backbone = config.build_backbone(before_block=interlace)
        head = ConsensusHead(
            config.backbone.out_channels, config.num_classes, average="scores", dropout=config.dropout, init_std=0.001
        )
        super().__init__(config, backbone, head)


# "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "tin-tiny": TINConfig(
        backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), num_frames=4, dropout=0.2
    ),
    "tin-r50": TINConfig(backbone=RESNETS["50"]),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TIN)
