"""UniFormer: local aggregation by convolutions in two shallow stages, attention over all tokens in two deep ones.

Source: "UniFormer: Unified Transformer for Efficient Spatiotemporal Representation Learning" (arXiv:2201.04676),
section 3; sizes from table 1 there.

Shapes: B clips, C channels, T x H x W frames, D channels of a place.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidflow.models.layers.attention import Mlp, SelfAttention, init_transformer
from vidflow.models.layers.conv3d import Conv3d
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.recompute import run_block


@dataclass(frozen=True)
class UniFormerSize:
    """One size of the backbone."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    head_channels: int = 64


def laid_out_as(model: Tensor, x: Tensor) -> Tensor:
    """``x`` [B, D, T, H, W] in the memory layout of another: convolutions are faster where all agree."""
    last = torch.channels_last_3d
    if model.is_contiguous(memory_format=last) and not model.is_contiguous():
        return x.contiguous(memory_format=last)
    return x.contiguous()


class ConvMlp(nn.Module):
    """The MLP of a transformer as 1x1x1 convolutions."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Conv3d(channels, hidden, 1)
        self.act = nn.GELU()
        self.fc2 = Conv3d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T, H, W] -> the same shape."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class LocalBlock(nn.Module):
    """Positions, aggregation in 5x5x5 and MLP, all by convolutions (arXiv:2201.04676, eq. 4 to 6)."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.pos_embed = Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = Conv3d(channels, channels, 1)
        self.attn = Conv3d(channels, channels, 5, padding=2, groups=channels)
        self.conv2 = Conv3d(channels, channels, 1)
        self.norm2 = nn.BatchNorm3d(channels)
        self.mlp = ConvMlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T, H, W] -> the same shape."""
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.attn(self.conv1(self.norm1(x)))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class GlobalBlock(nn.Module):
    """Positions by a convolution, attention among all places, and MLP (arXiv:2201.04676, eq. 7 and 8)."""

    def __init__(self, channels: int, num_heads: int, drop_path: float) -> None:
        super().__init__()
        self.pos_embed = Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = SelfAttention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T, H, W] -> the same shape."""
        x = x + self.pos_embed(x)
        tokens = x.flatten(2).transpose(1, 2)  # [B, D, T, H, W] -> [B, T*H*W, D]
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return laid_out_as(x, tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


class PatchEmbed(nn.Module):
    """A strided convolution and a norm over channels."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.proj = conv
        self.norm = nn.LayerNorm(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, D, T', H', W']."""
        places = self.proj(x)
        normed: Tensor = self.norm(places.permute(0, 2, 3, 4, 1))
        return laid_out_as(places, normed.permute(0, 4, 1, 2, 3))


class UniFormer(nn.Module):
    """Clips [B, C, T, H, W] -> features [B, D, T / 2, H / 32, W / 32], normalised."""

    def __init__(
        self, size: UniFormerSize, *, in_channels: int = 3, drop_path: float = 0.0, recompute: bool = False
    ) -> None:
        super().__init__()
        self.recompute, self.out_channels = recompute, size.widths[-1]
        rates = iter(drop_path_rates(drop_path, sum(size.depths)))
        channels = in_channels
        for number, (depth, width) in enumerate(zip(size.depths, size.widths, strict=True), start=1):
            if number == 1:
                conv = Conv3d(channels, width, (3, 4, 4), (2, 4, 4), (1, 0, 0))
            else:
                conv = Conv3d(channels, width, (1, 2, 2), (1, 2, 2))
            heads = width // size.head_channels
            blocks = nn.ModuleList(
                LocalBlock(width, next(rates)) if number <= 2 else GlobalBlock(width, heads, next(rates))
                for _ in range(depth)
            )
            self.add_module(f"patch_embed{number}", PatchEmbed(conv))
            self.add_module(f"blocks{number}", blocks)
            channels = width
        self.norm = nn.BatchNorm3d(channels)
        init_transformer(self)

    def forward(self, clips: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, D, T', H', W']."""
        x = clips
        for number in range(1, 5):
            x = self.get_submodule(f"patch_embed{number}")(x)
            for block in self.get_submodule(f"blocks{number}").children():
                x = run_block(block, x, recompute=self.recompute)
        features: Tensor = self.norm(x)
        return features


# arXiv:2201.04676, table 1.
UNIFORMERS: dict[str, UniFormerSize] = {
    "small": UniFormerSize(depths=(3, 4, 8, 3)),
    "base": UniFormerSize(depths=(5, 8, 20, 7)),
}
