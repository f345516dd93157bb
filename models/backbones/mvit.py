"""MViTv2: a vision transformer whose attention pools its tokens, so that resolution falls while width rises.

Source: "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection" (arXiv:2112.01526), sections
3 and 4, with the decomposed relative positions of eq. 2 and 3 and the residual pooling of eq. 4. Sizes from table A.1
there and facebookresearch/SlowFast's configs.

Shapes: B clips, C channels, t x h x w tokens in raster order after one class token (N in all), D channels of a token,
H heads of d channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.attention import Mlp, init_transformer
from vidflow.models.layers.conv3d import Conv3d, quick_layout
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.recompute import run_block

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class MViTSize:
    """One size of the backbone."""

    width: int
    """D of the first stage; doubles with each downscaling."""
    depth: int
    heads: int
    """H of the first stage; doubles with each downscaling."""
    downscale: tuple[int, ...]
    """Blocks that halve height and width, and double D and H."""
    widen: tuple[int, ...] = ()
    """Further blocks that double D and H only (MaskFeat's pre-training)."""
    kv_stride: int = 8
    """Pooling of keys and values in height and width in the first stage; halves with each downscaling."""


def pool_tokens(x: Tensor, pool: nn.Module, grid: Grid) -> tuple[Tensor, Grid]:
    """Pool the places of tokens [M, 1 + t*h*w, d]; the class token is left as it is. Also the new grid."""
    places = pool(quick_layout(x[:, 1:].transpose(1, 2).unflatten(2, grid)))  # [M, d, t, h, w]
    new_grid: Grid = (places.shape[2], places.shape[3], places.shape[4])
    return torch.cat([x[:, :1], places.flatten(2).transpose(1, 2)], dim=1), new_grid


def resize_table(table: Tensor, length: int) -> Tensor:
    """Vectors of relative places [old length, d] -> [length, d], linearly interpolated."""
    if table.ndim != 2 or len(table) == length:
        return table
    return functional.interpolate(table.t()[None], size=length, mode="linear")[0].t()


def relative_rows(table: Tensor, num_queries: int, num_keys: int) -> Tensor:
    """Vectors of the relative places along one axis, [num_queries, num_keys, d].

    Args:
        table: [2 * max(queries, keys) - 1, d]; linearly interpolated where it has another length.
    """
    table = resize_table(table, 2 * max(num_queries, num_keys) - 1)
    # The coarser of the two axes counts in steps of the finer.
    query_step, key_step = max(num_keys / num_queries, 1.0), max(num_queries / num_keys, 1.0)
    queries = torch.arange(num_queries)[:, None] * query_step
    keys = torch.arange(num_keys)[None] * key_step
    rows = (queries - keys + (num_keys - 1) * key_step).long()
    return table[rows.to(table.device)]


class PooledAttention(nn.Module):
    """Self-attention on pooled queries, keys and values, with decomposed relative positions and residual pooling.

    Args:
        grid: tokens per axis for which the position tables are made.
        q_stride, kv_stride: pooling in height and width.
    """

    def __init__(
        self, channels: int, out_channels: int, num_heads: int, *, grid: Grid, q_stride: int, kv_stride: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        d = out_channels // num_heads
        self.qkv = nn.Linear(channels, 3 * out_channels)
        self.proj = nn.Linear(out_channels, out_channels)

        def pool(stride: int) -> Conv3d:
            return Conv3d(d, d, 3, (1, stride, stride), 1, groups=d, bias=False)

        self.pool_q, self.norm_q = pool(q_stride), nn.LayerNorm(d, eps=1e-6)
        self.pool_k, self.norm_k = pool(kv_stride), nn.LayerNorm(d, eps=1e-6)
        self.pool_v, self.norm_v = pool(kv_stride), nn.LayerNorm(d, eps=1e-6)
        t, *sides = grid
        lengths = [2 * max(side // q_stride, side // kv_stride) - 1 for side in sides]
        self.rel_pos_h = nn.Parameter(torch.zeros(lengths[0], d))
        self.rel_pos_w = nn.Parameter(torch.zeros(lengths[1], d))
        self.rel_pos_t = nn.Parameter(torch.zeros(2 * t - 1, d))
        for table in (self.rel_pos_h, self.rel_pos_w, self.rel_pos_t):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """[B, N, D] of a grid -> [B, N', out_channels] of the pooled grid."""
        # [B, N, 3 * out] -> 3 of [B * H, N, d]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
        q, q_grid = pool_tokens(q, self.pool_q, grid)
        k, k_grid = pool_tokens(k, self.pool_k, grid)
        v, _ = pool_tokens(v, self.pool_v, grid)
        q, k, v = self.norm_q(q), self.norm_k(k), self.norm_v(v)
        q, k, v = (y.unflatten(0, (-1, self.num_heads)) for y in (q, k, v))  # [B, H, N, d]
        out = self.attend(q, k, v, q_grid, k_grid)
        out = torch.cat([out[:, :, :1], out[:, :, 1:] + q[:, :, 1:]], dim=2)  # residual pooling, eq. 4
        out = self.proj(out.transpose(1, 2).flatten(2))
        return out, q_grid

    def attend(self, q: Tensor, k: Tensor, v: Tensor, q_grid: Grid, k_grid: Grid) -> Tensor:
        """Weighted values [B, H, N', d].

        The position terms of eq. 3 are q . R_t + q . R_h + q . R_w, chosen by the key's place. Written as further
        channels of q, and of k a 1 at the key's place in each axis, they become part of the dot product, and no N' x N
        table is needed.
        """
        places = q[:, :, 1:].unflatten(2, q_grid)  # [B, H, t, h, w, d]
        tables = (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w)
        terms = [  # [B, H, t, h, w, keys of the axis] each
            torch.einsum(f"bntijd,{axis}kd->bntijk", places, relative_rows(table, queries, keys))
            for axis, table, queries, keys in zip("tij", tables, q_grid, k_grid, strict=True)
        ]
        if q.device.type == "meta":
            # Nothing to compute: the formula as it stands in the paper, by which multiply-adds are counted.
            t, h, w = terms
            bias = (t[..., :, None, None] + h[..., None, :, None] + w[..., None, None, :]).flatten(5).flatten(2, 4)
            return functional.scaled_dot_product_attention(q, k, v, functional.pad(bias, (1, 0, 1, 0)))
        ones = torch.cat([row.expand(*k_grid, -1) for row in unit_rows(k_grid, k)], dim=-1).flatten(0, 2)
        extra_q = torch.cat(terms, dim=-1).flatten(2, 4)  # [B, H, t*h*w, sum of the key axes]
        extra_k = ones.expand(*k.shape[:2], -1, -1)
        d = q.shape[-1]
        # The class token has no place: zeros.
        q = torch.cat([q * d**-0.5, functional.pad(extra_q, (0, 0, 1, 0))], dim=-1)
        k = torch.cat([k, functional.pad(extra_k, (0, 0, 1, 0))], dim=-1)
        # Torch's CPU kernel wants values as wide as keys.
        v = functional.pad(v, (0, q.shape[-1] - d)) if v.device.type == "cpu" else v
        return functional.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :d]


def unit_rows(grid: Grid, like: Tensor) -> list[Tensor]:
    """For each axis a unit vector per place of it, that broadcasts to [t, h, w, places of the axis]."""
    rows = []
    for axis, length in enumerate(grid):
        shape = [1, 1, 1, length]
        shape[axis] = length
        rows.append(torch.eye(length, dtype=like.dtype, device=like.device).view(shape))
    return rows


class Block(nn.Module):
    """Pooled attention and MLP, each behind a norm and around a shortcut, which is pooled and widened likewise.

    Args:
        widen_in_attention: where the channels grow, if they do: in the attention (MViTv2), or in the MLP (MaskFeat).
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        num_heads: int,
        *,
        grid: Grid,
        q_stride: int,
        kv_stride: int,
        widen_in_attention: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        inner = out_channels if widen_in_attention else channels
        self.widen_in_attention = widen_in_attention
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = PooledAttention(channels, inner, num_heads, grid=grid, q_stride=q_stride, kv_stride=kv_stride)
        self.norm2 = nn.LayerNorm(inner, eps=1e-6)
        self.mlp = Mlp(inner, 4 * inner, out_channels)
        self.proj = nn.Linear(channels, out_channels) if channels != out_channels else None
        self.pool_skip = nn.MaxPool3d((1, 3, 3), (1, q_stride, q_stride), (0, 1, 1)) if q_stride > 1 else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """[B, N, D] of a grid -> [B, N', D'] of the pooled grid."""
        normed = self.norm1(x)
        attended, new_grid = self.attn(normed, grid)
        skip = self.proj(normed) if self.proj is not None and self.widen_in_attention else x
        if self.pool_skip is not None:
            skip, _ = pool_tokens(skip, self.pool_skip, grid)
        x = skip + self.drop_path(attended)
        normed = self.norm2(x)
        skip = self.proj(normed) if self.proj is not None and not self.widen_in_attention else x
        return skip + self.drop_path(self.mlp(normed)), new_grid


class PatchEmbed(nn.Module):
    """Overlapping tubes of a clip to tokens."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_channels, width, (3, 7, 7), (2, 4, 4), (1, 3, 3))

    def forward(self, clips: Tensor) -> tuple[Tensor, Grid]:
        """[B, C, T, H, W] -> [B, t*h*w, D], and the grid."""
        x = self.proj(clips)
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3], x.shape[4])


class MViT(nn.Module):
    """Clips [B, C, T, H, W] -> features of the class token [B, D], normalised.

    Args:
        num_frames, image_size: T and H = W for which the position tables are made; other clips interpolate them.
    """

    def __init__(
        self,
        size: MViTSize,
        *,
        num_frames: int,
        image_size: int,
        in_channels: int = 3,
        widen_in_attention: bool = True,
        drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.patch_embed = PatchEmbed(in_channels, size.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.blocks = nn.ModuleList()
        channels, heads, kv_stride = size.width, size.heads, size.kv_stride
        t, side = num_frames // 2, image_size // 4
        for index, rate in enumerate(drop_path_rates(drop_path, size.depth)):
            down = index in size.downscale
            widening = (*size.downscale, *size.widen)
            widens = (index if widen_in_attention else index + 1) in widening
            heads = 2 * heads if index in widening else heads
            kv_stride = max(kv_stride // 2, 1) if down else kv_stride
            block = Block(
                channels,
                2 * channels if widens else channels,
                heads,
                grid=(t, side, side),
                q_stride=2 if down else 1,
                kv_stride=kv_stride,
                widen_in_attention=widen_in_attention,
                drop_path=rate,
            )
            self.blocks.append(block)
            channels, side = (2 * channels if widens else channels), (side // 2 if down else side)
        self.out_channels = channels
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        init_transformer(self)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def tokens(self, clips: Tensor, hidden: Tensor | None = None, mask_token: Tensor | None = None) -> Tensor:
        """[B, C, T, H, W] -> [B, 1 + t*h*w, D], normalised; the class token comes first.

        Args:
            hidden: bool [B, t*h*w] of the first grid, tokens that ``mask_token`` [D] takes the place of.
        """
        x, grid = self.patch_embed(clips)
        if hidden is not None and mask_token is not None:
            x = torch.where(hidden[..., None], mask_token.to(x.dtype), x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x, grid = run_block(block, x, grid, recompute=self.recompute)
        normed: Tensor = self.norm(x)
        return normed

    def forward(self, clips: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, D]."""
        return self.tokens(clips)[:, 0]


# arXiv:2112.01526, table A.1 (B, L) and facebookresearch/SlowFast, configs/Kinetics/MVITv2_S_16x4.yaml (S).
MVITS = {
    "small": MViTSize(width=96, depth=16, heads=1, downscale=(1, 3, 14)),
    "base": MViTSize(width=96, depth=24, heads=1, downscale=(2, 5, 21)),
    "large": MViTSize(width=144, depth=48, heads=2, downscale=(2, 8, 44)),
}
