"""RandAugment and AugMix: which operations a clip gets, and how strong.

Strengths are tables: an operation's unit, its value at magnitude 0, and what magnitude 10 adds.
"""

import numpy as np

from vidflow.config.augmentation import AugMix, RandAugment
from vidflow.pipelines.pixel_ops import Op

LARGEST = 10
"""The largest magnitude."""

# name: (value at magnitude 0, what magnitude 10 adds, how it is added).
# "either" adds or subtracts by a coin, "whole" adds a whole number, rounded towards 0.
Strength = tuple[float, float, str]
# pytorchvideo/transforms/rand_augment.py (0.1.5), the one that MMAction2's MViT configs use; solarize thresholds there
# are parts of 1, here grey levels.
PYTORCHVIDEO: dict[str, Strength] = {
    "brightness": (1, 0.9, "either"),
    "contrast": (1, 0.9, "either"),
    "saturation": (1, 0.9, "either"),
    "sharpness": (1, 0.9, "either"),
    "auto_contrast": (0, 0, "plain"),
    "equalize": (0, 0, "plain"),
    "invert": (0, 0, "plain"),
    "rotate": (0, 30, "either"),
    "posterize": (4, -4, "whole"),
    "solarize": (255, -255, "plain"),
    "shear_x": (0, 0.3, "either"),
    "shear_y": (0, 0.3, "either"),
    "translate_x": (0, 0.45, "either"),
    "translate_y": (0, 0.45, "either"),
}
# timm/data/auto_augment.py, the increasing set ("inc1") that VideoMAE and UniFormer train with.
TIMM: dict[str, Strength] = {
    **PYTORCHVIDEO,
    "solarize": (256, -256, "whole"),
    "solarize_add": (0, 110, "whole"),
}
RANGES = {"pytorchvideo": PYTORCHVIDEO, "timm": TIMM}
DRAWS_AGAIN = {"timm"}
"""Lists from which the same operation may be drawn twice for one clip."""

# arXiv:1912.02781, section 3: no operation that its test corruptions contain.
AUG_MIX_OPS = (
    "auto_contrast",
    "equalize",
    "posterize",
    "rotate",
    "solarize",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)


def draw_rand_augment(policy: RandAugment, rng: np.random.Generator) -> tuple[Op, ...]:
    """Operations with their strengths, in order; those that chance leaves out are not among them."""
    table = RANGES[policy.ranges]
    names = rng.choice(list(table), policy.num_ops, replace=policy.ranges in DRAWS_AGAIN or policy.num_ops > len(table))
    drawn = [(str(name), draw_strength(table[name], policy.magnitude, policy.magnitude_std, rng)) for name in names]
    kept = rng.random(len(drawn)) < policy.probability
    return tuple(op for op, keep in zip(drawn, kept, strict=True) if keep)


def draw_aug_mix(policy: AugMix, rng: np.random.Generator) -> tuple[tuple[float, ...], tuple[tuple[Op, ...], ...]]:
    """Weights of the clip itself and of its chains (their sum is 1), and the operations of each chain."""
    share = rng.beta(policy.alpha, policy.alpha)
    weights = (1 - share, *(share * rng.dirichlet(np.full(policy.width, policy.alpha))))
    chains = []
    for _ in range(policy.width):
        names = rng.choice(AUG_MIX_OPS, policy.depth or int(rng.integers(1, 4)))
        chains.append(
            tuple((str(n), draw_strength(PYTORCHVIDEO[n], policy.magnitude, policy.magnitude_std, rng)) for n in names)
        )
    return tuple(float(weight) for weight in weights), tuple(chains)


def draw_strength(strength: Strength, magnitude: float, std: float, rng: np.random.Generator) -> float:
    """A strength around a magnitude: normal with ``std``, cut at 0 and 10.

    >>> draw_strength(PYTORCHVIDEO["posterize"], 7, 0, np.random.default_rng(0))
    2.0
    """
    start, span, how = strength
    change = float(np.clip(rng.normal(magnitude, std), 0, LARGEST)) / LARGEST * span
    coin = rng.random() < 0.5
    if how == "either":
        return start + (change if coin else -change)
    return float(start + (int(change) if how == "whole" else change))
