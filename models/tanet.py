"""TANet: a 2D ResNet whose blocks filter their channels along time by kernels that the clip decides.

Source: "TAM: Temporal Adaptive Module for Video Recognition" (arXiv:2005.06803), sections 3 and 4: a module after the
first convolution of every bottleneck, and TSM's head.

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import dataclass

from torch import nn

from vidflow.models.backbones.resnet import RESNETS, ResNetConfig
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.layers.temporal_adaptive import TemporalAdaptive
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS, TANET_KEYS


@dataclass(frozen=True, kw_only=True)
class TANetConfig(FrameRecognizerConfig):
    """The number of frames beside the shared options."""

    num_frames: int = 8
    """T, on which some of the parameters' shapes depend."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_frames < 3:
            raise ValueError(f"num_frames ({self.num_frames}) must be at least 3, the length of the kernels")


class TANet(FrameRecognizer):
    """2D ResNet with temporal adaptive modules, dropout and linear layer on each frame, average over frames."""

    foreign_keys = TANET_KEYS + RESNET_2D_KEYS
    option_shapes = FrameRecognizer.option_shapes | {
        "num_frames": ("backbone.layer1.0.inside.kernel.0.weight", 1),
    }
    param_rule = "tsm_fc_lr5"

    def __init__(self, config: TANetConfig) -> None:
        def adapt(stage: int, index: int, channels: int) -> nn.Module:
            return TemporalAdaptive(channels, config.num_frames)

        backbone = config.build_backbone(inside_block=adapt)
        head = ConsensusHead(
            config.backbone.out_channels, config.num_classes, average="scores", dropout=config.dropout, init_std=0.001
        )
        super().__init__(config, backbone, head)


# "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "tanet-tiny": TANetConfig(
        backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), num_frames=4, dropout=0.2
    ),
    "tanet-r50": TANetConfig(backbone=RESNETS["50"]),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TANet)
