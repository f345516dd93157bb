"""Nested state (of optimizers, loaders) as named tensors and JSON, and back: what safetensors can hold, no pickle."""

from typing import Any

import torch

_TENSOR, _TUPLE, _TABLE = "__tensor__", "__tuple__", "__table__"


def flatten(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    """A JSON tree in which each tensor is a reference to its entry in ``tensors``.

    Args:
        tensors: filled with contiguous copies on the CPU.
        name: prefix of the entries.

    Raises:
        TypeError: something that is neither a tensor, a plain value nor a container of such.
    """
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [flatten(item, tensors, f"{name}.{i}") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {_TUPLE: [flatten(item, tensors, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        # Keys of optimizer states are integers, which JSON objects do not keep.
        return {_TABLE: [[key, flatten(item, tensors, f"{name}.{key}")] for key, item in value.items()]}
    raise TypeError(f"{name}: cannot store a {type(value).__name__} in a checkpoint")


def restore(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of ``flatten``."""
    if isinstance(value, list):
        return [restore(item, tensors) for item in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _TUPLE in value:
            return tuple(restore(item, tensors) for item in value[_TUPLE])
        return {key: restore(item, tensors) for key, item in value[_TABLE]}
    return value
