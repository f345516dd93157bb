"""What a run tells while it goes: progress bar on stderr, log.jsonl, and TensorBoard. Only the first process tells."""

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

from vidflow.cli.console import progress
from vidflow.engine.runs import RunFolder
from vidflow.errors import MissingExtraError


def check_tracker(tracker: Literal["none", "tensorboard"]) -> None:
    """See that a tracker can be used, before a run begins.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if tracker == "tensorboard":
        try:
            importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise MissingExtraError(
                f"train.tracker = 'tensorboard' needs TensorBoard ({error}): pip install 'vidflow[tensorboard]'"
            ) from error


class Journal:
    """The log of one run. ``with`` opens and closes the tracker."""

    def __init__(self, run: RunFolder, *, tracker: Literal["none", "tensorboard"], active: bool, step: int) -> None:
        self.run, self.active = run, active
        self._writer: Any = None
        if tracker == "tensorboard" and active:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(
        self,
        kind: Literal["train", "val", "skipped", "missed", "damage", "decode", "decoded_on_cpu"],
        step: int,
        values: dict[str, Any],
    ) -> None:
        """One line of the log, and its numbers to the tracker."""
        if not self.active:
            return
        self.run.append({"kind": kind, "step": step, "time": round(time.time(), 3), **values})
        if self._writer is not None and kind in ("train", "val"):
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{kind}/{name}", value, step)


class Meter:
    """Means over the steps since the last line of the log."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.waited = 0.0
        self.num_clips = 0
        self._sums: dict[str, float] = {}
        self._count = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def add(self, values: dict[str, float], num_clips: int) -> None:
        """One step's numbers, and the clips of this process in it."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self.num_clips += num_clips

    def means(self, num_processes: int) -> dict[str, float]:
        """Means of the numbers, clips per second over all processes, and the share of time spent waiting for data."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        means = {name: value / max(self._count, 1) for name, value in self._sums.items()}
        return means | {
            "clips_per_s": round(self.num_clips * num_processes / seconds, 2),
            "data_wait": round(min(self.waited / seconds, 1.0), 4),
        }


@contextmanager
def epoch_bar(title: str, *, total: int, done: int, active: bool) -> Iterator["EpochBar"]:
    """A progress bar over the batches of one epoch."""
    with progress(title, total, unit="batches", quiet=not active) as bar:
        bar.advance(bar.task_ids[0], done)
        yield EpochBar(bar)


class EpochBar:
    """One line: batches done, and a note."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, batches: int, note: str = "") -> None:
        """Move on, and show ``note`` where it is not empty."""
        fields = {"note": note} if note else {}
        self._bar.update(self._bar.task_ids[0], advance=batches, **fields)
