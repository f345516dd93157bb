"""Learning rate over time, as a pure function of epoch and optimizer step.

A schedule gives one factor for all parameter groups, so groups keep their ratio to each other at all times. (An
absolute lower bound per group, as mmengine's ``eta_min``, would break the ratio: here ``min_lr`` belongs to the base
rate, and a scaled base rate scales it too.)

``e`` counts epochs, ``s`` optimizer steps that were really made, both from 0. With ``by = "epoch"`` the position is
``t = e`` of ``n = epochs``; with ``by = "step"`` it is ``t = s`` of ``n = epochs * steps_per_epoch``:

- multi_step: ``gamma ** (number of milestones <= t)``;
- cosine: ``m + (1 - m) * (1 + cos(pi * t / n)) / 2`` with ``m = min_lr / lr`` (arXiv:1608.03983, eq. 5, no restarts);
  with ``after_warmup``, ``t`` and ``n`` are counted from the end of the warm-up;
- constant: 1.

A warm-up of w epochs or steps multiplies it with a line from ``start_factor`` at its first to 1 at its last position.
Overlapping parts multiply. These are mmengine's conventions; lr is the same for any number of processes at the same
epoch and step.
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """See the module's docstring."""

    kind: Literal["constant", "multi_step", "cosine"]
    epochs: int
    steps_per_epoch: int
    by: Literal["epoch", "step"] = "epoch"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    min_factor: float = 0.0
    """``min_lr / lr``."""
    after_warmup: bool = False
    warmup_epochs: float = 0.0
    warmup_steps: int = 0
    warmup_by: Literal["epoch", "step"] | None = None
    warmup_start_factor: float = 0.1

    def factor(self, *, epoch: int, step: int) -> float:
        """What every group's rate is multiplied with for the step that follows ``step`` steps, in epoch ``epoch``."""
        return self._warmup(epoch, step) * self._main(epoch, step)

    def _warmup(self, epoch: int, step: int) -> float:
        by_step = bool(self.warmup_steps) or (self.warmup_by or self.by) == "step"
        position = step if by_step else epoch
        length = self._warmup_length(by_step)
        if position >= length - 1 and not (position == 0 and length == 1):
            return 1.0
        return self.warmup_start_factor + (1 - self.warmup_start_factor) * position / max(length - 1, 1)

    def _warmup_length(self, by_step: bool) -> int:
        if self.warmup_steps:
            return self.warmup_steps if by_step else math.ceil(self.warmup_steps / self.steps_per_epoch)
        return int(self.warmup_epochs * self.steps_per_epoch) if by_step else math.ceil(self.warmup_epochs)

    def _main(self, epoch: int, step: int) -> float:
        by_step = self.by == "step"
        position = step if by_step else epoch
        if self.kind == "multi_step":
            return float(self.gamma ** sum(milestone <= position for milestone in self.milestones))
        if self.kind == "cosine":
            skipped = self._warmup_length(by_step) if self.after_warmup else 0
            length = self.epochs * (self.steps_per_epoch if by_step else 1) - skipped
            done = min(max((position - skipped) / length, 0.0), 1.0) if length > 0 else 1.0
            return self.min_factor + (1 - self.min_factor) * (1 + math.cos(math.pi * done)) / 2
        return 1.0


def scaled_lr(lr: float, *, batch_size: int, num_processes: int, accumulate: int, base_batch: int) -> float:
    """The rate for a total batch of ``batch_size * num_processes * accumulate``, linear in it.

    Source: arXiv:1706.02677, section 2.1.

    >>> scaled_lr(0.01, batch_size=16, num_processes=4, accumulate=1, base_batch=256)
    0.0025
    """
    return lr * batch_size * num_processes * accumulate / base_batch


def optimizer_steps(num_batches: int, accumulate: int) -> int:
    """Optimizer steps that an epoch makes: the last window may be shorter.

    >>> optimizer_steps(7, 3)
    3
    """
    return -(-num_batches // accumulate)
