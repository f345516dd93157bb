"""What the loader gives and the models take."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B samples.

    ``inputs`` by name: ``clips`` float32 [B, V, C, T, H, W] (V views), normalised.
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

    def to(self, device: "torch.device | str", non_blocking: bool = True) -> "Batch":
        """The same batch with inputs and targets on a device; ids, indices and padding stay on the host."""

        def moved(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(device, non_blocking=non_blocking) for name, value in values.items()}

        return replace(self, inputs=moved(self.inputs), targets=moved(self.targets))
