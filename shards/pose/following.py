"""Following people through a video: which pose of a frame is whose, so that a person keeps its row.

Poses are compared by object keypoint similarity (OKS, COCO keypoint evaluation: the mean over keypoints of
exp(-d^2 / (2 s^2 k^2)), k = 2 sigma, s^2 the person's area), here with the area of the box around the keypoints.
Per frame, greedily: poses that are alike go on; then those near to where a person was; then new people come in while
there is room; and at last whoever is not seen in this frame is taken up again by what is left. So no row is split while
there are as many rows as people, and no pose is lost but those beyond the given number of people.

Shapes: P poses of a frame, M people, T frames, K keypoints.
"""

import numpy as np

from vidflow.shards.pose.estimator import People

# COCO's per-keypoint deviations, in its order of keypoints (pycocotools, cocoeval.py, Params.setKpParams).
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64) / 1000

ALIKE = 0.3
"""OKS from which a pose is the next one of a person, whatever else is there."""
_TWICE = 0.7
"""OKS from which two poses of one frame are one person, found twice."""
_NEAR = 0.5
"""Distance over the longer side of the person's box, within which a pose that is not alike may be the next one."""


def box_of(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner, x and y each, of the keypoints [K, 2] that are there (not all zeros)."""
    present = keypoints[keypoints.any(axis=1)].astype(np.float64)
    return present.min(axis=0), present.max(axis=0)


def keypoint_similarity(reference: np.ndarray, keypoints: np.ndarray) -> float:
    """OKS of two poses [17, 2], over the keypoints that both have; 0 where there are none."""
    both = reference.any(axis=1) & keypoints.any(axis=1)
    if not both.any():
        return 0.0
    low, high = box_of(reference)
    width, height = high - low
    # Someone seen edge-on, or lying, still has a body: a box is counted as at least a quarter as wide as it is long.
    area = max(width * height, max(width, height) ** 2 / 4, 1.0)
    distances = ((reference[both].astype(np.float64) - keypoints[both]) ** 2).sum(axis=1)
    return float(np.exp(-distances / (2 * area * (2 * SIGMAS[both]) ** 2)).mean())


def without_doubles(people: People, max_people: int) -> People:
    """The poses of a frame, best first: without empty ones, without the same person twice, and no more than allowed."""
    kept: list[int] = []
    for index in np.argsort(-people.scores.sum(axis=1), kind="stable").tolist():
        pose = people.keypoints[index]
        if len(kept) == max_people:
            break
        if pose.any() and all(keypoint_similarity(people.keypoints[other], pose) < _TWICE for other in kept):
            kept.append(index)
    return People(people.keypoints[kept], people.scores[kept])


class Follower:
    """Takes the people of one frame after the other and gives each a row; rows come in order of first appearance.

    Args:
        max_people: largest M.
    """

    def __init__(self, max_people: int) -> None:
        self._max_people = max_people
        self._last: list[np.ndarray] = []  # newest pose of each person, [17, 2]
        self._frames: list[tuple[list[int], People]] = []

    def add(self, people: People) -> None:
        """The next frame."""
        people = without_doubles(people, self._max_people)
        rows = self._rows(people.keypoints)
        for row, pose in zip(rows, people.keypoints, strict=True):
            if row == len(self._last):
                self._last.append(pose)
            else:
                self._last[row] = pose
        self._frames.append((rows, people))

    def _rows(self, poses: np.ndarray) -> list[int]:
        """The row of each pose; new ones are counted on from the last."""
        pairs = [(row, pose) for row in range(len(self._last)) for pose in range(len(poses))]
        alike = {pair: keypoint_similarity(self._last[pair[0]], poses[pair[1]]) for pair in pairs}
        apart = {pair: _distance(self._last[pair[0]], poses[pair[1]]) for pair in pairs}
        row_of: dict[int, int] = {}
        free = set(range(len(self._last)))

        def give(candidates: list[tuple[int, int]]) -> None:
            for row, pose in candidates:
                if row in free and pose not in row_of:
                    row_of[pose] = row
                    free.remove(row)

        give(sorted((pair for pair in pairs if alike[pair] >= ALIKE), key=lambda pair: -alike[pair]))
        near_first = sorted(pairs, key=lambda pair: apart[pair])
        give([pair for pair in near_first if apart[pair] <= _NEAR])
        num_rows = len(self._last)
        for pose in range(len(poses)):
            if pose not in row_of and num_rows < self._max_people:
                row_of[pose] = num_rows
                num_rows += 1
        give(near_first)
        return [row_of[pose] for pose in range(len(poses))]

    def result(self) -> People:
        """Keypoints float32 [M, T, 17, 2] and scores [M, T, 17]; zeros where a person is not seen."""
        shape = (len(self._last), len(self._frames), len(SIGMAS))
        keypoints, scores = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
        for frame, (rows, people) in enumerate(self._frames):
            keypoints[rows, frame], scores[rows, frame] = people
        return People(keypoints, scores)


def _distance(reference: np.ndarray, keypoints: np.ndarray) -> float:
    """Between the middles of two poses, over the longer side of the first one's box."""
    (low, high), other = box_of(reference), box_of(keypoints)
    apart = np.linalg.norm((low + high) / 2 - (other[0] + other[1]) / 2)
    return float(apart / max(*(high - low), 1.0))
