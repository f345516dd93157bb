"""Keypoint files of the Kinetics-400 skeletons (PYSKL, MMAction2): pickles beside the one that lists the samples.

The list has ``frame_inds`` [N], the frame of each of N bodies, in place of keypoints. The bodies [N, K, 3], each x, y
and score, lie in ``<frame_dir>.pkl`` as ``{"keypoint": array}``, or in a file for many videos, which ``raw_file``
names, as ``{frame_dir: {"keypoint": array}}``.
Format: PYSKL, tools/data/README.md; MMAction2, tools/data/skeleton/README.md.
"""

import os
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vidflow import safe_pickle
from vidflow.errors import DataError
from vidflow.shards.contents import Contents
from vidflow.shards.sources.class_folders import walk_videos
from vidflow.shards.sources.items import text_of
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents


@dataclass(frozen=True, slots=True, eq=False)
class KeypointFile:
    """Reader of one video's bodies."""

    name: str
    """The sample's ``frame_dir``."""
    frame_inds: np.ndarray
    """Whole numbers [N], the frame of each body."""
    size: tuple[int, int] | None
    """Width and height of the picture in pixels."""
    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [M, T, K, 2] and scores [M, T, K]; T are the frames that have a body."""
        content = _content(path, Path(path).stat().st_mtime_ns)
        entry = content if "keypoint" in content else content.get(self.name)
        bodies = entry.get("keypoint") if isinstance(entry, dict) else None
        if not isinstance(bodies, np.ndarray) or bodies.ndim != 3 or bodies.shape[2] != 3:
            found = "nothing" if bodies is None else getattr(bodies, "shape", type(bodies).__name__)
            raise DataError(f"{path}: has {found} for {self.name}; an array 'keypoint' [N, K, 3] is needed")
        if bodies.dtype.kind not in "fiu":
            raise DataError(f"{path}: has {bodies.dtype} for {self.name}; numbers [N, K, 3] are needed")
        if len(bodies) != len(self.frame_inds):
            raise DataError(f"{path}: {len(bodies)} bodies for {len(self.frame_inds)} frame numbers in the list")
        keypoints, scores = bodies_by_frame(bodies, self.frame_inds, self.policy.max_people)
        return skeleton_contents(keypoints, scores, self.policy, conceal=conceal, size=self.size)


def bodies_by_frame(
    bodies: np.ndarray, frame_inds: np.ndarray, max_people: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Bodies in a row as people over frames; frames without a body are left out.

    Person ``m`` of a frame is the ``m``-th body in it, in the order of the file; where a frame of the sample has more
    than ``max_people``, the bodies of every frame are ordered by their summed scores, and the last ones dropped.

    Args:
        bodies: [N, K, 3], x, y and score.
        frame_inds: [N], any whole numbers.

    Returns:
        Keypoints [M, T, K, 2] and scores [M, T, K], zeros where a frame has fewer people.

    Source: DecompressPose of MMAction2 with ``squeeze=True``.
    """
    frames, position = np.unique(frame_inds, return_inverse=True)  # [T], [N]
    counts = np.bincount(position, minlength=len(frames))
    num_people = int(counts.max(initial=0))
    order = np.arange(len(bodies))
    if max_people is not None and num_people > max_people:
        num_people = max_people
        order = np.argsort(-bodies[..., 2].astype(np.float64).sum(axis=1), kind="stable")
    order = order[np.argsort(position[order], kind="stable")]  # frame after frame
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = rank < num_people
    out = np.zeros((num_people, len(frames), *bodies.shape[1:]), bodies.dtype)
    out[rank[kept], position[order[kept]]] = bodies[order[kept]]
    return out[..., :2], out[..., 2]


@lru_cache(maxsize=2)
def _content(path: str, mtime_ns: int) -> dict[Any, Any]:
    """A file of many videos is read once for neighbours of one file."""
    content = safe_pickle.load(Path(path))
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__}, a dictionary is needed")
    return content


def find_keypoint_files(folder: Path) -> dict[str, str]:
    """File name -> path of all pickles below a folder.

    Raises:
        DataError: no such folder, or two files of one name.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; the list has no keypoints in it, they are needed from kpfiles/ beside it"
        )
    found: dict[str, str] = {}
    for path in walk_videos(os.fspath(folder), (), Counter(), lambda name: name.lower().endswith(".pkl")):
        name = PurePath(path).name
        if name in found:
            raise DataError(f"{folder}: {text_of(found[name])} and {text_of(path)} have one name; leave one of them")
        found[name] = path
    return found
