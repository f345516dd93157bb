"""CLIP: an encoder of pictures and an encoder of texts into one space.

Source: "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020), section 2.4 and
table 20. Parameter names are those of the authors' code.

Shapes: N pictures or texts, C channels, H x W pixels, L tokens, E width of the common space.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidflow.models.layers.clip_transformer import Transformer
from vidflow.models.layers.position_tables import fit_grid


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Everything that decides the parameter shapes."""

    embed: int
    """E."""
    image_width: int
    image_depth: int
    image_heads: int
    patch: int
    """Pixels of a patch's sides."""
    size: int = 224
    """Pixels of the sides of the pictures for which the weights were trained; positions are fitted to others."""
    text_width: int
    text_depth: int = 12
    text_heads: int
    vocabulary: int = 49_408
    """Tokens that there are."""
    context: int = 77
    """Tokens of the longest text."""


def fit_positions(table: Tensor, cells: tuple[int, int]) -> Tensor:
    """Positions [1 + h*w, D] of a class token and a square grid -> those of another grid, bicubic (arXiv:2010.11929,
    section 3.2)."""
    side = round((len(table) - 1) ** 0.5)
    return torch.cat([table[:1], fit_grid(table[1:], (1, side, side), (1, *cells))])


def refit_positions(table: Tensor, own: Tensor) -> Tensor:
    """A file's position table, fitted to a model's own one where both are of a class token and a square grid; otherwise
    as it is."""
    sides = [round((len(rows) - 1) ** 0.5) for rows in (table, own)]
    if table.shape == own.shape or any(
        side < 1 or side**2 + 1 != len(rows) for side, rows in zip(sides, (table, own), strict=True)
    ):
        return table
    return fit_positions(table, (sides[1], sides[1]))


class ImageEncoder(nn.Module):
    """A vision transformer: [N, C, H, W] -> [N, E]."""

    def __init__(self, config: ClipConfig, *, in_channels: int = 3, recompute: bool = False) -> None:
        super().__init__()
        width = config.image_width
        self.conv1 = nn.Conv2d(in_channels, width, config.patch, stride=config.patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(
            width**-0.5 * torch.randn((config.size // config.patch) ** 2 + 1, width)
        )
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config.image_depth, config.image_heads, recompute=recompute)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, config.embed))

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, E], from the class token."""
        x = self.conv1(images)
        cells = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)  # [N, D, h, w] -> [N, h*w, D]
        x = torch.cat([self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        x = self.ln_pre(x + fit_positions(self.positional_embedding, (cells[0], cells[1])).to(x.dtype))
        return self.ln_post(self.transformer(x)[:, 0]) @ self.proj


class Clip(nn.Module):
    """Both encoders. The text one keeps its parameters at the top, as in the authors' files.

    Args:
        recompute: activation checkpointing of the blocks.
    """

    def __init__(self, config: ClipConfig, *, in_channels: int = 3, recompute: bool = False) -> None:
        super().__init__()
        self.config = config
        self.visual = ImageEncoder(config, in_channels=in_channels, recompute=recompute)
        self.token_embedding = nn.Embedding(config.vocabulary, config.text_width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(config.context, config.text_width))
        self.transformer = Transformer(
            config.text_width, config.text_depth, config.text_heads, causal=True, recompute=recompute
        )
        self.ln_final = nn.LayerNorm(config.text_width)
        self.text_projection = nn.Parameter(config.text_width**-0.5 * torch.randn(config.text_width, config.embed))
        # Logarithm of the factor on cosines before a softmax; the start value is that of section 2.5.
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def encode_image(self, images: Tensor) -> Tensor:
        """[N, C, H, W], normalised -> [N, E], of any length."""
        features: Tensor = self.visual(images)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 [N, L], as of ``vidflow.models.clip_tokens`` -> [N, E], of any length.

        Only tokens up to each text's end count, so the padding after it may be cut off.
        """
        # The end of a text is the largest token.
        end = tokens.argmax(dim=-1)
        tokens = tokens[:, : int(end.max()) + 1]
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        return x[torch.arange(len(x), device=x.device), end] @ self.text_projection


# arXiv:2103.00020, table 20; "L/14-336" differs by the size that its last epoch was trained at (section 2.5).
CLIPS = {
    "b32": ClipConfig(
        embed=512, image_width=768, image_depth=12, image_heads=12, patch=32, text_width=512, text_heads=8
    ),
    "b16": ClipConfig(
        embed=512, image_width=768, image_depth=12, image_heads=12, patch=16, text_width=512, text_heads=8
    ),
    "l14": ClipConfig(
        embed=768, image_width=1024, image_depth=24, image_heads=16, patch=14, text_width=768, text_heads=12
    ),
    "l14-336": ClipConfig(
        embed=768, image_width=1024, image_depth=24, image_heads=16, patch=14, size=336, text_width=768, text_heads=12
    ),
}
