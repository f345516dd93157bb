"""Activation checkpointing: a block's activations are computed again in the backward pass instead of being kept.

Source: "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174). BatchNorm updates its running statistics the
first time only.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class StillStatistics:
    """While it is entered, the BatchNorms of a block leave their running statistics as they are."""

    def __init__(self, block: nn.Module) -> None:
        norms = (module for module in block.modules() if isinstance(module, _BatchNorm) and module.training)
        self.norms = [norm for norm in norms if norm.num_batches_tracked is not None]
        self.kept: list[tuple[float | None, Tensor]] = []

    def __enter__(self) -> None:
        self.kept = [(norm.momentum, cast(Tensor, norm.num_batches_tracked).clone()) for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.kept, strict=True):
            norm.momentum = momentum
            cast(Tensor, norm.num_batches_tracked).copy_(count)


def run_block(block: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """What ``block(*inputs)`` gives, keeping only the inputs for the backward pass where ``recompute`` is set."""
    if not recompute or not torch.is_grad_enabled():
        return block(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        again = StillStatistics(block) if isinstance(block, nn.Module) else nullcontext()
        return nullcontext(), again

    return checkpoint(block, *inputs, use_reentrant=False, context_fn=contexts)
