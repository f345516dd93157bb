"""Multi-head self-attention over a sequence of tokens.

Source: "Attention Is All You Need" (arXiv:1706.03762), section 3.2, computed by torch's own kernels.

Shapes: B samples, N tokens, D channels, H heads of d = D / H channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Queries, keys and values from one linear layer, and one linear layer after the heads are joined.

    Args:
        channels: D.
        num_heads: H; divides D.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: of the attention weights, in training.
        proj_dropout: of the output, in training.

    Raises:
        ValueError: D is no multiple of H.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        proj_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"{channels} channels cannot be split into {num_heads} heads")
        self.num_heads, self.dropout = num_heads, dropout
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(proj_dropout)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, N, D] -> [B, N, D].

        Args:
            bias: added to the scores before the softmax; broadcasts to [B, H, N, N].
        """
        return self.join(self.attend(*self.split(x), bias))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, D] -> queries, keys and values, each [B, H, N, d]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Weighted values [B, H, N, d]."""
        dropout = self.dropout if self.training else 0.0
        learns = bias is not None and bias.requires_grad and torch.is_grad_enabled()
        if learns and q.device.type == "cpu" and not dropout:
            # Torch's kernel for CPUs has no gradient of the bias, and what takes its place looks for rows that see
            # nothing, which costs more than it does here.
            scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
            scores += bias
            return scores.softmax(dim=-1) @ v
        return functional.scaled_dot_product_attention(q, k, v, bias, dropout_p=dropout)

    def join(self, values: Tensor) -> Tensor:
        """[B, H, N, d] -> [B, N, D], through the last layer."""
        joined: Tensor = self.proj_drop(self.proj(values.transpose(1, 2).flatten(2)))
        return joined


class Mlp(nn.Module):
    """Two linear layers with GELU between, on each token by itself (arXiv:1706.03762, section 3.3).

    Args:
        channels: D.
        hidden: channels between the layers.
        out_channels: of the output; D by default.
        dropout: after each layer, in training.
    """

    def __init__(self, channels: int, hidden: int, out_channels: int | None = None, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, out_channels or channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., out_channels]."""
        out: Tensor = self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))
        return out


@torch.no_grad()
def init_transformer(model: nn.Module, std: float = 0.02) -> None:
    """Draw linear weights from a normal distribution cut at two standard deviations; zero biases, unit norms.

    Source: the authors' code of ViT and its followers (arXiv:2010.11929, appendix B).
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
