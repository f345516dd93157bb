"""UniFormerV2: an image model of CLIP that learnt to gather clips.

Source: "UniFormerV2: Spatiotemporal Learning by Arming Image ViTs with Video UniFormer" (arXiv:2211.09552).

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.clip import refit_positions
from vidflow.models.backbones.uniformer_v2 import UniFormerV2, UniFormerV2Config
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.linear import LinearHead
from vidflow.models.recognizer import RecognizerConfig
from vidflow.models.registry import MODELS
from vidflow.models.weights.inflation import inflate
from vidflow.models.weights.keys import UNIFORMER_V2_KEYS


@dataclass(frozen=True, kw_only=True)
class UniFormerV2RecognizerConfig(RecognizerConfig):
    """The backbone and its regularisation beside the shared options."""

    backbone: UniFormerV2Config
    dropout: float = 0.5
    drop_path: float = 0.0
    """Rate of the last layer of the image transformer; it rises from 0."""
    global_dropout: float = 0.5
    """Inside the feed-forward parts of the global blocks."""
    global_drop_path: float = 0.0
    """Rate of the last global block; it rises from 0."""
    activation_checkpointing: bool = False
    """Blocks compute their activations again in the backward pass instead of keeping them."""


class UniFormerV2Recognizer(ClipRecognizer):
    """UniFormerV2, dropout and linear layer."""

    foreign_keys = UNIFORMER_V2_KEYS
    foreign_scopes: ClassVar[dict[str, str]] = {"clip": "visual."}
    fresh_prefixes = tuple(
        f"backbone.transformer.{part}" for part in ("temporal_cls_token", "dpe.", "dec.", "norm.", "balance")
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1.weight", 1),
    }

    def __init__(self, config: UniFormerV2RecognizerConfig) -> None:
        backbone = UniFormerV2(
            config.backbone,
            in_channels=config.in_channels,
            drop_path=config.drop_path,
            global_dropout=config.global_dropout,
            global_drop_path=config.global_drop_path,
            recompute=config.activation_checkpointing,
        )
        head = LinearHead(backbone.out_channels, config.num_classes, dropout=config.dropout)
        super().__init__(config, backbone, head)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a file by our names: convolutions of pictures become ones of single frames, and positions fit
        this model's frames."""
        adapted = inflate(tensors, self.state_dict())
        positions = "backbone.positional_embedding"
        if positions in tensors:
            adapted[positions] = refit_positions(
                tensors[positions], self.backbone.get_parameter("positional_embedding")
            )
        return adapted


# arXiv:2103.00020, table 20; "tiny" is ours, for small frames on a CPU.
_L14 = UniFormerV2Config(width=1024, depth=24, heads=16, patch=14)
VARIANTS = {
    "uniformerv2-tiny": UniFormerV2RecognizerConfig(
        backbone=UniFormerV2Config(width=48, depth=3, heads=3, patch=8, size=32, num_global=2)
    ),
    "uniformerv2-b16": UniFormerV2RecognizerConfig(backbone=UniFormerV2Config(width=768, depth=12, heads=12, patch=16)),
    "uniformerv2-l14": UniFormerV2RecognizerConfig(backbone=_L14),
    "uniformerv2-l14-336": UniFormerV2RecognizerConfig(backbone=replace(_L14, size=336)),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, UniFormerV2Recognizer)
