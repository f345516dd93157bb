"""Features of skeletons for graph models: joints, bones, and their motion.

A bone is a keypoint minus its neighbour on the way to the centre (2s-AGCN, arXiv:1805.07694), motion the next frame
minus this one (MS-AAGCN, arXiv:1912.06971); the last frame has none. Conventions are MMAction2 1.2.0's (GenSkeFeat);
differs where a keypoint is missing: what is made of it is zero.

Shapes: M people, T frames (n chosen), K keypoints, C coordinates.
"""

from collections.abc import Sequence

import numpy as np

from vidflow.pipelines.skeleton_people import Skeletons
from vidflow.skeletons.layouts import Pair


def features_of(
    skeletons: Skeletons, frames: np.ndarray, features: Sequence[str], bones: Sequence[Pair], *, scores: bool
) -> np.ndarray:
    """Features of chosen frames, float32 [M, n, K, F * C] (or F * (C + 1) with scores), one feature after the other.

    Args:
        frames: int64 [n].
        features: "joint", "bone", "joint_motion" and "bone_motion", in the order of the result.
        bones: for each keypoint i in order (i, j): its bone is keypoint i minus keypoint j.
        scores: whether the score is a last coordinate of each feature: of a bone or a motion the mean of its two ends'.
    """
    last = skeletons.points.shape[1] - 1
    now = skeletons.take(frames=frames)
    if any(name.endswith("motion") for name in features):
        following = skeletons.take(frames=np.minimum(frames + 1, last))
        following.present[:, frames == last] = False
    parts = []
    for name in features:
        ends = [now, following] if name.endswith("motion") else [now]
        states = [_bones(end, bones) for end in ends] if name.startswith("bone") else ends
        chosen = _motion(*states) if len(states) == 2 else states[0]
        if len(states) == 2:
            chosen.scores[:, frames == last] = 0
        parts += [chosen.points, chosen.scores[..., None]] if scores else [chosen.points]
    return np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _bones(skeletons: Skeletons, bones: Sequence[Pair]) -> Skeletons:
    ends = np.array([end for _, end in bones])
    points, scores, present = skeletons.points, skeletons.scores, skeletons.present
    both = present & present.take(ends, axis=2)
    values = points - points.take(ends, axis=2)
    return Skeletons(_where(both, values), (scores + scores.take(ends, axis=2)) / 2, both)


def _motion(now: Skeletons, following: Skeletons) -> Skeletons:
    present = now.present & following.present
    points = following.points - now.points
    return Skeletons(_where(present, points), (now.scores + following.scores) / 2, present)


def _where(present: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values with zeros where a keypoint is missing; changed in place."""
    if not present.all():
        values[~present] = 0
    return values
