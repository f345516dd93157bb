"""VideoMAE, VideoMAE V2 and UMT, fine-tuned: a plain video transformer and a linear layer.

Sources: "VideoMAE" (arXiv:2203.12602), "VideoMAE V2" (arXiv:2303.16727) and "Unmasked Teacher" (arXiv:2303.16058). The
three differ by what they were pre-trained on; as classifiers VideoMAE and VideoMAE V2 are one architecture (hence
"videomae" for both), and UMT's tubes are one frame long. Their masked pre-training is not here.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.vit_video import VIDEO_VITS, VideoViT, VideoViTConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.linear import LinearHead
from vidflow.models.recognizer import RecognizerConfig
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import VIDEO_VIT_KEYS


@dataclass(frozen=True, kw_only=True)
class VideoViTRecognizerConfig(RecognizerConfig):
    """The backbone and its drop path beside the shared options."""

    backbone: VideoViTConfig
    dropout: float = 0.0
    drop_path: float = 0.0
    """Rate of the last block; it rises from 0 at the first."""
    activation_checkpointing: bool = False
    """Blocks compute their activations again in the backward pass instead of keeping them."""


class VideoViTRecognizer(ClipRecognizer):
    """Video transformer, mean over tubes, dropout and linear layer."""

    foreign_keys = VIDEO_VIT_KEYS
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.patch_embed.proj.weight", 1),
    }

    def __init__(self, config: VideoViTRecognizerConfig) -> None:
        backbone = VideoViT(
            config.backbone,
            in_channels=config.in_channels,
            drop_path=config.drop_path,
            recompute=config.activation_checkpointing,
        )
        head = LinearHead(backbone.out_channels, config.num_classes, dropout=config.dropout)
        super().__init__(config, backbone, head)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a file by our names, without the fixed position tables that some projects store."""
        return {name: tensor for name, tensor in tensors.items() if name.removeprefix("backbone.") != "pos_embed"}


# "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "videomae-tiny": VideoViTRecognizerConfig(
        backbone=VideoViTConfig(width=48, depth=2, heads=3, patch=8, grid=(2, 4, 4))
    ),
    **{f"videomae-{s}": VideoViTRecognizerConfig(backbone=VIDEO_VITS[s]) for s in ("s", "b", "l")},
    **{f"umt-{s}": VideoViTRecognizerConfig(backbone=replace(VIDEO_VITS[s], tubelet=1)) for s in ("b", "l")},
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, VideoViTRecognizer)
