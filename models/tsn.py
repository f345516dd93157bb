"""TSN: one frame from each of T segments of a video, their features averaged.

Source: "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition" (arXiv:1608.00859), eq. 1 with
the average as consensus. Differs from the paper: newer backbones instead of BN-Inception, RGB frames by default
(``in_channels`` takes flow).

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import replace

from torch import Tensor

from vidflow.models.backbones.densenet import DENSENETS
from vidflow.models.backbones.mobileone import MOBILEONES
from vidflow.models.backbones.resnet import RESNETS, ResNetConfig
from vidflow.models.backbones.swin2d import SWINS, Swin2DConfig, with_current_names
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import LIGHT_2D_KEYS, RESNET_2D_KEYS


class TSN(FrameRecognizer):
    """2D backbone, average over frames, dropout, linear layer."""

    foreign_keys = RESNET_2D_KEYS + LIGHT_2D_KEYS
    param_rule = "default"

    def __init__(self, config: FrameRecognizerConfig) -> None:
        backbone = config.build_backbone()
        head = ConsensusHead(
            config.backbone.out_channels, config.num_classes, average="features", dropout=config.dropout, init_std=0.01
        )
        super().__init__(config, backbone, head)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Older files of Swin name its layers otherwise."""
        if isinstance(self.config.backbone, Swin2DConfig):
            return with_current_names(tensors)
        return tensors


# Dropout 0.4 is that of MMAction2's Kinetics-400 configs; "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "tsn-tiny": FrameRecognizerConfig(
        backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), dropout=0.2
    ),
    **{f"tsn-r{depth}": FrameRecognizerConfig(backbone=config, dropout=0.4) for depth, config in RESNETS.items()},
    "tsn-dense161": FrameRecognizerConfig(backbone=DENSENETS["161"], dropout=0.4),
    "tsn-swin-b": FrameRecognizerConfig(backbone=SWINS["b"], dropout=0.4),
    "tsn-mobileone-s4": FrameRecognizerConfig(backbone=MOBILEONES["s4"], dropout=0.4),
    "tsn-mobileone-s4-deploy": FrameRecognizerConfig(backbone=replace(MOBILEONES["s4"], deploy=True), dropout=0.4),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TSN)
