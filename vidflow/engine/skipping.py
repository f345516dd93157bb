"""Samples that could not be read: what a run writes down about them."""

from collections.abc import Callable

from accelerate import Accelerator

from vidflow.batch import SkippedSample
from vidflow.engine.checkpoint import Progress
from vidflow.engine.journal import Journal
from vidflow.engine.processes import from_all
from vidflow.errors import DataError


class SkipAccount:
    """One run's account. All methods are called by every process at the same moment.

    Args:
        max_share: the part of an epoch's samples that may be skipped.
        tell: prints a line for people, on the first process.
    """

    def __init__(self, accelerator: Accelerator, *, max_share: float, tell: Callable[[str], None]) -> None:
        self._accelerator, self._max_share, self._tell = accelerator, max_share, tell

    def note(
        self, journal: Journal, progress: Progress, skipped: list[SkippedSample], *, count: int, num_samples: int
    ) -> None:
        """Write down the samples of a step that could not be read.

        Args:
            skipped: this process's.
            count: those of all processes.
            num_samples: in the epoch.

        Raises:
            DataError: the epoch has lost more than ``max_share``.
        """
        progress.num_skipped += count
        every = [sample for samples in from_all(self._accelerator, skipped) for sample in samples]
        for sample in every:
            about = {"epoch": progress.epoch + 1, "key": sample.key, "id": sample.id, "reason": sample.reason}
            journal.write("skipped", progress.step + 1, about)
        if progress.num_skipped > self._max_share * num_samples:
            raise DataError(
                f"{progress.num_skipped} of {num_samples} samples of epoch {progress.epoch + 1} could not be read, "
                f"more than data.max_skipped = {self._max_share:g} allows; the last is {every[-1].id}: "
                f"{every[-1].reason}"
            )

    def end_epoch(self, journal: Journal, progress: Progress, *, num_samples: int) -> None:
        """Tell how many samples the epoch has lost, and begin to count anew."""
        count, progress.num_skipped = progress.num_skipped, 0
        if count:
            self._tell(
                f"epoch {progress.epoch + 1}: {count} of {num_samples} samples were skipped; "
                f"{journal.run.log_path} names them"
            )

    def damage(self, journal: Journal, progress: Progress, texts: list[str]) -> None:
        """Tell what is wrong with shards as a whole, each once in a run.

        Args:
            texts: what this process has found.
        """
        for text in {text: None for found in from_all(self._accelerator, texts) for text in found}:
            if text not in progress.damage:
                progress.damage.append(text)
                self._tell(text)
                journal.write("damage", progress.step, {"reason": text})
