"""TSM: a 2D ResNet whose residual branches see some channels of the neighbouring frames.

Source: "TSM: Temporal Shift Module for Efficient Video Understanding" (arXiv:1811.08383), sections 3 and 4: residual
shift in every block (every other one of ResNet-101 and deeper, as in the authors' code), an eighth of the channels
each way.

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import dataclass

from torch import nn

from vidflow.models.backbones.resnet import RESNETS, ResNet, ResNetConfig
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.layers.temporal_shift import TemporalShift
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS


@dataclass(frozen=True, kw_only=True)
class TSMConfig(FrameRecognizerConfig):
    """The shift beside the shared options."""

    shift_div: int = 8
    """1 / part of the channels that is shifted each way."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift_div < 2:
            raise ValueError(f"shift_div ({self.shift_div}) must be at least 2")


class TSM(FrameRecognizer):
    """2D ResNet with temporal shifts, dropout and linear layer on each frame, average over frames."""

    foreign_keys = RESNET_2D_KEYS
    foreign_mark = r"(?:backbone|base_model)\.layer1\.0\.conv1\.(?:conv\.)?net\.weight"
    param_rule = "tsm_fc_lr5"

    def __init__(self, config: TSMConfig) -> None:
        every = 2 if config.backbone.blocks[2] >= 23 else 1

        def shift(stage: int, index: int, channels: int) -> nn.Module | None:
            return TemporalShift(config.shift_div) if index % every == 0 else None

        backbone = ResNet(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            partial_bn=config.partial_bn,
            before_block=shift,
        )
        head = ConsensusHead(
            backbone.out_channels, config.num_classes, average="scores", dropout=config.dropout, init_std=0.001
        )
        super().__init__(config, backbone, head)


# "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "tsm-tiny": TSMConfig(backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), dropout=0.2),
    **{f"tsm-r{depth}": TSMConfig(backbone=RESNETS[depth]) for depth in ("18", "34", "50", "101", "152")},
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TSM)
