"""Skeleton files with one sample each: MSR-Action3D text, NTU RGB+D ``.skeleton`` text, and JSON of Kinetics-skeleton.

Formats as the data sets' owners document them: MSR-Action3D ("Action Recognition Based on A Bag of 3D Points",
CVPR Workshops 2010), 20 lines ``x y z confidence`` per frame; NTU RGB+D (CVPR 2016, arXiv:1604.02808) and its MATLAB
reader; Kinetics-skeleton (ST-GCN, arXiv:1801.07455), poses that OpenPose found.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from vidflow.errors import DataError
from vidflow.schema import Layout
from vidflow.shards.contents import Contents
from vidflow.shards.sources.items import SampleReader
from vidflow.shards.sources.skeleton_archives import SkeletonNpz
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents

_MSR_JOINTS = 20
_NTU_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, tracking state


def text_lines(path: str) -> list[str]:
    """Lines of a text file in ASCII.

    Raises:
        DataError: it is no text.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text, byte {error.start} is {data[error.start]}") from error
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def numbers_of(line: str, count: int, where: str) -> list[float]:
    """The numbers of a line.

    Raises:
        DataError: something else is in it, or another count of them.
    """
    cells = line.split()
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise DataError(f"{where}: {line[:60]!r} is no row of numbers") from error
    if len(values) != count:
        raise DataError(f"{where}: {len(values)} numbers, {count} are needed")
    return values


@dataclass(frozen=True, slots=True)
class MsrText:
    """Reader of a text file with 20 lines ``x y z confidence`` per frame."""

    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [1, T, 20, 3] in metres; scores [1, T, 20] are the file's confidences."""
        lines = [(number, line) for number, line in enumerate(text_lines(path), 1) if line.strip()]
        values = np.array([numbers_of(line, 4, f"{path}:{number}") for number, line in lines], np.float32).reshape(
            -1, 4
        )
        if not len(values) or len(values) % _MSR_JOINTS:
            raise DataError(f"{path}: {len(values)} lines, a multiple of {_MSR_JOINTS} joints is needed; is it whole?")
        table = values.reshape(1, -1, _MSR_JOINTS, 4)
        return skeleton_contents(table[..., :3], table[..., 3], self.policy, conceal=conceal)


@dataclass(frozen=True, slots=True)
class NtuText:
    """Reader of an NTU RGB+D ``.skeleton`` file.

    A person is a body id, in the order of first appearance; people are not joined, split or cleaned of noise. A body id
    that one frame has twice counts with its first entry.
    """

    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [M, T, 25, 3] in metres; zeros where a person is absent. The format has no scores."""
        lines = iter(enumerate(text_lines(path), 1))

        def following(count: int, what: str) -> list[float]:
            number, line = next(lines, (0, ""))
            if not number:
                raise DataError(f"{path}: ends where {what} should follow; is it whole?")
            return numbers_of(line, count, f"{path}:{number}")

        num_frames = _count(following(1, "the number of frames")[0], path, "frames")
        bodies: dict[str, dict[int, np.ndarray]] = {}
        for frame in range(num_frames):
            for _ in range(_count(following(1, f"the number of bodies of frame {frame}")[0], path, "bodies")):
                number, line = next(lines, (0, ""))
                # The id has 17 digits, more than a float can hold.
                name, *states = line.split() or [""]
                if len(states) != 9:
                    found = len(states) + 1
                    raise DataError(f"{path}:{number}: {found} values for a body, 10 are needed; is it whole?")
                num_joints = _count(following(1, "the number of joints")[0], path, "joints")
                joints = [following(_NTU_VALUES, "a joint") for _ in range(num_joints)]
                array = np.array(joints, np.float32).reshape(num_joints, _NTU_VALUES)[:, :3]
                bodies.setdefault(name, {}).setdefault(frame, array)
        joint_counts = {len(array) for frames in bodies.values() for array in frames.values()} or {25}
        if len(joint_counts) > 1:
            raise DataError(f"{path}: bodies of {sorted(joint_counts)} joints in one file")
        keypoints = np.zeros((len(bodies), num_frames, joint_counts.pop(), 3), np.float32)
        for person, frames in zip(keypoints, bodies.values(), strict=True):
            for frame, array in frames.items():
                person[frame] = array
        return skeleton_contents(keypoints, None, self.policy, conceal=conceal)


_OPENPOSE_JOINTS = 18
_OPENPOSE_SIZE = (340, 256)  # ST-GCN, section 4.1: all videos were resized to 340 x 256 before OpenPose


@dataclass(frozen=True, slots=True)
class OpenPoseJson:
    """Reader of ``{"data": [{"frame_index": 1, "skeleton": [{"pose": [x, y, ...], "score": [...]}]}]}``.

    Coordinates in the file run over [0, 1] of the picture; they are stored in pixels of 340 x 256. Person ``m`` of a
    frame is the ``m``-th in it: the file does not follow people through time.
    """

    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [M, T, 18, 2] in pixels and scores [M, T, 18]; T runs to the last frame that the file names."""
        try:
            frames = json.loads(Path(path).read_bytes())["data"]
            numbers = [_count(float(frame["frame_index"]), f"{path}: frame_index", "frames") for frame in frames]
            found = [
                (number - 1, person, body["pose"], body["score"])
                for number, frame in zip(numbers, frames, strict=True)
                for person, body in enumerate(frame["skeleton"])
            ]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"{path}: no JSON with data, frame_index, skeleton, pose and score ({error!r})") from error
        num_people = 1 + max((person for _, person, _, _ in found), default=-1)
        keypoints = np.zeros((num_people, max(numbers, default=0) or 1, _OPENPOSE_JOINTS, 2), np.float32)
        scores = np.zeros(keypoints.shape[:3], np.float32)
        for frame, person, pose, score in found:
            where = f"{path}: frame {frame + 1}, person {person}"
            points, confidences = _row_of(pose, f"{where}: pose"), _row_of(score, f"{where}: score")
            if frame < 0 or len(points) != 2 * _OPENPOSE_JOINTS or len(confidences) != _OPENPOSE_JOINTS:
                raise DataError(
                    f"{where}: {len(points)} coordinates and {len(confidences)} scores; "
                    f"{2 * _OPENPOSE_JOINTS} and {_OPENPOSE_JOINTS} are needed, and frames count from 1"
                )
            keypoints[person, frame] = points.reshape(-1, 2)
            scores[person, frame] = confidences
        keypoints *= np.array(_OPENPOSE_SIZE, np.float32)
        return skeleton_contents(keypoints, scores, self.policy, conceal=conceal, size=_OPENPOSE_SIZE)


def _row_of(values: object, where: str) -> np.ndarray:
    """A list of numbers in JSON as float32 [n]; null becomes NaN."""
    try:
        row = np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{where} is no list of numbers ({error})") from error
    if row.ndim != 1:
        raise DataError(f"{where} is no list of numbers, but of shape {list(row.shape)}")
    return row


@dataclass(frozen=True, slots=True)
class SkeletonFile:
    """Reader of any of these files, by its extension."""

    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints as the format's own reader gives them."""
        suffix = PurePath(path).suffix.lower()
        if suffix not in _READERS:
            raise DataError(
                f"{path}: no skeletons are read from {suffix or 'such'} files, but from {', '.join(_READERS)}"
            )
        reader, layout = _READERS[suffix]
        return reader(replace(self.policy, layout=self.policy.layout or layout)).read(path, conceal=conceal)


_READERS: dict[str, tuple[Callable[[SkeletonPolicy], SampleReader], Layout | None]] = {
    ".skeleton": (NtuText, "nturgb+d"),
    ".txt": (MsrText, "msr20"),
    ".json": (OpenPoseJson, "openpose"),
    ".npz": (SkeletonNpz, None),
}


def _count(value: float, where: str, what: str) -> int:
    if not math.isfinite(value) or value != int(value) or not 0 <= value < 1_000_000:
        raise DataError(f"{where}: {value:g} cannot be a number of {what}")
    return int(value)
