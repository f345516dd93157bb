"""A plain vision transformer over tubes of a clip: the backbone of VideoMAE, VideoMAE V2 and UMT.

Source: "An Image is Worth 16x16 Words" (arXiv:2010.11929) with the tubes, fixed sinusoidal positions and mean pooling
of "VideoMAE" (arXiv:2203.12602), section 3. Parameter names are those of the VideoMAE authors' code. Keys have no
bias there: it would change nothing after the softmax.

Shapes: N clips, C channels, T frames, H x W pixels, t x h x w tubes, L = t*h*w, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.attention import Mlp, SelfAttention, init_transformer
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.position_tables import Grid, fit_grid, sinusoids
from vidflow.models.layers.recompute import run_block


@dataclass(frozen=True, kw_only=True)
class VideoViTConfig:
    """Everything that decides the parameter shapes except the input's channels."""

    width: int
    depth: int
    heads: int
    patch: int = 16
    """Pixels of a tube's sides."""
    tubelet: int = 2
    """Frames of a tube."""
    mlp_ratio: int = 4
    grid: Grid = (8, 14, 14)
    """Tubes of the clips for which the weights were trained; positions are fitted to other clips."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")


class QueryValueBiasAttention(SelfAttention):
    """Attention among all tokens, with biases of queries and values only."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, qkv_bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, L, D] -> queries, keys and values, each [N, heads, L, D / heads]."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = functional.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class Block(nn.Module):
    """Attention and feed-forward part, each with a norm before and a shortcut around it."""

    def __init__(self, config: VideoViTConfig, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = QueryValueBiasAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = Mlp(config.width, config.width * config.mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, L, D] -> [N, L, D]."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class TubeEmbedding(nn.Module):
    """One token per tube, by one linear map of its pixels."""

    def __init__(self, config: VideoViTConfig, in_channels: int) -> None:
        super().__init__()
        tube = (config.tubelet, config.patch, config.patch)
        self.proj = nn.Conv3d(in_channels, config.width, tube, stride=tube)

    def forward(self, clips: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, D, t, h, w].

        Raises:
            ValueError: a side of the clips is no multiple of the tube's.
        """
        tube = self.proj.kernel_size
        if any(side % step for side, step in zip(clips.shape[2:], tube, strict=True)):
            raise ValueError(f"clips of {list(clips.shape[2:])} frames and pixels do not divide into tubes of {tube}")
        return self.proj(clips)


class VideoViT(nn.Module):
    """Clips [N, C, T, H, W] -> features [N, D].

    Args:
        drop_path: rate of the last block; it rises from 0.
        recompute: activation checkpointing of the blocks.
    """

    def __init__(
        self, config: VideoViTConfig, *, in_channels: int = 3, drop_path: float = 0.0, recompute: bool = False
    ) -> None:
        super().__init__()
        self.config, self.out_channels, self.recompute = config, config.width, recompute
        self.patch_embed = TubeEmbedding(config, in_channels)
        self.blocks = nn.ModuleList(Block(config, rate) for rate in drop_path_rates(drop_path, config.depth))
        self.fc_norm = nn.LayerNorm(config.width, eps=1e-6)
        num_positions = config.grid[0] * config.grid[1] * config.grid[2]
        self.register_buffer("positions", sinusoids(num_positions, config.width), persistent=False)
        init_transformer(self)

    def tokens(self, clips: Tensor) -> tuple[Tensor, Grid]:
        """[N, C, T, H, W] -> tokens of the last block [N, L, D] in raster order, and the grid (t, h, w)."""
        x = self.patch_embed(clips)
        t, h, w = x.shape[2:]
        positions = self.get_buffer("positions")
        x = x.flatten(2).transpose(1, 2)  # [N, D, t, h, w] -> [N, L, D]
        x = x + fit_grid(positions, self.config.grid, (t, h, w)).to(x.dtype)
        for block in self.blocks:
            x = run_block(block, x, recompute=self.recompute)
        return x, (t, h, w)

    def forward(self, clips: Tensor) -> Tensor:
        """The mean over all tokens, then a norm: [N, C, T, H, W] -> [N, D]."""
        return self.fc_norm(self.tokens(clips)[0].mean(dim=1))


# arXiv:2010.11929, table 1 (B, L); S is DeiT-S of arXiv:2012.12877, table 1.
VIDEO_VITS = {
    "s": VideoViTConfig(width=384, depth=12, heads=6),
    "b": VideoViTConfig(width=768, depth=12, heads=12),
    "l": VideoViTConfig(width=1024, depth=24, heads=16),
}
