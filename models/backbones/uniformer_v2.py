"""UniFormerV2: CLIP's image transformer on each frame, and four cross-attentions that gather the whole clip.

Source: "UniFormerV2: Spatiotemporal Learning by Arming Image ViTs with Video UniFormer" (arXiv:2211.09552), section 3:
global UniBlocks after the last four layers, fused sequentially (section 3.3). Only the form that Kinetics uses is here:
without local UniBlocks in front of the image layers, which the authors add for Something-Something. Parameter names
are MMAction2's, mmaction/models/backbones/uniformerv2.py.

Shapes: N clips, C channels, T frames, H x W pixels, h x w patches, L = 1 + h*w tokens of a frame, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidflow.models.backbones.clip import fit_positions
from vidflow.models.layers.clip_transformer import Attention, FeedForward, Transformer
from vidflow.models.layers.drop_path import DropPath, drop_path_rates


@dataclass(frozen=True, kw_only=True)
class UniFormerV2Config:
    """Everything that decides the parameter shapes except the input's channels."""

    width: int
    depth: int
    heads: int
    patch: int
    size: int = 224
    """Pixels of the sides of the frames for which the weights were trained; positions are fitted to others."""
    num_global: int = 4
    """The clip is gathered after each of so many last layers."""

    def __post_init__(self) -> None:
        if not 0 < self.num_global <= self.depth:
            raise ValueError(f"num_global ({self.num_global}) must lie in [1, depth = {self.depth}]")


class GlobalBlock(nn.Module):
    """One token per clip attends to all tokens of all frames (section 3.2, "Global UniBlock")."""

    def __init__(self, width: int, heads: int, *, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, dropout=dropout)
        self.ln_2 = nn.LayerNorm(width)
        self.ln_3 = nn.LayerNorm(width)
        self.drop_path = DropPath(drop_path)
        # The block starts as the identity, so that the image model is undisturbed at first.
        for parameter in (*self.attn.out_proj.parameters(), *self.mlp.c_proj.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """[N, 1, D], with memory [N, T*L, D] -> [N, 1, D]."""
        x = x + self.drop_path(self.attn(self.ln_1(x), self.ln_3(memory)))
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class GlobalTransformer(Transformer):
    """The image transformer with its global blocks.

    Args:
        global_dropout: inside the feed-forward parts of the global blocks.
        global_drop_path: rate of the last global block; it rises from 0.
    """

    def __init__(
        self,
        config: UniFormerV2Config,
        *,
        drop_path: float,
        global_dropout: float,
        global_drop_path: float,
        recompute: bool,
    ) -> None:
        super().__init__(config.width, config.depth, config.heads, drop_path=drop_path, recompute=recompute)
        width, count = config.width, config.num_global
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dpe = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1, groups=width) for _ in range(count))
        self.dec = nn.ModuleList(
            GlobalBlock(width, config.heads, dropout=global_dropout, drop_path=rate)
            for rate in drop_path_rates(global_drop_path, count)
        )
        self.norm = nn.LayerNorm(width)
        self.balance = nn.Parameter(torch.zeros(width))

    def gather(self, clips: Tensor, frames: Tensor, grid: tuple[int, int, int], index: int) -> Tensor:
        """One global block: its position convolution on the patches, then its attention.

        Args:
            clips: clip tokens [N, 1, D].
            frames: [N*T, L, D].
            grid: T, h, w.
        """
        T, h, w = grid
        patches = frames[:, 1:].unflatten(0, (-1, T)).flatten(1, 2)  # [N*T, h*w, D] -> [N, T*h*w, D]
        volume = patches.transpose(1, 2).unflatten(2, (T, h, w))  # -> [N, D, T, h, w]
        patches = patches + self.dpe[index](volume).flatten(2).transpose(1, 2)
        tokens = frames[:, 0].unflatten(0, (-1, T))  # [N*T, D] -> [N, T, D]
        gathered: Tensor = self.dec[index](clips, torch.cat([tokens, patches], dim=1))
        return gathered

    def clip_features(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """[N*T, L, D] -> [N, D]."""
        num_frames = grid[0]
        clips = self.temporal_cls_token.to(x.dtype).expand(x.shape[0] // num_frames, -1, -1)
        first = len(self.resblocks) - len(self.dec)
        for index, block in enumerate(self.resblocks):
            x = self.run(block, x)
            if index >= first:
                clips = self.gather(clips, x, grid, index - first)
        mean = x[:, 0].unflatten(0, (-1, num_frames)).mean(dim=1)  # class tokens [N*T, D] -> [N, D]
        weight = self.balance.sigmoid()
        features: Tensor = self.norm((1 - weight) * clips[:, 0] + weight * mean)
        return features


class UniFormerV2(nn.Module):
    """Clips [N, C, T, H, W] -> features [N, D].

    Args:
        drop_path: rate of the last layer of the image transformer; it rises from 0.
        global_dropout: inside the feed-forward parts of the global blocks.
        global_drop_path: rate of the last global block; it rises from 0.
        recompute: activation checkpointing of the image transformer's blocks.
    """

    def __init__(
        self,
        config: UniFormerV2Config,
        *,
        in_channels: int = 3,
        drop_path: float = 0.0,
        global_dropout: float = 0.5,
        global_drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        width, patch = config.width, (1, config.patch, config.patch)
        self.out_channels = width
        self.conv1 = nn.Conv3d(in_channels, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(
            width**-0.5 * torch.randn((config.size // config.patch) ** 2 + 1, width)
        )
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = GlobalTransformer(
            config,
            drop_path=drop_path,
            global_dropout=global_dropout,
            global_drop_path=global_drop_path,
            recompute=recompute,
        )

    def forward(self, clips: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, D]."""
        x = self.conv1(clips)
        T, h, w = x.shape[2:]
        x = x.permute(0, 2, 3, 4, 1).reshape(-1, h * w, x.shape[1])  # [N, D, T, h, w] -> [N*T, h*w, D]
        x = torch.cat([self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        x = self.ln_pre(x + fit_positions(self.positional_embedding, (h, w)).to(x.dtype))
        return self.transformer.clip_features(x, (T, h, w))
