"""TRN: relations between the features of 2 to T frames.

Source: "Temporal Relational Reasoning in Videos" (arXiv:1711.08496), section 3, with a ResNet instead of BN-Inception.

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import dataclass

from vidflow.models.backbones.resnet import RESNETS, ResNetConfig
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.relation import RelationHead
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS, TRN_KEYS


@dataclass(frozen=True, kw_only=True)
class TRNConfig(FrameRecognizerConfig):
    """The number of frames beside the shared options."""

    num_frames: int = 8
    """T, on which the relations depend; there are T - 1 kinds of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_frames < 2:
            raise ValueError(f"num_frames ({self.num_frames}) must be at least 2")


class TRN(FrameRecognizer):
    """2D ResNet, dropout, and small networks on tuples of frames whose scores are added."""

    foreign_keys = TRN_KEYS + RESNET_2D_KEYS
    foreign_mark = r"cls_head\.consensus\.fc_fusion_scales\.0\.1\.weight"
    option_shapes = FrameRecognizer.option_shapes | {"num_classes": ("head.relations.0.3.bias", 0)}
    param_rule = "tsm"

    def __init__(self, config: TRNConfig) -> None:
        head = RelationHead(
            config.backbone.out_channels, config.num_classes, num_frames=config.num_frames, dropout=config.dropout
        )
        super().__init__(config, config.build_backbone(), head)


# Partial BatchNorm is the published training's; "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "trn-tiny": TRNConfig(
        backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), num_frames=4, dropout=0.2
    ),
    "trn-r50": TRNConfig(backbone=RESNETS["50"], dropout=0.8, partial_bn=True),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TRN)
