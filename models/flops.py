"""Counting the multiply-adds of a model, module by module, without memory or arithmetic.

The rules are fvcore's (github.com/facebookresearch/fvcore, fvcore/nn/jit_handles.py), by which the published numbers
were counted: convolutions and matrix products count one for each multiplication with its addition; BatchNorm counts 2
for each value in evaluation, other norms 5; activations, softmax, sums and products of values count nothing. Attention
counts its two matrix products, also where one fused kernel carries it out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidflow.batch import Batch
from vidflow.models.recognizer import Recognizer

_aten = torch.ops.aten
_BATCH_NORM = 2
_OTHER_NORM = 5


def _norm(per_value: int) -> Callable[..., int]:
    def count(input_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        # The counter's unit is half a multiply-add.
        return 2 * per_value * prod(input_shape)

    return count


_NORMS = {
    _aten.native_batch_norm: _norm(_BATCH_NORM),
    _aten._native_batch_norm_legit: _norm(_BATCH_NORM),
    _aten._native_batch_norm_legit_no_training: _norm(_BATCH_NORM),
    _aten.native_layer_norm: _norm(_OTHER_NORM),
    _aten.native_group_norm: _norm(_OTHER_NORM),
}


@dataclass(frozen=True)
class MacCount:
    """Multiply-adds of one view."""

    total: int
    by_module: dict[str, int]
    """Module's name -> its multiply-adds with all modules inside it, in the model's order."""


def count_macs(model: nn.Module, shape: tuple[int, ...]) -> MacCount:
    """Count one view through a model that was built on the ``meta`` device.

    Args:
        model: a classifier, for nothing else: it is left in evaluation and without gradients.
        shape: of the view: C, T, H, W of clips, M, T, K, C of skeletons, C, T, F of sound.

    Raises:
        ValueError: the model does not take views of this shape.
    """
    shapes = model.input_shapes(shape) if isinstance(model, Recognizer) else {"clips": shape}
    inputs = {name: torch.empty(1, 1, *sizes, device="meta") for name, sizes in shapes.items()}
    row = torch.zeros(1, dtype=torch.int64)
    batch = Batch(ids=["0"], indices=row, inputs=inputs, targets={}, padding=row.bool())
    names = {name: 0 for name, _ in model.named_modules() if name}
    model.eval().requires_grad_(False)  # the counter cannot follow parameters that are handed to modules
    counter = FlopCounterMode(display=False, custom_mapping=_NORMS)
    with torch.no_grad(), counter:
        model(batch)
    prefix = type(model).__name__ + "."
    for name, counts in counter.get_flop_counts().items():
        bare = name.removeprefix(prefix)
        if bare in names:
            names[bare] += sum(counts.values()) // 2
    # A container whose parts are called one by one is never called itself.
    for name in reversed(names):
        if not names[name]:
            inner = (part for part, _ in model.get_submodule(name).named_children())
            names[name] = sum(names[f"{name}.{part}"] for part in inner)
    return MacCount(counter.get_total_flops() // 2, names)
