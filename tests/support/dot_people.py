"""People drawn as coloured dots, and estimators that find them: keypoint k of person p is (14 k + 15, p, 255)."""

from collections.abc import Iterator, Mapping

import numpy as np

from vidflow.shards.pose.estimator import People, TimedFrame

FIGURE = np.array(
    [
        [20, 2], [24, 0], [16, 0], [28, 4], [12, 4], [34, 20], [6, 20], [38, 38], [2, 38],
        [40, 56], [0, 56], [30, 58], [10, 58], [32, 80], [8, 80], [34, 100], [6, 100],
    ],
    np.float32,
)  # fmt: skip
"""[17, 2] pixels: someone who faces us, 40 wide and 100 high, in COCO's order."""


def draw_people(height: int, width: int, places: Mapping[int, tuple[float, float]]) -> np.ndarray:
    """uint8 [height, width, 3]: person -> where the upper left corner of its figure lies, whole pixels."""
    picture = np.zeros((height, width, 3), np.uint8)
    for person, place in places.items():
        for keypoint, (x, y) in enumerate((FIGURE + place).astype(int)):
            if 0 <= x < width and 0 <= y < height:
                picture[y, x] = (14 * keypoint + 15, person, 255)
    return picture


class DotEstimator:
    """Finds the dots; gives the people of each second frame in reverse, since an estimator owes no order."""

    def __init__(self, *, model: str | None, max_people: int) -> None:
        self.model = model

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        """Scores are 0.9, and 0 for a keypoint that is not seen."""
        for number, frame in enumerate(frames):
            assert frame.pixels.flags.c_contiguous
            rows, columns = np.nonzero(frame.pixels[..., 2] == 255)
            found: dict[int, np.ndarray] = {}
            for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
                red, person, _ = frame.pixels[y, x].tolist()
                found.setdefault(person, np.zeros((17, 2), np.float32))[(red - 15) // 14] = (x, y)
            order = sorted(found, reverse=number % 2 == 1)
            keypoints = np.array([found[person] for person in order], np.float32).reshape(-1, 17, 2)
            yield People(keypoints, keypoints.any(axis=2) * np.float32(0.9))


class WrongShapes(DotEstimator):
    """Gives 16 keypoints."""

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        for people in super().estimate(frames):
            yield People(people.keypoints[:, :16], people.scores[:, :16])


class TooFew(DotEstimator):
    """Leaves the last frame out."""

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        yield from list(super().estimate(frames))[:-1]


class TooMany(DotEstimator):
    """Gives the first frame twice."""

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        found = list(super().estimate(frames))
        yield from [found[0], *found]


class NotFinite(DotEstimator):
    """Gives a NaN in the second frame."""

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        for number, people in enumerate(super().estimate(frames)):
            people.keypoints[:, 3] = np.nan if number == 1 else 1
            yield people


class WithoutArguments:
    """Not called as an estimator is."""

    def __init__(self) -> None:
        pass


def not_an_estimator(model: str | None, max_people: int) -> str:
    """Called like one, but gives none."""
    return "nothing"
