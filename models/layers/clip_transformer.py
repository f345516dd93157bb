"""The transformer of CLIP, for pictures and for texts, and the blocks that UniFormerV2 and ActionCLIP build from it.

Source: "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020), section 2.4: norms
before attention and feed-forward part, and x * sigmoid(1.702 x) for GELU. Parameter names are those of the authors'
code, which all files of CLIP weights have. The initial weights follow that code too.

Shapes: N sequences, L tokens, M tokens that are attended to, D width.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.recompute import run_block


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head attention with the packed parameters of ``nn.MultiheadAttention``, batch first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width ({width}) must be a multiple of heads ({heads})")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, memory: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """[N, L, D] -> [N, L, D].

        Args:
            memory: [N, M, D], what is attended to; by default ``x`` itself.
            causal: tokens see themselves and those before only.
        """
        if memory is None:
            q, k, v = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            width = x.shape[-1]
            q = functional.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width])
            kv = functional.linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:])
            k, v = kv.chunk(2, dim=-1)
        # [N, L, D] -> [N, heads, L, D / heads]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(y.transpose(1, 2).flatten(2))  # [N, heads, L, D / heads] -> [N, L, D]


class FeedForward(nn.Module):
    """To four times the width and back, on each token by itself."""

    def __init__(self, width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.dropout = nn.Dropout(dropout)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        out: Tensor = self.c_proj(self.dropout(self.gelu(self.c_fc(x))))
        return out


class ResidualBlock(nn.Module):
    """Attention and feed-forward part, each with a norm before and a shortcut around it."""

    def __init__(self, width: int, heads: int, *, depth: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)
        self.ln_2 = nn.LayerNorm(width)
        self.drop_path = DropPath(drop_path)
        # Branches of a deep transformer start smaller, as 2 * depth of them are added up.
        nn.init.normal_(self.attn.out_proj.weight, std=width**-0.5 * (2 * depth) ** -0.5)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=width**-0.5 * (2 * depth) ** -0.5)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """[N, L, D] -> [N, L, D]."""
        x = x + self.drop_path(self.attn(self.ln_1(x), causal=causal))
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class Transformer(nn.Module):
    """Residual blocks, one after the other.

    Args:
        causal: tokens see themselves and those before only, as in texts.
        drop_path: rate of the last block; it rises from 0.
        recompute: activation checkpointing of the blocks.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        causal: bool = False,
        drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.causal, self.recompute = causal, recompute
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, heads, depth=depth, drop_path=rate) for rate in drop_path_rates(drop_path, depth)
        )

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        """One of the blocks: [N, L, D] -> [N, L, D]."""
        y: Tensor = run_block(partial(block, causal=self.causal), x, recompute=self.recompute)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """[N, L, D] -> [N, L, D]."""
        for block in self.resblocks:
            x = self.run(block, x)
        return x
