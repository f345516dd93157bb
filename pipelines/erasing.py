"""Random erasing: drawing boxes of the output, and painting them over.

Painting happens on finished views, in torch, on whatever device they are: the same for all executors.
Source: arXiv:1708.04896, algorithm 1; several boxes share the area, as in timm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidflow.config.augmentation import RandomErasing
from vidflow.config.pipeline import Normalize

if TYPE_CHECKING:
    from torch import Tensor

ATTEMPTS = 10
"""Draws per box until one fits into the output; after these the box is left out."""


@dataclass(frozen=True)
class Erasure:
    """One box of the output, the same in all frames and views of a sample."""

    box: tuple[int, int, int, int]
    """x1 y1 x2 y2 in output pixels, whole, x2 and y2 excluded."""
    color: tuple[float, float, float] | None = None
    """Red, green, blue in [0, 255]; None is the mean colour, where ``noise`` does not say otherwise."""
    noise: int | None = None
    """Seed of a random colour per pixel."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""
        return {"box": list(self.box), "color": self.color and list(self.color), "noise": self.noise}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Erasure":
        """The inverse of ``to_dict``."""
        x1, y1, x2, y2 = values["box"]
        color = values["color"]
        return cls((x1, y1, x2, y2), None if color is None else (color[0], color[1], color[2]), values["noise"])

    def describe(self) -> str:
        """For people."""
        x1, y1, x2, y2 = self.box
        return f"x {x1} to {x2}, y {y1} to {y2}"


def draw_erasures(
    erasing: RandomErasing | None, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Erasure, ...]:
    """Boxes inside an output of ``size`` (height, width), smaller than it."""
    if erasing is None or rng.random() >= erasing.probability:
        return ()
    height, width = size
    count = int(rng.integers(1, erasing.max_count, endpoint=True))
    drawn = []
    for _ in range(count):
        for _ in range(ATTEMPTS):
            area = rng.uniform(*erasing.area) * height * width / count
            aspect = np.exp(rng.uniform(*np.log(erasing.aspect)))
            box_height, box_width = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
            if 0 < box_height < height and 0 < box_width < width:
                y1 = int(rng.integers(height - box_height, endpoint=True))
                x1 = int(rng.integers(width - box_width, endpoint=True))
                red, green, blue = (float(value) for value in rng.uniform(0, 255, size=3))
                seed = int(rng.integers(2**32))
                drawn.append(
                    Erasure(
                        (x1, y1, x1 + box_width, y1 + box_height),
                        (red, green, blue) if erasing.mode == "rand" else None,
                        seed if erasing.mode == "pixel" else None,
                    )
                )
                break
    return tuple(drawn)


def erase(views: "Tensor", erasures: Sequence[Sequence[Erasure]], normalize: Normalize) -> None:
    """Paint over the boxes of each sample, in place.

    Args:
        views: float32 [B, V, 3, T, H, W], normalised.
        erasures: of each of the B samples.
    """
    import torch  # here, because processes that only decode need the rest of this module and not torch

    mean, std = (np.array(values, np.float32)[:, None, None] for values in (normalize.mean, normalize.std))  # [3, 1, 1]
    for sample, boxes in zip(views, erasures, strict=True):
        for erasure in boxes:
            x1, y1, x2, y2 = erasure.box
            if erasure.noise is not None:
                noise = np.random.default_rng(erasure.noise).random((3, y2 - y1, x2 - x1), np.float32)
                paint = (noise * np.float32(255) - mean) / std
            elif erasure.color is not None:
                paint = (np.array(erasure.color, np.float32)[:, None, None] - mean) / std
            else:
                paint = np.zeros((3, 1, 1), np.float32)
            # [3, h, w] -> [1, 3, 1, h, w], for all views and frames
            sample[..., y1:y2, x1:x2] = torch.from_numpy(paint)[None, :, None].to(views.device)
