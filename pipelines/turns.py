"""Loaders that take turns within one epoch: one batch of each per step, as OmniSource trains (arXiv:2003.13042).

The first loader decides the length of an epoch. The others go through epochs of their own, and begin anew where one
ends in the middle of the first one's.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from vidflow.batch import Batch
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.pipelines.loader import Loader


class TurnLoader:
    """Batches of several loaders in turn; ``Batch.source`` names the loader."""

    def __init__(self, loaders: Sequence[Loader]) -> None:
        if len(loaders) < 2:
            raise ValueError(f"turns need two loaders or more, not {len(loaders)}")
        self.loaders = tuple(loaders)
        self._turn = 0
        """The loader whose batch comes next."""

    @property
    def _first(self) -> Loader:
        return self.loaders[0]

    @property
    def dataset(self) -> PackedDataset:
        """The joined data set."""
        return self._first.dataset

    @property
    def epoch(self) -> int:
        """Of the first loader."""
        return self._first.epoch

    @property
    def position(self) -> int:
        """Batches of the epoch that were handed out."""
        return self._first.position * len(self.loaders) - (len(self.loaders) - self._turn if self._turn else 0)

    @property
    def num_samples(self) -> int:
        """Samples of the epoch over all ranks and loaders; with what was read before a resume."""
        turns = self._first.num_samples // self._first.batch_size
        return turns * sum(loader.batch_size for loader in self.loaders)

    @property
    def damage(self) -> list[str]:
        """What is wrong with shards as a whole."""
        return [text for loader in self.loaders for text in loader.damage]

    @property
    def decode_note(self) -> str:
        """What was measured to choose the decoders of the loaders."""
        return "; ".join(dict.fromkeys(loader.decode_note for loader in self.loaders if loader.decode_note))

    def take_decoded_on_cpu(self) -> Counter[str]:
        """Samples since the last call that the GPU was meant to decode, and the CPU has decoded, by reason."""
        return sum((loader.take_decoded_on_cpu() for loader in self.loaders), Counter())

    def __len__(self) -> int:
        return len(self._first) * len(self.loaders)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch of the first loader, as an unbroken run with these ranks would reach it."""
        self._turn = 0
        self._first.set_epoch(epoch)
        for other in self.loaders[1:]:
            own, rest = divmod(epoch * len(self._first), len(other))
            other.set_epoch(own)
            other.position = rest

    def state_dict(self) -> dict[str, Any]:
        """Where all loaders stand; the first one's values tell where the epoch stands."""
        first = self._first.state_dict()
        return first | {"turn": self._turn, "others": [loader.state_dict() for loader in self.loaders[1:]]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, also with another world size.

        Raises:
            DataError: the state is of other data, or of another number of loaders.
        """
        others = state.get("others", [])
        if len(others) != len(self.loaders) - 1:
            raise DataError(
                f"the saved position is of {len(others) + 1} sources that take turns, the config has "
                f"{len(self.loaders)}; resume with the config of the first run, or start a new run"
            )
        for loader, own in zip(self.loaders, (state, *others), strict=True):
            loader.load_state_dict(own)
        self._turn = state["turn"]

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the epoch."""
        with ExitStack() as stack:
            batches = [iter(self._first), *(self._endless(loader) for loader in self.loaders[1:])]
            for iterator in batches:
                stack.enter_context(closing(iterator))  # type: ignore[type-var]
            while True:
                batch = next(batches[self._turn], None)
                if batch is None:  # the first loader has moved on to its next epoch
                    return
                self._turn = (self._turn + 1) % len(self.loaders)
                yield batch

    @staticmethod
    def _endless(loader: Loader) -> Iterator[Batch]:
        while True:
            if loader.position >= len(loader):
                loader.set_epoch(loader.epoch + 1)
            yield from loader
