"""What the loader gives and the models take."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class SkippedSample:
    """A sample that could not be read or decoded; its row of a batch holds zeros."""

    row: int
    key: str
    id: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """B samples.

    ``inputs`` by name: ``clips`` float32 [B, V, C, T, H, W] (V views), normalised; ``frame_padding`` bool [B, V, T],
    frames that only fill up a clip for which the video is too short; ``mel`` float32 [B, V, 1, T, F], features of
    sound, and ``mel_padding`` bool [B, V, T], frames of them without sound; ``skeletons`` float32 [B, V, M, T, K, C].
    ``targets`` by name: ``labels`` int64 [B], or float32 [B, K] of zeros and ones for multi-label sets.
    """

    ids: list[str]
    """The samples' ids in their source, for messages and reports."""
    indices: Tensor
    """int64 [B], positions in the manifest; metrics are keyed by them."""
    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    padding: Tensor
    """bool [B], rows that only give every rank as many batches; metrics drop them."""
    skipped: tuple[SkippedSample, ...] = ()
    """Rows without content: their inputs are zeros, their ids and targets are true."""
    source: str = ""
    """Name of the source, where a run takes turns between several."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def clips(self) -> Tensor:
        """float32 [B, V, C, T, H, W]."""
        return self.inputs["clips"]

    @property
    def labels(self) -> Tensor:
        """int64 [B], or float32 [B, K] for multi-label sets."""
        return self.targets["labels"]

    @property
    def missed(self) -> Tensor:
        """bool [B], the rows of ``skipped``."""
        rows = torch.zeros(len(self), dtype=torch.bool)
        rows[[sample.row for sample in self.skipped]] = True
        return rows

    def without_skipped(self) -> "Batch":
        """The rows that have content, for training.

        Where none has any, one row of zeros stays, marked as padding: each process of a run needs something for its
        model's forward.
        """
        if not self.skipped:
            return self
        kept = torch.flatten(torch.nonzero(~self.missed))
        padding = self.padding[kept]
        if not len(kept):
            kept, padding = torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.bool)

        def chosen(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[kept.to(value.device)] for name, value in values.items()}

        return replace(
            self,
            ids=[self.ids[row] for row in kept.tolist()],
            indices=self.indices[kept],
            inputs=chosen(self.inputs),
            targets=chosen(self.targets),
            padding=padding,
            skipped=(),
        )

    def pinned(self) -> "Batch":
        """The same batch with what lies on the host in page-locked memory, from which copies to a GPU do not block."""

        def locked(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.pin_memory() if value.device.type == "cpu" else value for name, value in values.items()}

        return replace(self, inputs=locked(self.inputs), targets=locked(self.targets))

    def to(self, device: "torch.device | str", non_blocking: bool = True) -> "Batch":
        """The same batch with inputs and targets on a device; ids, indices and padding stay on the host."""

        def moved(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(device, non_blocking=non_blocking) for name, value in values.items()}

        return replace(self, inputs=moved(self.inputs), targets=moved(self.targets))
