"""TimeSformer: a vision transformer whose tokens attend over space, over space and time, or over one after the other.

Source: "Is Space-Time Attention All You Need for Video Understanding?" (arXiv:2102.05095), section 3, on ViT-B/16
(arXiv:2010.11929). Divided attention keeps one class token per clip: its answers of the frames are averaged
(appendix of the authors' code, facebookresearch/TimeSformer).

Shapes: B clips, C channels, T frames, P patches of a frame, D channels of a token.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vidflow.models.layers.attention import Mlp, SelfAttention, init_transformer
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.recompute import run_block

Attention = Literal["divided", "joint", "space"]


@dataclass(frozen=True)
class TimeSformerSize:
    """One size of the backbone."""

    width: int = 768
    """D."""
    depth: int = 12
    heads: int = 12
    patch: int = 16
    """Side of a patch in pixels."""


class Block(nn.Module):
    """Attention and MLP, each behind a norm and around a shortcut."""

    def __init__(self, size: TimeSformerSize, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=1e-6)
        self.attn = SelfAttention(size.width, size.heads)
        self.norm2 = nn.LayerNorm(size.width, eps=1e-6)
        self.mlp = Mlp(size.width, 4 * size.width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Tokens [B, 1 + N, D], the class token first -> the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class DividedBlock(Block):
    """Attention over time at each place, then over space in each frame (arXiv:2102.05095, eq. 8 and 9)."""

    def __init__(self, size: TimeSformerSize, drop_path: float) -> None:
        super().__init__(size, drop_path)
        self.temporal_norm1 = nn.LayerNorm(size.width, eps=1e-6)
        self.temporal_attn = SelfAttention(size.width, size.heads)
        self.temporal_fc = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Tokens [B, 1 + P * T, D], the class token first, then place by place -> the same shape."""
        B = x.shape[0]
        cls, patches = x[:, :1], x[:, 1:]
        over_time = patches.unflatten(1, (-1, num_frames)).flatten(0, 1)  # [B, P*T, D] -> [B*P, T, D]
        over_time = self.drop_path(self.temporal_attn(self.temporal_norm1(over_time)))
        patches = patches + self.temporal_fc(over_time).view_as(patches)
        # [B, P*T, D] -> [B*T, P, D], each frame with the class token of its clip
        frames = patches.unflatten(1, (-1, num_frames)).transpose(1, 2).flatten(0, 1)
        frames = torch.cat([cls.repeat_interleave(num_frames, dim=0), frames], dim=1)
        frames = self.drop_path(self.attn(self.norm1(frames))).unflatten(0, (B, num_frames))  # [B, T, 1 + P, D]
        over_space = frames[:, :, 1:].transpose(1, 2).flatten(1, 2)  # [B, T, P, D] -> [B, P*T, D]
        x = torch.cat([cls + frames[:, :, 0].mean(dim=1, keepdim=True), patches + over_space], dim=1)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Patches of a frame to tokens."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch, patch)

    def forward(self, frames: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, P, D]."""
        tokens: Tensor = self.proj(frames).flatten(2).transpose(1, 2)
        return tokens


class TimeSformerBackbone(nn.Module):
    """Clips [B, C, T, H, W] -> features of the class token [B, D], normalised.

    Args:
        num_frames: T; only the attention over space takes other lengths.
        image_size: H and W in pixels, a multiple of the patch's side.

    Raises:
        ValueError: the image's size is no multiple of the patch's.
    """

    def __init__(
        self,
        size: TimeSformerSize,
        attention: Attention,
        *,
        num_frames: int,
        image_size: int,
        in_channels: int = 3,
        drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if image_size % size.patch:
            raise ValueError(f"image_size ({image_size}) must be a multiple of the patch's side, {size.patch}")
        self.attention, self.recompute = attention, recompute
        self.num_frames, self.image_size, self.out_channels = num_frames, image_size, size.width
        self.patch_embed = PatchEmbed(in_channels, size.width, size.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image_size // size.patch) ** 2, size.width))
        self.time_embed = nn.Parameter(torch.zeros(1, num_frames, size.width)) if attention != "space" else None
        make = DividedBlock if attention == "divided" else Block
        self.blocks = nn.ModuleList(make(size, rate) for rate in drop_path_rates(drop_path, size.depth))
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        init_transformer(self)
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=0.02)
        for block in self.blocks:
            if isinstance(block, DividedBlock):  # starts as the image model (authors' code)
                nn.init.zeros_(block.temporal_fc.weight)

    def forward(self, clips: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, D].

        Raises:
            ValueError: clips of another size than the position tables.
        """
        B, _, T, H, W = clips.shape
        side = self.image_size
        if not H == W == side or (self.time_embed is not None and self.num_frames != T):
            raise ValueError(
                f"clips must have {self.num_frames} frames of {side}x{side} pixels, "
                f"not {T} of {H}x{W}; see the model's options num_frames and image_size"
            )
        x = self.patch_embed(clips.transpose(1, 2).flatten(0, 1))  # [B*T, P, D]
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        if self.time_embed is not None:
            cls = x.unflatten(0, (B, T))[:, 0, :1]  # the same in all frames
            # [B*T, P, D] -> [B, P, T, D] -> [B, P*T, D]
            patches = x[:, 1:].unflatten(0, (B, T)).transpose(1, 2) + self.time_embed
            x = torch.cat([cls, patches.flatten(1, 2)], dim=1)
        for block in self.blocks:
            x = run_block(block, x, T, recompute=self.recompute)
        if self.time_embed is None:
            x = x.unflatten(0, (B, T)).mean(dim=1)
        features: Tensor = self.norm(x)[:, 0]
        return features
