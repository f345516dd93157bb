"""UniFormer: convolutions for what is near, attention for what is far.

Source: "UniFormer: Unified Transformer for Efficient Spatiotemporal Representation Learning" (arXiv:2201.04676). Drop
path 0.1 and 0.3 of S and B as in the authors' Kinetics-400 settings (appendix A there).

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.uniformer import UNIFORMERS, UniFormer, UniFormerSize
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.registry import MODELS
from vidflow.models.video_transformer import TransformerConfig
from vidflow.models.weights.inflation import inflate


@dataclass(frozen=True, kw_only=True)
class UniFormerConfig(TransformerConfig):
    """The backbone beside the shared options."""

    backbone: UniFormerSize
    dropout: float = 0.0


class UniFormerRecognizer(ClipRecognizer):
    """UniFormer, average over space and time, dropout, linear layer.

    Image weights of UniFormer (Sense-X/UniFormer) are accepted: their filters are repeated over time.
    """

    foreign_keys = (
        (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
        # The classifier of images.
        (r"head\.(weight|bias)", r"image_head.\1"),
    )
    foreign_mark = r"backbone\.blocks1\.0\.pos_embed\.weight"
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.patch_embed1.proj.weight", 1),
    }
    param_rule = "no_norm_bias_decay"

    def __init__(self, config: UniFormerConfig) -> None:
        backbone = UniFormer(
            config.backbone,
            in_channels=config.in_channels,
            drop_path=config.drop_path,
            recompute=config.activation_checkpointing,
        )
        head = FeatureHead(backbone.out_channels, config.num_classes, dropout=config.dropout, init_std=0.01)
        super().__init__(config, backbone, head)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``Recognizer.adapt_weights``."""
        return inflate(tensors, self.state_dict())


VARIANTS = {
    # Ours, for small frames on a CPU.
    "uniformer-tiny": UniFormerConfig(
        backbone=UniFormerSize(depths=(1, 1, 1, 1), widths=(16, 24, 32, 48), head_channels=16)
    ),
    "uniformer-small": UniFormerConfig(backbone=UNIFORMERS["small"], drop_path=0.1),
    "uniformer-base": UniFormerConfig(backbone=UNIFORMERS["base"], drop_path=0.3),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, UniFormerRecognizer)
