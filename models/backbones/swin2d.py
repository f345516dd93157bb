"""Swin Transformer for single frames: attention within windows, shifted by half a window in every other block.

Source: "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (arXiv:2103.14030), section 3; sizes
from section 3.3. Parameter names are timm's.

Shapes: N = B*V*T frames, C channels, H x W pixels, h x w patches, D width, n windows of M x M patches.
"""

import re
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.attention import Mlp, SelfAttention, init_transformer
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.freezing import Freezable


@dataclass(frozen=True, kw_only=True)
class Swin2DConfig:
    """Everything that decides the parameter shapes except the input's channels, and drop path."""

    width: int
    """Channels of the first stage; each next one has twice as many."""
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    patch: int = 4
    """Pixels."""
    window: int = 7
    """Patches, M."""
    drop_path: float = 0.1

    num_stages: ClassVar[int] = 4

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.width * 8


# arXiv:2103.14030, section 3.3.
SWINS = {
    "t": Swin2DConfig(width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24)),
    "s": Swin2DConfig(width=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24)),
    "b": Swin2DConfig(width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
}


def relative_positions(window: int) -> Tensor:
    """int64 [M*M, M*M]: the row of the bias table for each pair of places in a window, (2M - 1) rows per dy."""
    ys, xs = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    places = torch.stack([ys, xs]).flatten(1)  # [2, M*M]
    dy, dx = places[:, :, None] - places[:, None, :] + window - 1
    return dy * (2 * window - 1) + dx


def windows_of(x: Tensor, window: int) -> Tensor:
    """[N, h, w, D] -> [N * n, M*M, D]; h and w are multiples of M."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # [N, h/M, M, w/M, M, D]
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def joined(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """[N * n, M*M, D] -> [N, h, w, D]."""
    rows, columns = height // window, width // window
    x = x.unflatten(0, (-1, rows, columns)).unflatten(3, (window, window))  # [N, h/M, w/M, M, M, D]
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shift_mask(height: int, width: int, window: int, shift: int, like: Tensor) -> Tensor:
    """[n, M*M, M*M]: -100 between patches that the cyclic shift has put into one window though they are no neighbours
    in the frame, 0 elsewhere (the -100 is that of the authors' code)."""
    regions = torch.zeros(1, height, width, 1, device=like.device)
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for number, (rows, columns) in enumerate(product(parts, parts)):
        regions[:, rows, columns] = number
    ids = windows_of(regions, window).squeeze(-1)  # [n, M*M]
    return torch.where(ids[:, None] == ids[:, :, None], 0.0, -100.0).to(like.dtype)


class WindowAttention(SelfAttention):
    """Attention within windows, with a learned bias for each relative position and head."""

    positions: Tensor

    def __init__(self, channels: int, num_heads: int, window: int) -> None:
        super().__init__(channels, num_heads)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("positions", relative_positions(window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """[N * n, M*M, D] -> the same shape.

        Args:
            mask: [n, M*M, M*M], added to the scores.
        """
        bias = self.relative_position_bias_table[self.positions].permute(2, 0, 1)  # [heads, M*M, M*M]
        if mask is None:
            return super().forward(x, bias)
        frames = x.shape[0] // len(mask)
        # [n, heads, M*M, M*M] -> [N * n, heads, M*M, M*M]
        return super().forward(x, (bias + mask[:, None]).repeat(frames, 1, 1, 1))


class SwinBlock(nn.Module):
    """Window attention and an MLP, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, channels: int, num_heads: int, window: int, *, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.window, self.shifted = window, shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, num_heads, window)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)

    def attend(self, x: Tensor) -> Tensor:
        """[N, h, w, D] -> the same shape."""
        _, height, width, _ = x.shape
        window = self.window
        # Frames that are no multiple of the window get zeros at their lower and right edge.
        x = functional.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        padded = (x.shape[1], x.shape[2])
        # A frame of one window has nothing to shift to.
        shift = window // 2 if self.shifted and min(padded) > window else 0
        mask = None
        if shift:
            mask = shift_mask(*padded, window, shift, x)
            x = x.roll((-shift, -shift), (1, 2))
        x = joined(self.attn(windows_of(x, window), mask), window, *padded)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """[N, h, w, D] -> the same shape."""
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Four neighbouring patches become one of twice the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, h, w, D] -> [N, h / 2, w / 2, 2 D], zeros added to odd sides."""
        x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # [N, h/2, 2, w/2, 2, D]
        # The four in the order left column down, right column down, as the published weights have them.
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)  # [N, h/2, w/2, 4 D]
        return self.reduction(self.norm(x))


class SwinStage(nn.Module):
    """Patch merging (not in the first stage), then blocks, every other one shifted."""

    def __init__(self, in_channels: int, channels: int, num_heads: int, window: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.downsample = PatchMerging(in_channels) if in_channels != channels else nn.Identity()
        self.blocks = nn.Sequential(
            *(
                SwinBlock(channels, num_heads, window, shifted=index % 2 == 1, drop_path=rate)
                for index, rate in enumerate(drop_paths)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, h, w, D] -> [N, h', w', D']."""
        return self.blocks(self.downsample(x))


class PatchEmbed(nn.Module):
    """Frames to patches, by a linear layer on the pixels of each, and LayerNorm."""

    def __init__(self, in_channels: int, config: Swin2DConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.proj = nn.Conv2d(in_channels, config.width, config.patch, config.patch)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, frames: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, h, w, D], zeros added to sides that are no multiple of the patch."""
        height, width = frames.shape[2:]
        x = self.proj(functional.pad(frames, (0, -width % self.patch, 0, -height % self.patch)))
        return self.norm(x.permute(0, 2, 3, 1))


class Swin2D(Freezable):
    """Frames [N, C, H, W] -> features of the last stage [N, ``out_channels``, H/32, W/32].

    Args:
        in_channels: C.
        frozen_stages: see ``Freezable``; ``norm_eval`` and ``partial_bn`` change nothing, since it has no BatchNorm.
    """

    def __init__(
        self,
        config: Swin2DConfig,
        *,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        partial_bn: bool = False,
    ) -> None:
        super().__init__(frozen_stages=frozen_stages, norm_eval=norm_eval, partial_bn=partial_bn)
        self.out_channels = config.out_channels
        self.patch_embed = PatchEmbed(in_channels, config)
        rates = drop_path_rates(config.drop_path, sum(config.depths))
        stages = []
        for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            channels = config.width * 2**stage
            before = channels // 2 if stage else channels
            stages.append(SwinStage(before, channels, heads, config.window, rates[:depth]))
            rates = rates[depth:]
        self.layers = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(config.out_channels)
        init_transformer(self)
        self.freeze()

    def parts(self) -> list[list[nn.Module]]:
        """The patches' layer, then each stage."""
        return [[self.patch_embed], *([stage] for stage in self.layers)]

    def forward(self, frames: Tensor, num_frames: int) -> Tensor:
        """[N, C, H, W] -> [N, ``out_channels``, h, w]."""
        return self.norm(self.layers(self.patch_embed(frames))).permute(0, 3, 1, 2)


def with_current_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' and older timm's files in this one's names: they end a stage with the patch merging that begins the
    next one here, and hold tables that follow from the sizes and a classifier of images.

    Args:
        tensors: by name, with or without ``backbone.`` in front.
    """
    merging = re.compile(r"(?:backbone\.)?layers\.(\d)\.(downsample\..+)")
    moved = any((found := merging.fullmatch(name)) and found[1] == "0" for name in tensors)
    renamed = {}
    for name, tensor in tensors.items():
        if name.endswith((".relative_position_index", ".attn_mask")) or name in ("head.weight", "head.bias"):
            continue
        if moved and (found := merging.fullmatch(name)):
            name = f"backbone.layers.{int(found[1]) + 1}.{found[2]}"
        renamed[name] = tensor
    return renamed
