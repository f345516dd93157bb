"""Gradients between the backward pass and the optimizer's step."""

from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator
from torch import nn


def scale_gradients(parameters: Iterable[nn.Parameter], share: float) -> bool:
    """Make gradients means over the samples that were read; False where there were none.

    Args:
        share: the part of the samples that were read, over all processes.
    """
    if share != 1.0:
        for parameter in parameters:
            if share and parameter.grad is not None:
                parameter.grad /= share
    return share > 0


def clip_gradients(accelerator: Accelerator, parameters: Sequence[nn.Parameter], clip_norm: float | None) -> float:
    """Clip the gradients where that is wanted; gives their common L2 norm before it."""
    if clip_norm is not None:
        return float(accelerator.clip_grad_norm_(parameters, clip_norm))
    accelerator.unscale_gradients()
    norms = [torch.linalg.vector_norm(p.grad.float()) for p in parameters if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
