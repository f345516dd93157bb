"""Video Swin: a transformer with attention inside shifted windows of space and time.

Source: "Video Swin Transformer" (arXiv:2106.13230). Training settings from section 4.1: drop path 0.1, 0.2, 0.3 for
T, S and B; 0.4 for L in MMAction2's configs.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.swin3d import SWINS, Swin3d, Swin3dConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.registry import MODELS
from vidflow.models.video_transformer import TransformerConfig
from vidflow.models.weights.inflation import inflate

# Tables that follow from the window's size: other projects store them beside the weights.
_DERIVED = re.compile(r".*\.(relative_position_index|attn_mask)")


@dataclass(frozen=True, kw_only=True)
class SwinConfig(TransformerConfig):
    """The backbone beside the shared options."""

    backbone: Swin3dConfig


class Swin(ClipRecognizer):
    """Video Swin, average over space and time, dropout, linear layer.

    Image weights of Swin (microsoft/Swin-Transformer) are accepted: patches are repeated over time and divided by their
    number, position tables repeated for every offset in time (arXiv:2106.13230, section 3.3).
    """

    foreign_keys = (
        (r"backbone\.norm3\.(\w+)", r"backbone.norm.\1"),
        (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
        # The classifier of images.
        (r"head\.(weight|bias)", r"image_head.\1"),
    )
    foreign_mark = r"backbone\.layers\.0\.blocks\.0\.attn\.relative_position_bias_table"
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.patch_embed.proj.weight", 1),
    }
    param_rule = "swin"

    def __init__(self, config: SwinConfig) -> None:
        backbone = Swin3d(
            config.backbone,
            in_channels=config.in_channels,
            drop_path=config.drop_path,
            recompute=config.activation_checkpointing,
        )
        head = FeatureHead(backbone.out_channels, config.num_classes, dropout=config.dropout, init_std=0.01)
        super().__init__(config, backbone, head)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``Recognizer.adapt_weights``."""
        own = self.state_dict()
        learned = {name: tensor for name, tensor in tensors.items() if not _DERIVED.fullmatch(name)}
        return {
            name: repeat_table(tensor, len(own[name])) if name in own and name.endswith("bias_table") else tensor
            for name, tensor in inflate(learned, own).items()
        }


def repeat_table(table: Tensor, num_rows: int) -> Tensor:
    """A bias table of image windows, [(2h-1)(2w-1), heads], once for each offset in time; others as they are."""
    repeats, rest = divmod(num_rows, len(table))
    return table if rest or repeats < 2 else table.repeat(repeats, 1)


VARIANTS = {
    # Ours, for small frames on a CPU.
    "swin-demo": SwinConfig(
        backbone=Swin3dConfig(width=24, blocks=(1, 2), heads=(2, 4), window=(4, 4, 4)), dropout=0.2
    ),
    **{
        f"swin-{size}": SwinConfig(backbone=SWINS[size], drop_path=rate)
        for size, rate in (("tiny", 0.1), ("small", 0.2), ("base", 0.3), ("large", 0.4))
    },
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, Swin)
