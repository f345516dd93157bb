"""Drop path: whole residual branches are left out at random, sample by sample.

Source: "Deep Networks with Stochastic Depth" (arXiv:1603.09382), section 3, with the branch scaled by 1 / (1 - rate) in
training instead of by its survival rate in evaluation, as in the authors' code of DeiT (arXiv:2012.12877).
"""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero for a part ``rate`` of the samples in training, the others scaled up; the identity in evaluation.

    Args:
        rate: probability of leaving a branch out, in [0, 1).

    Raises:
        ValueError: a rate outside of that.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop path rate ({rate}) must lie in [0, 1)")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> the same shape."""
        if not self.training or not self.rate:
            return x
        kept = torch.empty(x.shape[0], *(1,) * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))

    def extra_repr(self) -> str:
        """Shown when the model is printed."""
        return f"rate={self.rate:g}"


def drop_path_rates(last: float, depth: int) -> list[float]:
    """Rates of ``depth`` blocks that rise evenly from 0 to ``last`` (arXiv:1603.09382, the linear decay rule)."""
    return [last * index / max(depth - 1, 1) for index in range(depth)]
