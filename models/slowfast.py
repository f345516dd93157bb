"""SlowFast networks.

Source: "SlowFast Networks for Video Recognition" (arXiv:1812.03982). Names give the frames and the step of the slow
pathway: 4x16 and 8x8 read the same clip of 32 frames, 2 source frames apart. As in MMAction2, 8x8 has lateral
convolutions over 7 frames instead of the paper's 5.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from vidflow.models.backbones.slowfast import SlowFast as Backbone
from vidflow.models.backbones.slowfast import SlowFastConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.pathways import PathwayHead
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import FreezingConfig
from vidflow.models.weights.keys import pathway_keys

_PATH = r"backbone\.(slow|fast)_path\."


@dataclass(frozen=True, kw_only=True)
class SlowFastRecognizerConfig(FreezingConfig):
    """Options of one variant."""

    backbone: SlowFastConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.frozen_stages <= 4:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, 4]")


class SlowFast(ClipRecognizer):
    """Both pathways, the average of each over its clip, dropout, linear layer."""

    foreign_keys = (
        *pathway_keys(_PATH),
        (r"backbone\.slow_path\.conv1_lateral\.conv\.(\w+)", r"backbone.laterals.0.0.\1"),
        (r"backbone\.slow_path\.conv1_lateral\.bn\.(\w+)", r"backbone.laterals.0.1.\1"),
        (r"backbone\.slow_path\.layer(\d)_lateral\.conv\.(\w+)", r"backbone.laterals.\1.0.\2"),
        (r"backbone\.slow_path\.layer(\d)_lateral\.bn\.(\w+)", r"backbone.laterals.\1.1.\2"),
        (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.slow.conv1.weight", 1),
    }

    def __init__(self, config: SlowFastRecognizerConfig) -> None:
        backbone = Backbone(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            norm_frozen=config.norm_frozen,
        )
        head = PathwayHead(backbone.out_channels, config.num_classes, dropout=config.dropout, init_std=0.01)
        super().__init__(config, backbone, head)


R50, R101 = (3, 4, 6, 3), (3, 4, 23, 3)
SLOW_4X16 = SlowFastConfig(slow_blocks=R50, fast_blocks=R50, slow_step=8, alpha=8)
SLOW_8X8 = SlowFastConfig(slow_blocks=R50, fast_blocks=R50, slow_step=4, alpha=4, fusion_kernel=7)

# arXiv:1812.03982, tables 1 and 2; "lateral-norm" is MMAction2's config "8x8x1-steplr"; in "r101-r50" only the slow
# pathway has 101 layers; "tiny" is ours, for small clips of 8 frames on a CPU.
VARIANTS = {
    "slowfast-tiny": SlowFastConfig(
        slow_blocks=(1, 1, 1, 1), fast_blocks=(1, 1, 1, 1), width=16, channel_ratio=4, slow_step=4, alpha=4
    ),
    "slowfast-r50-4x16": SLOW_4X16,
    "slowfast-r50-8x8": SLOW_8X8,
    "slowfast-r50-8x8-lateral-norm": replace(SLOW_8X8, lateral_norm=True),
    "slowfast-r101-8x8": replace(SLOW_8X8, slow_blocks=R101, fast_blocks=R101),
    "slowfast-r101-r50-4x16": replace(SLOW_4X16, slow_blocks=R101),
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, SlowFastRecognizerConfig(backbone=_backbone), SlowFast)
