"""What an epoch is made of: how often each sample is drawn, from (seed, epoch) alone.

Samples belong to groups (the sources of a mixture, or the classes of a balanced set), and each group has a quota per
epoch. A group's samples come from an endless row of permutations, of which each epoch takes the next ``quota``
entries: over the epochs every sample of a group is drawn equally often, up to one, whatever the quota.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Group:
    """Samples that share a quota."""

    members: np.ndarray
    """int64 [m], positions in the loader's selection, ascending; a sample may be in several groups."""
    quota: int
    """Draws per epoch."""

    def __post_init__(self) -> None:
        if not len(self.members) or self.quota < 0:
            raise ValueError(f"a group needs members and a quota, not {len(self.members)} and {self.quota}")


@dataclass(frozen=True, eq=False)
class Draws:
    """The entries of one epoch, ordered by repeat and position."""

    positions: np.ndarray
    """int64 [n], positions in the loader's selection."""
    repeats: np.ndarray
    """int64 [n], how many times the epoch has had the sample before: 0 for the first time."""


def draw(groups: Sequence[Group], *, seed: int, epoch: int) -> Draws:
    """The entries of an epoch.

    >>> import numpy as np
    >>> draws = draw([Group(np.array([0, 1]), 2), Group(np.array([2]), 2)], seed=0, epoch=0)
    >>> draws.positions.tolist(), draws.repeats.tolist()
    ([0, 1, 2, 2], [0, 0, 0, 1])
    """
    taken = [_take(group, number, seed=seed, epoch=epoch) for number, group in enumerate(groups)]
    positions = np.sort(np.concatenate(taken))
    starts = np.searchsorted(positions, positions)  # the first entry of each position's run
    repeats = np.arange(len(positions)) - starts
    order = np.lexsort((positions, repeats))
    return Draws(positions[order], repeats[order])


def share_out(total: int, weights: Sequence[float]) -> list[int]:
    """Whole quotas in the proportion of weights, whose sum is ``total``.

    >>> share_out(10, [1, 1, 1])
    [4, 3, 3]
    """
    exact = np.asarray(weights, np.float64) / sum(weights) * total
    quotas = np.floor(exact).astype(np.int64)
    largest = np.argsort(quotas - exact, kind="stable")[: total - int(quotas.sum())]
    quotas[largest] += 1
    return [int(quota) for quota in quotas]


def balanced_groups(labels: Sequence[Sequence[int]], *, total: int) -> list[Group]:
    """One group per class that has samples, with equal quotas.

    Args:
        labels: of each sample of the selection; one without labels is never drawn, one with several is drawn for each.
        total: draws per epoch.
    """
    members: dict[int, list[int]] = {}
    for position, values in enumerate(labels):
        for label in values:
            members.setdefault(label, []).append(position)
    quotas = share_out(total, [1.0] * len(members))
    return [Group(np.array(members[label]), quota) for label, quota in zip(sorted(members), quotas, strict=True)]


def _take(group: Group, number: int, *, seed: int, epoch: int) -> np.ndarray:
    """Entries ``[epoch * quota, (epoch + 1) * quota)`` of the group's endless row."""
    size = len(group.members)
    begin, end = epoch * group.quota, (epoch + 1) * group.quota
    parts = [group.members[:0]]
    for turn in range(begin // size, -(-end // size)):
        start, stop = max(begin - turn * size, 0), min(end - turn * size, size)
        if stop - start == size:
            parts.append(group.members)
            continue
        rng = np.random.default_rng(np.random.SeedSequence([seed, number, turn, 2]))
        parts.append(group.members[rng.permutation(size)[start:stop]])
    return np.concatenate(parts)
