"""MViTv2: a multiscale vision transformer on clips.

Source: "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection" (arXiv:2112.01526). The
variant "mvit-small-maskfeat" is the one that is fine-tuned from MaskFeat (arXiv:2112.09133): channels grow in the MLP.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.mvit import MVITS, MViT, MViTSize, resize_table
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.linear import LinearHead
from vidflow.models.registry import MODELS
from vidflow.models.video_transformer import TransformerConfig

MVIT_KEYS = (
    (r"backbone\.patch_embed\.projection\.(\w+)", r"backbone.patch_embed.proj.\1"),
    (r"backbone\.norm[23]\.(\w+)", r"backbone.norm.\1"),  # 2 in MMPretrain's MaskFeat, which halves twice
    (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
)


@dataclass(frozen=True, kw_only=True)
class MViTConfig(TransformerConfig):
    """The backbone beside the shared options."""

    backbone: MViTSize
    num_frames: int = 16
    """T of the clips, for the position tables."""
    image_size: int = 224
    """Height and width of the clips in pixels, for the position tables."""
    widen_in_attention: bool = True
    """Channels grow in the attention of a downscaling block, or in the MLP before it."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 4 * 2 ** len(self.backbone.downscale)
        if self.num_frames < 2 or self.image_size < least:
            raise ValueError(
                f"num_frames ({self.num_frames}) must be at least 2 and image_size ({self.image_size}) {least}"
            )


class MViTRecognizer(ClipRecognizer):
    """MViTv2, class token, dropout, linear layer."""

    foreign_keys = MVIT_KEYS
    foreign_mark = r"backbone\.blocks\.0\.attn\.rel_pos_t"
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.patch_embed.proj.weight", 1),
    }
    param_rule = "no_norm_bias_decay"

    def __init__(self, config: MViTConfig) -> None:
        backbone = MViT(
            config.backbone,
            num_frames=config.num_frames,
            image_size=config.image_size,
            in_channels=config.in_channels,
            widen_in_attention=config.widen_in_attention,
            drop_path=config.drop_path,
            recompute=config.activation_checkpointing,
        )
        head = LinearHead(backbone.out_channels, config.num_classes, dropout=config.dropout)
        super().__init__(config, backbone, head)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``Recognizer.adapt_weights``: position tables are linearly interpolated to the model's lengths."""
        own = self.state_dict()
        return {
            name: resize_table(tensor, len(own[name])) if name in own and ".rel_pos_" in name else tensor
            for name, tensor in tensors.items()
        }


VARIANTS = {
    # Ours, for small frames on a CPU.
    "mvit-tiny": MViTConfig(
        backbone=MViTSize(width=24, depth=3, heads=1, downscale=(1,), kv_stride=2), num_frames=8, image_size=32
    ),
    "mvit-small": MViTConfig(backbone=MVITS["small"], drop_path=0.2),
    "mvit-small-maskfeat": MViTConfig(backbone=MVITS["small"], drop_path=0.1, widen_in_attention=False),
    "mvit-base": MViTConfig(backbone=MVITS["base"], drop_path=0.3, num_frames=32),
    "mvit-large": MViTConfig(backbone=MVITS["large"], drop_path=0.75, num_frames=40, image_size=312),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, MViTRecognizer)
