"""Mixup and cutmix of a finished batch, on the device where it is; labels become soft.

One share per batch: row i keeps that share of itself and takes the rest from its partner. Rows that only fill up a
batch are nobody's partner. What is drawn depends on (seed, epoch, position in the epoch, rank) alone, so a resumed run
mixes as an uninterrupted one does.

Sources: arXiv:1710.09412, equation 2; arXiv:1905.04899, algorithm A1.
Shapes: B samples, V views, T frames, H x W pixels, K classes.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidflow.batch import Batch
from vidflow.config.augmentation import BatchMixing


@dataclass(frozen=True)
class Mixture:
    """What is drawn for one batch."""

    kind: Literal["mixup", "cutmix"]
    share: float
    """Part of each row that stays its own, in [0, 1]; cutmix sets it anew to what its box leaves."""
    partners: np.ndarray
    """int64 [B], the row that each row is mixed with."""
    centre: tuple[float, float] = (0.5, 0.5)
    """Middle of cutmix's box: x and y as parts of the width and the height, in [0, 1)."""


def draw_mixture(mixing: BatchMixing, padding: np.ndarray, rng: np.random.Generator) -> Mixture | None:
    """What happens to a batch; None leaves it as it is.

    Args:
        padding: bool [B], rows that are left alone.
    """
    applies = rng.random() < mixing.probability
    cutmix = rng.random() < mixing.cutmix_share if mixing.mixup and mixing.cutmix else mixing.cutmix is not None
    alpha = mixing.cutmix if cutmix else mixing.mixup
    assert alpha is not None
    share = float(rng.beta(alpha, alpha))
    x, y = (float(value) for value in rng.random(2))
    partners = np.arange(len(padding))
    rows = np.flatnonzero(~padding)
    partners[rows] = rng.permutation(rows)
    return Mixture("cutmix" if cutmix else "mixup", share, partners, (x, y)) if applies else None


def cut_box(height: int, width: int, share: float, centre: tuple[float, float]) -> tuple[int, int, int, int]:
    """The box that comes from the partner, x1 y1 x2 y2 in pixels, x2 and y2 excluded; it may be empty.

    Before it is cut at the frame's edges it covers about 1 - share of the frame; half its sides are rounded down.

    >>> cut_box(4, 6, 0.3, (0.5, 0.5))
    (1, 1, 5, 3)
    """
    side = (1 - share) ** 0.5
    x, y = int(centre[0] * width), int(centre[1] * height)
    half_width, half_height = int(width * side) // 2, int(height * side) // 2
    return (
        max(x - half_width, 0),
        max(y - half_height, 0),
        min(x + half_width, width),
        min(y + half_height, height),
    )


def mix(clips: Tensor, targets: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """Mixed clips [B, V, C, T, H, W] (mixup: any input [B, ...]) and targets [B, K]; the arguments stay as they are."""
    partners = torch.from_numpy(mixture.partners).to(clips.device)
    share = mixture.share
    if mixture.kind == "mixup":
        clips = torch.lerp(clips[partners], clips, share)
    else:
        height, width = clips.shape[-2:]
        x1, y1, x2, y2 = cut_box(height, width, share, mixture.centre)
        share = 1 - (x2 - x1) * (y2 - y1) / (height * width)
        mixed = clips.clone()
        mixed[..., y1:y2, x1:x2] = clips[..., y1:y2, x1:x2][partners]
        clips = mixed
    return clips, torch.lerp(targets[partners], targets, share)


class BatchMixer:
    """Mixes the batches of one process of a run."""

    def __init__(self, mixing: BatchMixing, *, num_classes: int, seed: int, rank: int = 0) -> None:
        self.mixing, self.num_classes, self.seed, self.rank = mixing, num_classes, seed, rank

    def __call__(self, batch: Batch, *, epoch: int, position: int) -> Batch:
        """The batch with all float inputs mixed, and float32 [B, K] labels; int64 [B] labels are made one-hot first.

        Args:
            position: of the batch in its epoch.

        Raises:
            ValueError: a label outside the classes.
        """
        labels = batch.labels
        if not labels.is_floating_point():
            if len(labels) and int(labels.max()) >= self.num_classes:
                raise ValueError(f"label {int(labels.max())} is not one of {self.num_classes} classes")
            labels = functional.one_hot(labels, self.num_classes).float()
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, position, self.rank)))
        mixture = draw_mixture(self.mixing, batch.padding.numpy(), rng)
        inputs = batch.inputs
        if mixture is not None:
            floats = {name: values for name, values in inputs.items() if values.is_floating_point()}
            mixed = {name: mix(values, labels, mixture) for name, values in floats.items()}
            inputs = inputs | {name: values for name, (values, _) in mixed.items()}
            labels = next(iter(mixed.values()))[1]
        return replace(batch, inputs=inputs, targets=batch.targets | {"labels": labels})
