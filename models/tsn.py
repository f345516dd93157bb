"""TSN: one frame from each of T segments of a video, their features averaged.

Source: "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition" (arXiv:1608.00859), eq. 1 with
the average as consensus. Differs from the paper: ResNet instead of BN-Inception, RGB frames by default
(``in_channels`` takes flow).

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from vidflow.models.backbones.resnet import RESNETS, ResNet, ResNetConfig
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS


class TSN(FrameRecognizer):
    """2D ResNet, average over frames, dropout, linear layer."""

    foreign_keys = RESNET_2D_KEYS
    param_rule = "default"

    def __init__(self, config: FrameRecognizerConfig) -> None:
        backbone = ResNet(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            partial_bn=config.partial_bn,
        )
        head = ConsensusHead(
            backbone.out_channels, config.num_classes, average="features", dropout=config.dropout, init_std=0.01
        )
        super().__init__(config, backbone, head)


# Dropout 0.4 is that of MMAction2's Kinetics-400 configs; "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "tsn-tiny": FrameRecognizerConfig(
        backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), dropout=0.2
    ),
    **{f"tsn-r{depth}": FrameRecognizerConfig(backbone=config, dropout=0.4) for depth, config in RESNETS.items()},
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TSN)
