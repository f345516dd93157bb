"""Precise BatchNorm: statistics measured over many batches with the weights as they are.

The running averages that BatchNorm keeps in training are of weights that have changed since, and of the last few
batches for the most part. Measured anew, they are those of the population.

Source: "Rethinking 'Batch' in BatchNorm" (arXiv:2105.07576), section 3: mean = E[m], variance = E[m^2 + v] - E[m]^2,
with m and v the mean and the variance of a batch. Differs from MMAction2's hook, which averages the batches' variances:
those of small batches are smaller than the population's.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vidflow.batch import Batch
from vidflow.engine.building import TaskModel
from vidflow.engine.seeding import seed_all
from vidflow.errors import ConfigError
from vidflow.pipelines.loader import Loader
from vidflow.pipelines.turns import TurnLoader


class Moments:
    """A hook of one BatchNorm of C channels, that sums what it is given: number of values, E[x] and E[x^2] times it."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm = norm
        device = cast(Tensor, norm.running_mean).device
        self.sums = torch.zeros(1 + 2 * norm.num_features, dtype=torch.float64, device=device)

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().float()  # [N, C, ...]
        variance, mean = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
        num_values = x.numel() // x.shape[1]
        self.sums += num_values * torch.cat([mean.new_ones(1), mean, variance + mean.square()]).double()

    def store(self) -> None:
        """Give the BatchNorm its statistics; one that was given nothing keeps its own."""
        num_values = self.sums[0]
        if num_values == 0:
            return
        mean, square = (self.sums[1:] / num_values).chunk(2)
        cast(Tensor, self.norm.running_mean).copy_(mean)
        cast(Tensor, self.norm.running_var).copy_((square - mean.square()).clamp_min(0))


def learning_norms(model: nn.Module) -> list[_BatchNorm]:
    """The BatchNorms that keep running averages in training; frozen ones do not."""
    model.train()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.training and norm.track_running_stats]


@contextmanager
def _watched(norms: list[_BatchNorm]) -> Iterator[list[Moments]]:
    moments = [Moments(norm) for norm in norms]
    counts = [cast(Tensor, norm.num_batches_tracked).clone() for norm in norms]
    hooks = [norm.register_forward_pre_hook(watch) for norm, watch in zip(norms, moments, strict=True)]
    try:
        yield moments
    finally:
        for hook in hooks:
            hook.remove()
        for norm, count in zip(norms, counts, strict=True):
            cast(Tensor, norm.num_batches_tracked).copy_(count)


@torch.no_grad()
def measure(model: nn.Module, batches: Iterable[Batch], accelerator: Accelerator) -> None:
    """Replace the running statistics of a model's BatchNorms by those of the batches of all processes.

    Args:
        model: on the device; it is left in training mode.
        batches: this process's, on any device; rows that were skipped do not count.
    """
    with _watched(learning_norms(model)) as moments:
        for whole in batches:
            batch = whole.without_skipped()
            if not batch.padding.all():
                with accelerator.autocast():
                    cast(TaskModel, model).loss(batch.to(accelerator.device))
        if accelerator.num_processes > 1 and moments:
            together = torch.cat([watch.sums for watch in moments])
            torch.distributed.all_reduce(together)
            for watch, sums in zip(
                moments, together.split_with_sizes([len(watch.sums) for watch in moments]), strict=True
            ):
                watch.sums = sums
    for watch in moments:
        watch.store()


class PreciseBN:
    """Measures with the first batches of the epoch that comes next, as they are trained on but never mixed.

    Args:
        loader: of training, for nothing else.
        num_batches: per process; an epoch's number at most.

    Raises:
        ConfigError: the model has nothing to measure.
    """

    def __init__(
        self, model: nn.Module, loader: Loader | TurnLoader, num_batches: int, *, accelerator: Accelerator, seed: int
    ) -> None:
        if not learning_norms(model):
            raise ConfigError(
                f"train.precise_bn = {num_batches}: the model has no BatchNorm whose statistics are learnt; "
                "leave it out"
            )
        self.loader, self.num_batches, self.accelerator, self.seed = loader, num_batches, accelerator, seed

    def __call__(self, model: nn.Module, *, epoch: int) -> None:
        """Measure the statistics of a model.

        Args:
            epoch: number of epochs made, which decides the batches.
        """
        seed_all(self.seed, "precise_bn", epoch, self.accelerator.process_index)
        self.loader.set_epoch(epoch)
        batches: Any = iter(self.loader)
        try:
            measure(model, islice(batches, min(self.num_batches, len(self.loader))), self.accelerator)
        finally:
            batches.close()
