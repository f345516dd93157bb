"""Keypoints as they are packed to keypoints of a fixed number of people.

Shapes: M people, T frames, K keypoints, C coordinates.
"""

from dataclasses import dataclass

import numpy as np

from vidflow.config.skeleton import SkeletonPipeline


@dataclass(frozen=True, eq=False)
class Skeletons:
    """The people of one sample."""

    points: np.ndarray
    """float32 [M, T, K, C]; zeros where a keypoint is missing."""
    scores: np.ndarray
    """float32 [M, T, K]; 0 where a keypoint is missing."""
    present: np.ndarray
    """bool [M, T, K], keypoints that are there."""

    def take(self, people: np.ndarray | None = None, frames: np.ndarray | None = None) -> "Skeletons":
        """Those people and frames, by number."""
        people = np.arange(len(self.points)) if people is None else people
        if frames is None:
            return Skeletons(self.points[people], self.scores[people], self.present[people])
        rows = people[:, None]
        return Skeletons(self.points[rows, frames], self.scores[rows, frames], self.present[rows, frames])


def present_skeletons(points: np.ndarray, scores: np.ndarray | None) -> Skeletons:
    """Packed keypoints with what is missing marked: all coordinates 0, or a coordinate that is no number.

    Args:
        points: [M, T, K, C], any float type.
        scores: [M, T, K]; None gives each keypoint that is there a score of 1.
    """
    points = points.astype(np.float32)
    finite = np.isfinite(points).all(axis=-1)
    present = points.any(axis=-1) & finite
    if not finite.all():
        points[~finite] = 0
    if scores is None:
        return Skeletons(points, present.astype(np.float32), present)
    scores = np.where(present & np.isfinite(scores), scores, 0).astype(np.float32)
    return Skeletons(points, scores, present)


def choose_people(skeletons: Skeletons, count: int, by: str) -> Skeletons:
    """At most ``count`` people, in the order that they have.

    Args:
        by: "first", "score" (the sum over all frames; of keypoints where no score is known), or "motion" (the sum of
            the variances of all coordinates over the frames in which they are there).
    """
    if len(skeletons.points) <= count:
        return skeletons
    if by == "first":
        return skeletons.take(np.arange(count))
    worth = skeletons.scores.sum(axis=(1, 2)) if by == "score" else _motion(skeletons)
    return skeletons.take(np.sort(np.argsort(-worth, kind="stable")[:count]))


def _motion(skeletons: Skeletons) -> np.ndarray:
    """float64 [M]."""
    weights = skeletons.present[..., None].astype(np.float64)  # [M, T, K, 1]
    count = np.maximum(weights.sum(axis=1), 1)  # [M, K, 1]
    mean = (skeletons.points * weights).sum(axis=1) / count
    squares = ((skeletons.points - mean[:, None]) ** 2 * weights).sum(axis=1) / count
    return np.asarray(squares.sum(axis=(1, 2)))


def fill_people(values: np.ndarray, count: int, how: str) -> np.ndarray:
    """[M, ...] with M made ``count``: empty places hold zeros, or with "loop" the only person of a sample again."""
    missing = count - len(values)
    if not missing:
        return values
    if how == "loop" and len(values) == 1:
        return np.repeat(values, count, axis=0)
    return np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])


def people_of(points: np.ndarray, scores: np.ndarray | None, pipeline: SkeletonPipeline) -> Skeletons:
    """Packed keypoints as the people that a pipeline shows, at most ``num_people``."""
    return choose_people(present_skeletons(points, scores), pipeline.num_people, pipeline.choose_people)
