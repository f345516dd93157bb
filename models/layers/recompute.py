"""Activation checkpointing: a block's activations are computed again in the backward pass instead of being kept.

Source: "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174). Blocks with BatchNorm are not for it: their
running statistics would be updated twice.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def run_block(block: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """What ``block(*inputs)`` gives, keeping only the inputs for the backward pass where ``recompute`` is set."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
