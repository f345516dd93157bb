"""TimeSformer: ViT-B/16 on clips with divided, joint or spatial attention.

Source: "Is Space-Time Attention All You Need for Video Understanding?" (arXiv:2102.05095). Drop path 0.1 as in the
authors' code (facebookresearch/TimeSformer).

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import dataclass
from math import isqrt, prod
from typing import ClassVar, get_args

import torch
from torch import Tensor

from vidflow.models.backbones.timesformer import Attention, TimeSformerBackbone, TimeSformerSize
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.linear import LinearHead
from vidflow.models.layers.position_tables import fit_grid
from vidflow.models.registry import MODELS
from vidflow.models.video_transformer import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class TimeSformerConfig(TransformerConfig):
    """The backbone beside the shared options."""

    backbone: TimeSformerSize
    attention: Attention = "divided"
    num_frames: int = 8
    """T of the clips."""
    image_size: int = 224
    """Height and width of the clips in pixels."""
    dropout: float = 0.0
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in get_args(Attention):
            raise ValueError(f"attention ({self.attention!r}) must be one of {', '.join(get_args(Attention))}")
        for name in ("num_frames", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be positive")


_BLOCK = r"backbone\.transformer_layers\.layers\.(\d+)"
_LINEAR = r"attn\.in_proj_(weight|bias)"


class TimeSformer(ClipRecognizer):
    """TimeSformer, class token, linear layer.

    Weights of ViT-B/16 (timm's or the authors' names) are accepted: attention over time starts as a copy of the
    attention over space, as in the authors' code. Tables of positions and times are resized to the model's.
    """

    foreign_keys = (
        (r"backbone\.patch_embed\.projection\.(\w+)", r"backbone.patch_embed.proj.\1"),
        # Joint and spatial attention.
        (rf"{_BLOCK}\.norms\.0\.(\w+)", r"backbone.blocks.\1.norm1.\2"),
        (rf"{_BLOCK}\.norms\.1\.(\w+)", r"backbone.blocks.\1.norm2.\2"),
        # Divided attention: 0 over time, 1 over space. The names of the others' first attention are those over time
        # here; ``adapt_weights`` sets them right.
        (rf"{_BLOCK}\.attentions\.0\.norm\.(\w+)", r"backbone.blocks.\1.temporal_norm1.\2"),
        (rf"{_BLOCK}\.attentions\.0\.{_LINEAR}", r"backbone.blocks.\1.temporal_attn.qkv.\2"),
        (rf"{_BLOCK}\.attentions\.0\.attn\.out_proj\.(\w+)", r"backbone.blocks.\1.temporal_attn.proj.\2"),
        (rf"{_BLOCK}\.attentions\.0\.temporal_fc\.(\w+)", r"backbone.blocks.\1.temporal_fc.\2"),
        (rf"{_BLOCK}\.attentions\.1\.norm\.(\w+)", r"backbone.blocks.\1.norm1.\2"),
        (rf"{_BLOCK}\.attentions\.1\.{_LINEAR}", r"backbone.blocks.\1.attn.qkv.\2"),
        (rf"{_BLOCK}\.attentions\.1\.attn\.out_proj\.(\w+)", r"backbone.blocks.\1.attn.proj.\2"),
        (rf"{_BLOCK}\.ffns\.0\.norm\.(\w+)", r"backbone.blocks.\1.norm2.\2"),
        (rf"{_BLOCK}\.ffns\.0\.layers\.0\.0\.(\w+)", r"backbone.blocks.\1.mlp.fc1.\2"),
        (rf"{_BLOCK}\.ffns\.0\.layers\.1\.(\w+)", r"backbone.blocks.\1.mlp.fc2.\2"),
        (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
        # The classifier of images, and what timm calls the layer before it.
        (r"(?:head|pre_logits\.fc)\.(weight|bias)", r"image_head.\1"),
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.patch_embed.proj.weight", 1),
        "num_frames": ("backbone.time_embed", 1),
    }
    param_rule = "no_embedding_decay"

    def __init__(self, config: TimeSformerConfig) -> None:
        backbone = TimeSformerBackbone(
            config.backbone,
            config.attention,
            num_frames=config.num_frames,
            image_size=config.image_size,
            in_channels=config.in_channels,
            drop_path=config.drop_path,
            recompute=config.activation_checkpointing,
        )
        head = LinearHead(backbone.out_channels, config.num_classes, dropout=config.dropout)
        super().__init__(config, backbone, head)
        # What an image model lacks starts without effect.
        layers = [f"backbone.blocks.{index}.temporal_fc." for index in range(len(backbone.blocks))]
        self.fresh_prefixes = ("backbone.time_embed", *(layers if config.attention == "divided" else ()))

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``Recognizer.adapt_weights``."""
        own = self.state_dict()
        divided = self.backbone.attention == "divided"
        of_clips = any(".temporal_fc." in name for name in tensors)
        if not divided and not of_clips:
            tensors = {name.replace(".temporal_attn.", ".attn."): tensor for name, tensor in tensors.items()}
        adapted = dict(tensors)
        if not any(".temporal_" in name for name in tensors):  # of an image model
            for name in own:
                over_space = name.replace(".temporal_", ".")
                if over_space != name and over_space in tensors:
                    adapted[name] = tensors[over_space]
        for name, num_extra in (("backbone.pos_embed", 1), ("backbone.time_embed", 0)):
            if name in own and name in adapted:
                adapted[name] = fit_table(adapted[name], own[name].shape[1], num_extra=num_extra)
        return adapted


def fit_table(table: Tensor, num_rows: int, *, num_extra: int) -> Tensor:
    """A table [1, rows, D] for another number of rows.

    Args:
        num_extra: 1 for a class token before the places of a square grid, 0 for points in time.
    """
    if table.ndim != 3 or table.shape[1] in (num_rows, num_extra):
        return table
    sides = [isqrt(rows - num_extra) if num_extra else rows for rows in (table.shape[1], num_rows)]
    old, new = ((1, side, side) if num_extra else (side, 1, 1) for side in sides)
    if prod(old) != table.shape[1] - num_extra:
        return table  # no square: refused for its shape
    return torch.cat([table[0, :num_extra], fit_grid(table[0, num_extra:], old, new)])[None]


VIT_B16 = TimeSformerSize()  # arXiv:2010.11929, table 1
VARIANTS = {
    # Ours, for small frames on a CPU.
    "timesformer-tiny": TimeSformerConfig(
        backbone=TimeSformerSize(width=48, depth=2, heads=4, patch=8), num_frames=4, image_size=32, drop_path=0.0
    ),
    "timesformer-divided": TimeSformerConfig(backbone=VIT_B16),
    "timesformer-joint": TimeSformerConfig(backbone=VIT_B16, attention="joint"),
    "timesformer-space": TimeSformerConfig(backbone=VIT_B16, attention="space"),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TimeSformer)
