"""The optimizer from plain settings, and a model as the loop sees it."""

import difflib
import importlib
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.errors import ConfigError
from vidflow.models.param_groups import param_groups
from vidflow.predictions import ClassPredictions


class TaskModel(Protocol):
    """What the loop knows of a model; see "Model" in the design."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses; their sum is minimised."""
        ...

    def predict(self, batch: Batch) -> ClassPredictions: ...


class LossStep(nn.Module):
    """A model seen as the function from batch to losses, so that wrappers which act on ``forward`` serve training."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses."""
        return cast(TaskModel, self.model).loss(batch)


def import_object(path: str, key: str) -> Any:
    """The object at ``package.module:Name``.

    Args:
        key: config key that names it, for messages.

    Raises:
        ConfigError: no such module or name.
    """
    module_name, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key} = {path!r} cannot be imported ({error}); write package.module:Name of something importable"
        ) from error


def make_optimizer(
    model: nn.Module, *, name: str, lr: float, weight_decay: float, options: dict[str, object], rule: str
) -> torch.optim.Optimizer:
    """An optimizer over the parameters that are trained.

    Raises:
        ConfigError: no such optimizer or rule, or options that it does not take.
    """
    if ":" in name:
        constructor = import_object(name, "optim.name")
    else:
        known = [
            n
            for n in dir(torch.optim)
            if n[0].isupper() and n != "Optimizer" and isinstance(getattr(torch.optim, n), type)
        ]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4) or ["SGD"]
            raise ConfigError(f"optim.name = {name!r} is no optimizer of torch.optim. Did you mean {near[0]!r}?")
        constructor = getattr(torch.optim, name)
    groups = param_groups(model, lr, weight_decay, rule)
    if not groups:
        raise ConfigError("no parameter is trained: the model freezes them all; change model.options")
    try:
        return cast(torch.optim.Optimizer, constructor(groups, lr=lr, weight_decay=weight_decay, **options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optim.name = {name!r} does not take optim.options = {options}: {error}") from error


def use_channels_last(model: nn.Module) -> None:
    """Lay out the kernels of 2D and 3D convolutions so that channels are neighbours in memory; features follow."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.to(memory_format=layouts[parameter.ndim])
