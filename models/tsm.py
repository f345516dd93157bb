"""TSM: a 2D network whose residual branches see some channels of the neighbouring frames.

Source: "TSM: Temporal Shift Module for Efficient Video Understanding" (arXiv:1811.08383), sections 3 and 4: residual
shift in every block (every other one of ResNet-101 and deeper, as in the authors' code), an eighth of the channels
each way. Non-local blocks are those of "Non-local Neural Networks" (arXiv:1711.07971), after every other block of the
second and third stage.

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import dataclass, replace

from torch import nn

from vidflow.models.backbones.mobilenet_v2 import MobileNetV2Config
from vidflow.models.backbones.mobileone import MOBILEONES
from vidflow.models.backbones.resnet import RESNETS, ResNetConfig
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.layers.non_local import FrameNonLocal, NonLocalMode
from vidflow.models.layers.temporal_shift import TemporalShift
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import LIGHT_2D_KEYS, NON_LOCAL_KEYS, RESNET_2D_KEYS


@dataclass(frozen=True, kw_only=True)
class TSMConfig(FrameRecognizerConfig):
    """The shift beside the shared options."""

    shift_div: int = 8
    """1 / part of the channels that is shifted each way."""
    shift_frames: int | None = None
    """Frames that are shifted among each other; None takes all of a clip. Fewer divide the clip into parts that only
    the average over frames joins."""
    non_local: NonLocalMode | None = None
    """Kind of the non-local blocks, of ResNets only; None has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift_div < 2:
            raise ValueError(f"shift_div ({self.shift_div}) must be at least 2")
        if self.shift_frames is not None and self.shift_frames < 1:
            raise ValueError(f"shift_frames ({self.shift_frames}) must be positive")
        if self.non_local is not None and not isinstance(self.backbone, ResNetConfig):
            raise ValueError(f"non_local ({self.non_local!r}) is for ResNets only")


class TSM(FrameRecognizer):
    """2D network with temporal shifts, dropout and linear layer on each frame, average over frames."""

    foreign_keys = RESNET_2D_KEYS + NON_LOCAL_KEYS + LIGHT_2D_KEYS
    foreign_mark = (
        r"(?:backbone|base_model)\.(?:layer1\.0\.conv1\.(?:conv\.)?net\.weight"
        r"|layer2\.1\.conv\.0\.net\.conv\.weight|stage0\.net\..+)"
    )
    param_rule = "tsm_fc_lr5"

    def __init__(self, config: TSMConfig) -> None:
        resnet = config.backbone if isinstance(config.backbone, ResNetConfig) else None
        every = 2 if resnet is not None and resnet.blocks[2] >= 23 else 1

        def shift(stage: int, index: int, channels: int) -> nn.Module | None:
            return TemporalShift(config.shift_div, config.shift_frames) if index % every == 0 else None

        def non_local(stage: int, index: int, channels: int) -> nn.Module | None:
            assert config.non_local is not None
            chosen = stage in (1, 2) and index % 2 == 0
            return FrameNonLocal(channels, mode=config.non_local) if chosen else None

        hooks = {"after_block": non_local} if config.non_local else {}
        backbone = config.build_backbone(before_block=shift, **hooks)
        head = ConsensusHead(
            config.backbone.out_channels, config.num_classes, average="scores", dropout=config.dropout, init_std=0.001
        )
        super().__init__(config, backbone, head)


_R50 = RESNETS["50"]
# "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "tsm-tiny": TSMConfig(backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), dropout=0.2),
    **{f"tsm-r{depth}": TSMConfig(backbone=RESNETS[depth]) for depth in ("18", "34", "50", "101", "152")},
    "tsm-r50-nl-embedded-gaussian": TSMConfig(backbone=_R50, non_local="embedded_gaussian"),
    "tsm-r50-nl-dot-product": TSMConfig(backbone=_R50, non_local="dot_product"),
    "tsm-r50-nl-gaussian": TSMConfig(backbone=_R50, non_local="gaussian"),
    "tsm-mobilenetv2": TSMConfig(backbone=MobileNetV2Config()),
    "tsm-mobileone-s4": TSMConfig(backbone=MOBILEONES["s4"]),
    "tsm-mobileone-s4-deploy": TSMConfig(backbone=replace(MOBILEONES["s4"], deploy=True)),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TSM)
