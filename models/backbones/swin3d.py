"""Swin transformer for video: attention inside windows of space and time, shifted in every other block.

Source: "Video Swin Transformer" (arXiv:2106.13230), section 3; sizes from section 3.2.

Shapes: B clips, C channels, T x H x W frames, then tokens; D channels of a token, N tokens of a window, h heads.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.attention import Mlp, SelfAttention, init_transformer
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.recompute import run_block

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Swin3dConfig:
    """One size of the backbone."""

    width: int
    """D of the first stage; doubles from stage to stage."""
    blocks: tuple[int, ...]
    heads: tuple[int, ...]
    patch: Size = (2, 4, 4)
    window: Size = (8, 7, 7)
    """In tokens: time, height, width."""


@lru_cache(maxsize=64)
def relative_positions(size: Size, window: Size) -> np.ndarray:
    """Row of the bias table for each pair of tokens of a window, int64 [N, N].

    Args:
        size: the window at hand, no larger than ``window``.
        window: the window that the table was made for; its rows are offsets time-major, each axis from -(w-1) to w-1.
    """
    positions = np.array(list(itertools.product(*map(range, size))))  # [N, 3]
    offsets = positions[:, None] - positions[None] + np.array(window) - 1  # [N, N, 3], all >= 0
    _, h, w = (2 * side - 1 for side in window)
    return (offsets[..., 0] * h + offsets[..., 1]) * w + offsets[..., 2]


@lru_cache(maxsize=64)
def window_groups(grid: Size, size: Size, shift: Size) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Windows of a shifted grid that share a mask: their numbers, and which of their tokens may see each other.

    The roll brings tokens from the other border into the last window of each shifted axis, which must not mix.

    Args:
        grid: windows per axis.
        size: tokens per axis of a window.
        shift: by how many tokens each axis was rolled.

    Returns:
        Pairs of int64 [n] and bool [N, N]; None where all tokens see all. Every window is in one of them.
    """
    axes = [axis for axis in range(3) if shift[axis]]
    positions = np.array(list(itertools.product(*map(range, size))))
    last = (np.array(list(itertools.product(*map(range, grid)))) == np.array(grid) - 1)[:, axes]  # [windows, axes]
    rolled = (positions >= np.array(size) - np.array(shift))[:, axes]  # [N, axes]: came from the other border
    groups: list[tuple[np.ndarray, np.ndarray | None]] = []
    for pattern in itertools.product((False, True), repeat=len(axes)):
        numbers = np.flatnonzero((last == pattern).all(axis=1))
        masked = rolled[:, list(pattern)]
        together = (masked[:, None] == masked[None]).all(axis=2) if any(pattern) else None
        if len(numbers):
            groups.append((numbers, together))
    return groups


class WindowAttention(SelfAttention):
    """Self-attention with a learned bias per head and relative position (arXiv:2106.13230, eq. 3)."""

    def __init__(self, channels: int, num_heads: int, window: Size) -> None:
        super().__init__(channels, num_heads)
        self.window = window
        self.relative_position_bias_table = nn.Parameter(torch.zeros(prod(2 * w - 1 for w in window), num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def bias(self, size: Size) -> Tensor:
        """[1, h, N, N] for windows of a size."""
        table = self.relative_position_bias_table
        rows = torch.from_numpy(relative_positions(size, self.window)).to(table.device)
        return table[rows].permute(2, 0, 1)[None]

    def forward_windows(self, windows: Tensor, size: Size, grid: Size, shift: Size) -> Tensor:
        """[B, number of windows, N, D] -> the same shape."""
        q, k, v = self.split(windows.flatten(0, 1))  # [B * number of windows, h, N, d] each
        bias = self.bias(size)
        if not any(shift):
            return self.join(self.attend(q, k, v, bias)).unflatten(0, windows.shape[:2])
        q, k, v = (x.unflatten(0, windows.shape[:2]) for x in (q, k, v))
        parts, order = [], []
        for numbers, together in window_groups(grid, size, shift):
            here = torch.from_numpy(numbers).to(windows.device)
            apart = None if together is None else torch.from_numpy(~together).to(windows.device)
            mask = bias if apart is None else bias.masked_fill(apart, float("-inf"))
            q_here, k_here, v_here = (x[:, here].flatten(0, 1) for x in (q, k, v))
            values = self.attend(q_here, k_here, v_here, mask)
            parts.append(values.unflatten(0, (-1, len(numbers))))  # [B, n, h, N, d]
            order.append(numbers)
        inverse = torch.from_numpy(np.concatenate(order).argsort()).to(windows.device)
        values = torch.cat(parts, dim=1)[:, inverse]
        return self.join(values.flatten(0, 1)).unflatten(0, windows.shape[:2])


class Block(nn.Module):
    """Window attention and MLP, each behind a norm and around a shortcut (arXiv:2106.13230, eq. 1 and 2)."""

    def __init__(self, channels: int, num_heads: int, window: Size, *, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.window, self.shifted = window, shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, num_heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, D] -> the same shape."""
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def attend(self, x: Tensor) -> Tensor:
        """Pad, roll, cut into windows, attend, and back."""
        extent: Size = (x.shape[1], x.shape[2], x.shape[3])
        # An axis that fits into one window has nothing to shift.
        size: Size = tuple(min(n, w) for n, w in zip(extent, self.window, strict=True))  # type: ignore[assignment]
        shift: Size = tuple(  # type: ignore[assignment]
            w // 2 if self.shifted and n > w else 0 for n, w in zip(extent, self.window, strict=True)
        )
        pads = [-n % s for n, s in zip(extent, size, strict=True)]
        x = functional.pad(x, (0, 0, 0, pads[2], 0, pads[1], 0, pads[0]))
        if any(shift):
            x = x.roll([-s for s in shift], dims=(1, 2, 3))
        grid: Size = tuple(n // s for n, s in zip(x.shape[1:4], size, strict=True))  # type: ignore[assignment]
        # [B, T, H, W, D] -> [B, t, wt, h, wh, w, ww, D] -> [B, t*h*w, wt*wh*ww, D]
        x = x.unflatten(3, (-1, size[2])).unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0]))
        x = x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)
        x = self.attn.forward_windows(x, size, grid, shift)
        # ... and back.
        x = x.unflatten(2, size).unflatten(1, grid).permute(0, 1, 4, 2, 5, 3, 6, 7)
        x = x.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        if any(shift):
            x = x.roll(shift, dims=(1, 2, 3))
        return x[:, : extent[0], : extent[1], : extent[2]]


class PatchMerging(nn.Module):
    """2 x 2 neighbours of each frame become one token of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, D] -> [B, T, ceil(H / 2), ceil(W / 2), 2 D]."""
        x = functional.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        x = torch.cat([x[:, :, row::2, column::2] for column, row in itertools.product((0, 1), repeat=2)], dim=-1)
        merged: Tensor = self.reduction(self.norm(x))
        return merged


class PatchEmbed(nn.Module):
    """Non-overlapping patches of space and time to tokens."""

    def __init__(self, in_channels: int, channels: int, patch: Size) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(in_channels, channels, patch, patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, clips: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, T', H', W', D]; borders are filled up with zeros to whole patches."""
        pads = [-n % p for n, p in zip(clips.shape[2:], self.patch, strict=True)]
        clips = functional.pad(clips, (0, pads[2], 0, pads[1], 0, pads[0]))
        tokens: Tensor = self.norm(self.proj(clips).permute(0, 2, 3, 4, 1))
        return tokens


class Stage(nn.Module):
    """Blocks of one resolution, and the merging that ends it."""

    def __init__(
        self, channels: int, num_heads: int, window: Size, rates: list[float], *, merge: bool, recompute: bool
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.blocks = nn.ModuleList(
            Block(channels, num_heads, window, shifted=index % 2 == 1, drop_path=rate)
            for index, rate in enumerate(rates)
        )
        self.downsample = PatchMerging(channels) if merge else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, D] -> [B, T, H / 2, W / 2, 2 D] where it merges."""
        for block in self.blocks:
            x = run_block(block, x, recompute=self.recompute)
        merged: Tensor = self.downsample(x)
        return merged


class Swin3d(nn.Module):
    """Clips [B, C, T, H, W] -> features [B, D, T / 2, H / 32, W / 32], normalised."""

    def __init__(
        self, config: Swin3dConfig, *, in_channels: int = 3, drop_path: float = 0.0, recompute: bool = False
    ) -> None:
        super().__init__()
        self.out_channels = config.width * 2 ** (len(config.blocks) - 1)
        self.patch_embed = PatchEmbed(in_channels, config.width, config.patch)
        rates = iter(drop_path_rates(drop_path, sum(config.blocks)))
        self.layers = nn.Sequential()
        for index, (depth, heads) in enumerate(zip(config.blocks, config.heads, strict=True)):
            own = list(itertools.islice(rates, depth))
            merge = index < len(config.blocks) - 1
            stage = Stage(config.width * 2**index, heads, config.window, own, merge=merge, recompute=recompute)
            self.layers.append(stage)
        self.norm = nn.LayerNorm(self.out_channels)
        init_transformer(self)

    def forward(self, clips: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, D, T', H', W']."""
        features: Tensor = self.norm(self.layers(self.patch_embed(clips)))
        return features.permute(0, 4, 1, 2, 3)


# arXiv:2106.13230, section 3.2.
SWINS: dict[str, Swin3dConfig] = {
    "tiny": Swin3dConfig(width=96, blocks=(2, 2, 6, 2), heads=(3, 6, 12, 24)),
    "small": Swin3dConfig(width=96, blocks=(2, 2, 18, 2), heads=(3, 6, 12, 24)),
    "base": Swin3dConfig(width=128, blocks=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
    "large": Swin3dConfig(width=192, blocks=(2, 2, 18, 2), heads=(6, 12, 24, 48)),
}
