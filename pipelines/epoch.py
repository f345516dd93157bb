"""Epoch planning: which samples a rank reads in an epoch, and in what order, from the manifest alone.

Shards are permuted and laid end to end, the line is turned by a random offset and cut into one equal span per rank,
and a bounded shuffle mixes inside each span. So a rank reads its shards nearly front to back, every rank gets the
same number of samples, and the whole order is a function of (seed, epoch, world size).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidflow.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of an epoch that was read with one world size: what a resumed run must not read again."""

    world_size: int
    batch_size: int
    """Samples per batch and rank."""
    num_batches: int
    """Batches that every rank has consumed."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Bounds of the shuffle: how much encoded data may wait in memory for its turn."""

    num_samples: int = 1024
    num_bytes: int = 128 << 20


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """One rank's part of one epoch."""

    reads: np.ndarray
    """int64 [r], manifest positions in the order in which they are read, each once."""
    order: np.ndarray
    """int64 [n], manifest positions in the order in which they are handed out; equal n on every rank."""
    padding: np.ndarray
    """bool [n], entries that only fill this rank up to the others' count."""

    def skip(self, count: int) -> "EpochPlan":
        """The plan without its first ``count`` entries of ``order``, and without reading what only they needed."""
        order = self.order[count:]
        return EpochPlan(self.reads[np.isin(self.reads, order)], order, self.padding[count:])


def line_up(indices: np.ndarray, shards: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """The samples shard by shard, shards permuted, turned by a random offset.

    Args:
        indices: int64 [n], manifest positions, ascending.
        shards: [n], the shard of each.

    Returns:
        int64 [n].
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch, 0]))
    starts = np.flatnonzero(np.r_[True, shards[1:] != shards[:-1]])
    runs = np.split(indices, starts[1:])
    line = np.concatenate([runs[i] for i in rng.permutation(len(runs))])
    return np.roll(line, int(rng.integers(len(line))))


def bounded_shuffle(sizes: np.ndarray, window: Window, rng: np.random.Generator) -> np.ndarray:
    """A random order in which nothing comes out before the window has reached it.

    A buffer is filled in the given order until it holds ``window``; then a random entry leaves and the next comes in.

    Args:
        sizes: int64 [n], bytes of each entry.

    Returns:
        int64 [n], a permutation.
    """
    if len(sizes) <= window.num_samples and sizes.sum() <= window.num_bytes:
        return rng.permutation(len(sizes))
    draws = rng.random(len(sizes))
    order = np.empty(len(sizes), np.int64)
    buffer: list[int] = []
    held = taken = 0
    for i in range(len(sizes)):
        while taken < len(sizes) and (
            not buffer or (len(buffer) < window.num_samples and held + sizes[taken] <= window.num_bytes)
        ):
            buffer.append(taken)
            held += int(sizes[taken])
            taken += 1
        slot = int(draws[i] * len(buffer))
        buffer[slot], buffer[-1] = buffer[-1], buffer[slot]
        order[i] = buffer.pop()
        held -= int(sizes[order[i]])
    return order


def plan_training(
    line: np.ndarray,
    sizes: np.ndarray,
    *,
    seed: int,
    epoch: int,
    rank: int,
    world_size: int,
    batch_size: int,
    window: Window,
) -> EpochPlan:
    """One rank's shuffled share of a training epoch: full batches only, equally many on every rank.

    At most ``world_size * batch_size - 1`` samples sit an epoch out; which ones changes with the epoch.

    Args:
        line: int64 [n], the samples of ``line_up`` (or what a resumed epoch has left of it).
        sizes: int64 [n], their bytes.
    """
    share = len(line) // world_size
    span = slice(rank * share, (rank + 1) * share)
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch, 1, world_size, rank]))
    order = line[span][bounded_shuffle(sizes[span], window, rng)]
    plan = EpochPlan(line[span], order, np.zeros(len(order), bool))
    kept = share // batch_size * batch_size
    order = order[:kept]
    return EpochPlan(plan.reads[np.isin(plan.reads, order)], order, plan.padding[:kept])


def plan_evaluation(indices: np.ndarray, *, rank: int, world_size: int) -> EpochPlan:
    """One rank's share of an evaluation, in manifest order; the last ranks are filled up with marked repeats."""
    share = -(-len(indices) // world_size)
    order = indices[rank * share : (rank + 1) * share]
    missing = share - len(order)
    filler = np.full(missing, order[-1] if len(order) else indices[-1], np.int64)
    padding = np.r_[np.zeros(len(order), bool), np.ones(missing, bool)]
    return EpochPlan(np.unique(np.r_[order, filler]), np.r_[order, filler], padding)


def remaining(
    indices: np.ndarray,
    shards: np.ndarray,
    sizes: np.ndarray,
    stages: Sequence[Stage],
    *,
    seed: int,
    epoch: int,
    window: Window,
) -> tuple[np.ndarray, np.ndarray]:
    """What an epoch has left after earlier parts of it were read, possibly with other world sizes.

    Args:
        indices: int64 [n], the selected manifest positions, ascending.
        shards, sizes: [n], shard and bytes of each.
        stages: the parts already read, oldest first.

    Returns:
        The line [m] of samples nobody has consumed, and their sizes [m].

    Raises:
        DataError: a stage claims more than there was.
    """
    line = line_up(indices, shards, seed=seed, epoch=epoch)
    line_sizes = sizes[np.searchsorted(indices, line)]
    for stage in stages:
        consumed = []
        for rank in range(stage.world_size):
            plan = plan_training(
                line,
                line_sizes,
                seed=seed,
                epoch=epoch,
                rank=rank,
                world_size=stage.world_size,
                batch_size=stage.batch_size,
                window=window,
            )
            count = stage.num_batches * stage.batch_size
            if count > len(plan.order):
                raise DataError(
                    f"the saved position is {stage.num_batches} batches of {stage.batch_size} "
                    f"on {stage.world_size} ranks, but an epoch has {len(plan.order) // stage.batch_size}; "
                    "the data set or the filter has changed"
                )
            consumed.append(plan.order[:count])
        left = ~np.isin(line, np.concatenate(consumed))
        line, line_sizes = line[left], line_sizes[left]
    return line, line_sizes
