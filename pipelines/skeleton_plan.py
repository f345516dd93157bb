"""A skeleton plan: the few numbers that are drawn for one row of a skeleton pipeline.

Which frames a sample has is known only once its keypoints are read, because normalising may leave some out. So a plan
holds the seeds of its frames and of its crop, and gives the same for the same keypoints.

Shapes: V clips, T frames, C coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidflow.config.skeleton import SkeletonPipeline, SkeletonSampling
from vidflow.errors import DataError
from vidflow.pipelines.sampling import fold, policy_of, positions


@dataclass(frozen=True, eq=False)
class SkeletonPlan:
    """What is drawn for one row."""

    frames_seed: int
    box_seed: int
    """Of the crop, for heatmaps."""
    mirror: bool
    """Whether left and right change places."""
    warp: np.ndarray | None = None
    """float32 [C, C], what coordinates (as columns) are multiplied with; None leaves them alone."""

    def __post_init__(self) -> None:
        warp = self.warp
        if warp is not None and (warp.dtype != np.float32 or warp.shape not in ((2, 2), (3, 3))):
            raise ValueError(f"warp is {warp.dtype} {list(warp.shape)}, not float32 [2, 2] or [3, 3]")

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """None: all inputs are made of keypoints."""
        return {}

    def move_labels(self, labels: Sequence[int], flip_labels: Mapping[int, int]) -> tuple[int, ...]:
        """The sample's labels, replaced where ``flip_labels`` lists them and the row is mirrored."""
        return tuple(flip_labels.get(label, label) for label in labels) if self.mirror else tuple(labels)

    def frames(self, num_frames: int, sampling: SkeletonSampling) -> tuple[np.ndarray, np.ndarray]:
        """Frames of all clips, int64 [V, T], and which of them only fill up, bool [V, T].

        Raises:
            DataError: the sample is shorter than the clip, and the sampling refuses such.
        """
        places = positions(num_frames, sampling, np.random.default_rng(self.frames_seed))
        return fold(places, num_frames, policy_of(sampling)), (places < 0) | (places >= num_frames)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""
        return vars(self) | {"warp": None if self.warp is None else self.warp.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SkeletonPlan":
        """The inverse of ``to_dict``."""
        warp = values["warp"]
        return cls(**{**values, "warp": None if warp is None else np.asarray(warp, np.float32)})


def make_skeleton_plan(num_coords: int, pipeline: SkeletonPipeline, rng: np.random.Generator) -> SkeletonPlan:
    """Draw the plan of one row.

    As many numbers are drawn whatever is asked for: a rotation does not change the frames.

    Args:
        num_coords: C.
        rng: a fresh generator of ``sample_rng``.

    Raises:
        DataError: the pipeline turns about more axes than the sample has.
    """
    frames_seed, box_seed = (int(seed) for seed in rng.integers(2**63, size=2))
    mirror, *rest = rng.random(13)
    draws = 2 * np.array(rest) - 1  # in [-1, 1)
    return SkeletonPlan(frames_seed, box_seed, bool(mirror < pipeline.flip), _warp(num_coords, pipeline, draws))


def _warp(num_coords: int, pipeline: SkeletonPipeline, draws: np.ndarray) -> np.ndarray | None:
    """Scaled, then sheared, then turned about the first, the second and the third axis.

    Args:
        draws: 12 numbers in [-1, 1): angles, scales, shears.
    """
    num_angles = 1 if num_coords == 2 else 3
    if pipeline.rotate and len(pipeline.rotate) != num_angles:
        raise DataError(
            f"rotate = {list(pipeline.rotate)}: skeletons of {num_coords} coordinates take {num_angles} "
            f"angle{'s' if num_angles > 1 else ''}"
        )
    if not (pipeline.rotate or pipeline.scale or pipeline.shear):
        return None
    warp = np.diag(1 + pipeline.scale * draws[3 : 3 + num_coords])
    shear = np.eye(num_coords)
    shear[~np.eye(num_coords, dtype=bool)] = pipeline.shear * draws[6 : 6 + num_coords * (num_coords - 1)]
    warp = shear @ warp
    planes = ((0, 1),) if num_coords == 2 else ((1, 2), (2, 0), (0, 1))
    for (i, j), largest, draw in zip(planes, pipeline.rotate, draws[:3], strict=False):
        turn = np.eye(num_coords)
        angle = np.deg2rad(largest * draw)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        warp = turn @ warp
    return np.asarray(warp, np.float32)
