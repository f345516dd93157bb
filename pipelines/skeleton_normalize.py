"""Coordinates without what a camera adds to them: the picture's size, or where a body stands and how it is turned.

Source: MMAction2 1.2.0, PreNormalize2D and PreNormalize3D. Differs where keypoints are missing: these stay at zero (the
reference moves them in 2D unless asked otherwise), and a body is measured in the first frame that has what is needed.

Shapes: M people, T frames, K keypoints, C coordinates.
"""

import math
from dataclasses import replace

import numpy as np

from vidflow.config.skeleton import BodyNormalize, ScreenNormalize
from vidflow.errors import DataError
from vidflow.pipelines.skeleton_people import Skeletons
from vidflow.skeletons.layouts import SkeletonLayout

Pair = tuple[int, int]

# Layout -> centre of the body, lower and upper end of the spine, right and left shoulder.
BODY_AXES: dict[str, tuple[int, Pair, Pair]] = {
    "nturgb+d": (1, (0, 1), (8, 4)),  # PreNormalize3D of MMAction2 1.2.0
    "kinect20": (0, (0, 1), (8, 4)),
    "msr20": (6, (6, 3), (1, 0)),
}


def screen_normalized(skeletons: Skeletons, normalize: ScreenNormalize, size: tuple[int, int] | None) -> Skeletons:
    """Pixels to [-1, 1].

    Args:
        size: height and width of the picture in pixels; None takes the config's.
    """
    height, width = size or normalize.size
    half = np.array([width / 2, height / 2], np.float32)
    points = (skeletons.points - half) / half
    if normalize.missing == "moved":
        return replace(skeletons, points=points, present=np.ones_like(skeletons.present))
    points[~skeletons.present] = 0
    return replace(skeletons, points=points)


def body_normalized(skeletons: Skeletons, normalize: BodyNormalize, layout: SkeletonLayout | None) -> Skeletons:
    """Bodies in the origin, upright, and seen from the front; frames without the first person are left out.

    A sample without any keypoint stays as it is.

    Raises:
        DataError: which keypoints to measure is neither in the config nor known of the layout, or the skeletons do not
            have them.
    """
    center, spine, shoulders = _axes(normalize, layout)
    _check_axes(normalize, center, spine, shoulders, skeletons.points.shape[2])
    if not skeletons.present.any():
        return skeletons
    if normalize.order_people:
        skeletons = _first_person_first(skeletons)
    points, present = skeletons.points, skeletons.present
    if normalize.align_center:
        origin = _measure(points, present, (center,))
        if origin is not None:
            points = np.where(present[..., None], points - origin[0], np.float32(0))
    for wanted, ends, axis in (
        (normalize.align_spine, spine, np.array([0.0, 0.0, 1.0])),
        (normalize.align_shoulders, shoulders[::-1], np.array([1.0, 0.0, 0.0])),
    ):
        measured = _measure(points, present, ends) if wanted else None
        if measured is not None:
            points = points @ turning(measured[1].astype(np.float64) - measured[0], axis).T.astype(np.float32)
    return replace(skeletons, points=points)


def _axes(normalize: BodyNormalize, layout: SkeletonLayout | None) -> tuple[int, Pair, Pair]:
    """Centre, spine and shoulders; those that are not used may be anything."""
    known = BODY_AXES.get(layout.name) if layout is not None else None
    asked = (
        ("center", normalize.center, normalize.align_center),
        ("spine", normalize.spine, normalize.align_spine),
        ("shoulders", normalize.shoulders, normalize.align_shoulders),
    )
    if known is None and (lacking := [name for name, value, used in asked if used and value is None]):
        name = "custom" if layout is None else layout.name
        raise DataError(
            f"normalize: which keypoints are the body's {', '.join(lacking)} is not known of layout {name!r}; give "
            f"{', '.join(f'normalize.{name}' for name in lacking)}, or switch the alignment off"
        )
    center, spine, shoulders = known or (0, (0, 0), (0, 0))
    return (
        center if normalize.center is None else normalize.center,
        normalize.spine or spine,
        normalize.shoulders or shoulders,
    )


def _check_axes(normalize: BodyNormalize, center: int, spine: Pair, shoulders: Pair, num_keypoints: int) -> None:
    for name, used, keypoints in (
        ("center", normalize.align_center, (center,)),
        ("spine", normalize.align_spine, spine),
        ("shoulders", normalize.align_shoulders, shoulders),
    ):
        wrong = [keypoint for keypoint in keypoints if not 0 <= keypoint < num_keypoints]
        if used and wrong:
            raise DataError(f"normalize.{name}: keypoint {wrong[0]} does not exist; there are 0 to {num_keypoints - 1}")


def _first_person_first(skeletons: Skeletons) -> Skeletons:
    """The person that is there in most frames in front, the first of several; only the frames of this person."""
    there = np.asarray(skeletons.present.any(axis=2))  # [M, T]
    first = int(np.argmax(there.sum(axis=1)))
    people = np.arange(len(there))
    people = np.concatenate([[first], people[people != first]])
    return skeletons.take(people, np.flatnonzero(there[first]))


def _measure(points: np.ndarray, present: np.ndarray, keypoints: tuple[int, ...]) -> np.ndarray | None:
    """Some keypoints of the first person, float32 [n, C], in the first frame that has them all; None if none has."""
    frames = np.flatnonzero(present[0][:, list(keypoints)].all(axis=1))
    return points[0, frames[0], list(keypoints)] if len(frames) else None


def turning(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The rotation that turns a vector to an axis by the shortest way, float64 [3, 3].

    A vector of no length, or one that is on the axis in either direction, gives no rotation, as in the reference.

    >>> turning(np.array([0.0, 2.0, 0.0]), np.array([0.0, 0.0, 1.0])).round(9) @ [0, 2, 0]
    array([0., 0., 2.])
    """
    (a, b, c), (d, e, f) = vector.tolist(), axis.tolist()
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)  # np.cross takes ten times as long for one pair
    length, size = math.hypot(*normal), math.hypot(a, b, c)
    if length < 1e-6 * max(size, 1e-6):
        return np.eye(3)
    x, y, z = (value / length for value in normal)
    angle = math.atan2(length, a * d + b * e + c * f)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # Rodrigues' formula.
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross))
