"""What prepares samples for packing: a way to run ``prepare`` over tasks, somewhere, with the answers in order."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from vidflow.errors import ConfigError
from vidflow.shards.prepare import Prepared, Refused, Task
from vidflow.shards.workers import Crash, map_in_order

Answers = Generator[tuple[Task, Prepared | Refused | Crash], None, None]


class Prepare(Protocol):
    """``prepare`` with its options given; picklable."""

    def __call__(self, task: Task, *, staging: str) -> Prepared | Refused: ...


class Engine(Protocol):
    """One way to run it."""

    def run(self, function: Prepare, tasks: Sequence[Task], *, staging: Path) -> Answers:
        """Each task with its answer, in order; close the generator to stop early.

        Args:
            staging: folder of this machine for files that go once they are written.
        """
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine."""

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"--workers {self.workers}: must be at least 1")

    def run(self, function: Prepare, tasks: Sequence[Task], *, staging: Path) -> Answers:
        return map_in_order(partial(function, staging=str(staging)), tasks, workers=min(self.workers, len(tasks) or 1))
