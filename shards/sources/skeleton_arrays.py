"""Keypoints as arrays: checks and policies that all skeleton sources share.

A keypoint that is missing has zeros for all its coordinates, as NTU RGB+D, MSR-Action3D and PYSKL write it. A score of
0 alone does not say so: MSR-Action3D has it for joints whose place was inferred.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vidflow.errors import DataError
from vidflow.members import KEYPOINT, NPY_ERRORS, SCORE, to_npy
from vidflow.schema import NUM_KEYPOINTS, Layout, SkeletonInfo
from vidflow.shards.contents import Contents, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class SkeletonPolicy:
    """What is done with skeletons that are not as one would like."""

    layout: Layout | None = None
    """None finds it by the number of keypoints."""
    max_people: int | None = None
    """Of more people the ones with the highest score are kept, or where there is no score the ones that move most."""
    nobody: Literal["reject", "keep"] = "reject"
    """What becomes of samples in which no keypoint is there at all."""
    fps: float | None = None
    """Frames per second, where the source does not say."""


def open_npy(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, of plain values and left on the disk. ``numpy.load`` would open zip files as well.

    Raises:
        DataError: it is no such file.
        OSError: it cannot be read.
    """
    try:
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except NPY_ERRORS as error:
        raise DataError(
            f"{path}: no readable .npy array ({error}); save it again as plain values, with numpy.save"
        ) from error
    return array


def find_layout(num_keypoints: int, layout: Layout | None) -> Layout:
    """The layout of a number of keypoints.

    Raises:
        DataError: the given layout has another number.
    """
    if layout is None:
        # 20 joints are Kinect's first version, of which MSR-Action3D is one numbering of several.
        found: dict[int, Layout] = {17: "coco", 18: "openpose", 25: "nturgb+d"}
        return found.get(num_keypoints, "custom")
    expected = NUM_KEYPOINTS.get(layout, num_keypoints)
    if expected != num_keypoints:
        raise DataError(f"{num_keypoints} keypoints, layout {layout} has {expected}; give the right --layout")
    return layout


def skeleton_contents(
    keypoints: np.ndarray,
    scores: np.ndarray | None,
    policy: SkeletonPolicy,
    *,
    conceal: bool,
    size: tuple[int, int] | None = None,
) -> Contents:
    """Members and info of one skeleton sample.

    Args:
        keypoints: [M, T, K, C]; float16 and float32 stay as they are, all else becomes float32.
        scores: [M, T, K] or None.
        conceal: keypoints that are not finite are marked as missing; else they reject the sample.
        size: width and height in pixels of the picture, where known.

    Raises:
        DataError: wrong shapes, a picture without pixels, values that are not finite, or nobody.
    """
    if keypoints.ndim != 4 or keypoints.dtype.kind not in "fiu":
        raise DataError(f"keypoints are {keypoints.dtype} {list(keypoints.shape)}; numbers [M, T, K, C] are needed")
    _, num_frames, num_keypoints, num_coords = keypoints.shape
    if num_coords not in (2, 3):
        raise DataError(f"{num_coords} coordinates per keypoint in {list(keypoints.shape)}; 2 or 3 are needed")
    if not num_frames or not num_keypoints:
        raise DataError(f"keypoints of shape {list(keypoints.shape)} hold no frame")
    if scores is not None and scores.shape != keypoints.shape[:3]:
        raise DataError(f"scores of shape {list(scores.shape)} beside keypoints of shape {list(keypoints.shape)}")
    if scores is not None and scores.dtype.kind not in "fiub":
        raise DataError(f"scores are {scores.dtype} {list(scores.shape)}; numbers [M, T, K] are needed")
    if size is not None and min(size) <= 0:
        raise DataError(f"a picture {size[0]} pixels wide and {size[1]} high; both must be positive, or left out")
    layout = find_layout(num_keypoints, policy.layout)
    keypoints = _stored(keypoints)
    scores = None if scores is None else _stored(scores)
    keypoints, scores, num_damaged = _only_finite(keypoints, scores, conceal=conceal)
    present = np.any(keypoints, axis=3)  # [M, T, K]
    if not present.any():
        if policy.nobody == "reject":
            raise DataError("holds nobody; give --nobody keep to pack such samples")
        if not len(keypoints):  # one person that is never there, so that every sample has some
            keypoints = np.zeros((1, num_frames, num_keypoints, num_coords), keypoints.dtype)
            scores = None if scores is None else np.zeros((1, num_frames, num_keypoints), scores.dtype)
    elif policy.max_people is not None and len(keypoints) > policy.max_people:
        kept = _foremost(keypoints, scores, present, policy.max_people)
        keypoints, scores = keypoints[kept], None if scores is None else scores[kept]
    info = SkeletonInfo(
        layout=layout,
        num_people=len(keypoints),
        num_frames=num_frames,
        num_keypoints=num_keypoints,
        num_coords=num_coords,
        has_scores=scores is not None,
        width=size and size[0],
        height=size and size[1],
        fps=policy.fps,
        duration=num_frames / policy.fps if policy.fps else None,
        num_damaged=num_damaged,
    )
    members = [Member(KEYPOINT, to_npy(keypoints))]
    if scores is not None:
        members.append(Member(SCORE, to_npy(scores)))
    return Contents(info, tuple(members))


def _stored(array: np.ndarray) -> np.ndarray:
    if array.dtype in (np.float16, np.float32):
        return array
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is looked for afterwards
        return array.astype(np.float32)


def _only_finite(
    keypoints: np.ndarray, scores: np.ndarray | None, *, conceal: bool
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Keypoints and scores without NaN and infinity, and how many keypoints had one."""
    bad = ~np.isfinite(keypoints).all(axis=3)  # [M, T, K]
    if scores is not None:
        bad |= ~np.isfinite(scores)
    count = int(bad.sum())
    if not count:
        return keypoints, scores, 0
    if not conceal:
        person, frame, keypoint = np.argwhere(bad)[0].tolist()
        raise DataError(
            f"{count} of {bad.size} keypoints are not finite, first person {person}, frame {frame}, "
            f"keypoint {keypoint}; mend them, or give --on-damage conceal to mark them as missing"
        )
    return np.where(bad[..., None], 0, keypoints), None if scores is None else np.where(bad, 0, scores), count


def _foremost(keypoints: np.ndarray, scores: np.ndarray | None, present: np.ndarray, count: int) -> np.ndarray:
    """Positions of the people to keep, ascending: those with the largest sum of scores, or without scores of motion."""
    if scores is not None:
        weight = scores.astype(np.float64).sum(axis=(1, 2))
    else:
        both = present[:, 1:] & present[:, :-1]  # [M, T - 1, K]
        steps = np.linalg.norm(np.diff(keypoints.astype(np.float64), axis=1), axis=3)
        weight = (steps * both).sum(axis=(1, 2)) + 1e-9 * present.sum(axis=(1, 2))
    return np.sort(np.argsort(-weight, kind="stable")[:count])
