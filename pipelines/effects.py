"""What a plan does to pixels beside cropping, mirroring and the colour map: drawn once per sample, plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vidflow.config.augmentation import GaussianBlur
from vidflow.config.pipeline import ClipPipeline
from vidflow.pipelines.erasing import Erasure, draw_erasures
from vidflow.pipelines.pixel_ops import COLOR_OPS, Op, apply_color_ops, geometric_matrix, warp_frames
from vidflow.pipelines.policies import draw_aug_mix, draw_rand_augment


@dataclass(frozen=True, eq=False)
class Effects:
    """In the order in which they are carried out; mirroring and normalising come before ``erasures``."""

    ops: tuple[Op, ...] = ()
    """Operations on decoded frames. Geometric ones among them are not carried out here but in ``warp``."""
    mix_weights: tuple[float, ...] = ()
    """Weights of the frames and of each chain's result in a mean of them; none: no mixing."""
    mix_chains: tuple[tuple[Op, ...], ...] = ()
    """Operations of each chain."""
    warp: np.ndarray | None = None
    """float64 [2, 3]: a point (x, y) of the frame that is cropped shows the decoded frame at warp @ (x, y, 1)."""
    blur_sigma: float | None = None
    """Of a Gaussian on the resampled view, in output pixels; 0 leaves this clip sharp, None all clips."""
    erasures: tuple[Erasure, ...] = ()
    """Boxes of the output that are painted over."""

    @property
    def on_host(self) -> bool:
        """Whether decoded frames change on the host, before an executor resamples them."""
        return bool(self.mix_weights) or changes_colors(self.ops)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""
        return {
            "ops": [list(op) for op in self.ops],
            "mix_weights": list(self.mix_weights),
            "mix_chains": [[list(op) for op in chain] for chain in self.mix_chains],
            "warp": None if self.warp is None else self.warp.tolist(),
            "blur_sigma": self.blur_sigma,
            "erasures": [erasure.to_dict() for erasure in self.erasures],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Effects":
        """The inverse of ``to_dict``."""
        return cls(
            ops=_ops(values["ops"]),
            mix_weights=tuple(values["mix_weights"]),
            mix_chains=tuple(_ops(chain) for chain in values["mix_chains"]),
            warp=None if values["warp"] is None else np.asarray(values["warp"], np.float64),
            blur_sigma=values["blur_sigma"],
            erasures=tuple(Erasure.from_dict(erasure) for erasure in values["erasures"]),
        )

    def describe(self) -> list[str]:
        """A line for people per effect."""
        lines = [f"operations: {_words(self.ops)}"] if self.ops else []
        for weight, chain in zip(self.mix_weights[1:], self.mix_chains, strict=True):
            lines.append(f"mixed in by {weight:.2f}: {_words(chain)}")
        if self.blur_sigma:
            lines.append(f"blur: sigma {self.blur_sigma:.2f} pixels")
        return lines + [f"erased: {erasure.describe()}" for erasure in self.erasures]


NO_EFFECTS = Effects()


def _ops(values: Any) -> tuple[Op, ...]:
    return tuple((str(name), float(strength)) for name, strength in values)


def _words(ops: tuple[Op, ...]) -> str:
    return ", ".join(f"{name} {strength:.3g}" for name, strength in ops)


def changes_colors(ops: tuple[Op, ...]) -> bool:
    """Whether any of the operations changes colours."""
    return any(name in COLOR_OPS for name, _ in ops)


def draw_effects(pipeline: ClipPipeline, height: int, width: int, seed: np.random.SeedSequence) -> Effects:
    """The effects of one sample; each kind has a generator of its own, so that one does not change another.

    Args:
        height, width: of the decoded frame, in pixels.
    """
    if not any((pipeline.rand_augment, pipeline.aug_mix, pipeline.blur, pipeline.erasing)):
        return NO_EFFECTS
    policy_rng, blur_rng, erasing_rng = (np.random.default_rng(child) for child in seed.spawn(3))
    ops: tuple[Op, ...] = ()
    weights: tuple[float, ...] = ()
    chains: tuple[tuple[Op, ...], ...] = ()
    if pipeline.rand_augment is not None:
        ops = draw_rand_augment(pipeline.rand_augment, policy_rng)
    if pipeline.aug_mix is not None:
        weights, chains = draw_aug_mix(pipeline.aug_mix, policy_rng)
    return Effects(
        ops=ops,
        mix_weights=weights,
        mix_chains=chains,
        warp=geometric_matrix(ops, height, width),
        blur_sigma=draw_blur(pipeline.blur, blur_rng),
        erasures=draw_erasures(pipeline.erasing, pipeline.size, erasing_rng),
    )


def draw_blur(blur: GaussianBlur | None, rng: np.random.Generator) -> float | None:
    """A sigma uniform in its range, in pixels; 0 where this clip stays sharp, None without blur."""
    if blur is None:
        return None
    applies, sigma = rng.random() < blur.probability, float(rng.uniform(*blur.sigma))
    return sigma if applies else 0.0


def blur_window(sigma: float) -> int:
    """Width in pixels of the kernel: odd, three sigma to each side.

    >>> blur_window(0.0), blur_window(0.5), blur_window(1.0)
    (1, 5, 7)
    """
    return 2 * int(np.ceil(3 * sigma)) + 1


def change_frames(frames: np.ndarray, effects: Effects) -> np.ndarray:
    """What happens to decoded frames before they are resampled, uint8 [N, H, W, 3]; the argument stays as it is.

    AugMix's chains warp their frames here, one more resampling of these small contributions; boxes and keypoints stay
    where the unchanged frames have them.
    """
    frames = apply_color_ops(frames, effects.ops)
    if not effects.mix_weights:
        return frames
    height, width = frames.shape[1:3]
    chains = [(chain, geometric_matrix(chain, height, width)) for chain in effects.mix_chains]
    out = np.empty_like(frames)
    for place, frame in enumerate(frames):  # one by one, so that the sums stay in the processor's cache
        total = frame * np.float32(effects.mix_weights[0])
        for weight, (chain, matrix) in zip(effects.mix_weights[1:], chains, strict=True):
            changed = apply_color_ops(frame[None], chain)
            if matrix is not None:
                changed = warp_frames(changed, matrix)
            cv2.scaleAdd(changed[0].astype(np.float32), weight, total, total)
        out[place] = np.clip(np.rint(total), 0, 255)
    return out
