"""Skeleton files with one sample each: MSR-Action3D text and NTU RGB+D ``.skeleton`` text.

Formats as the data sets' owners document them: MSR-Action3D ("Action Recognition Based on A Bag of 3D Points",
CVPR Workshops 2010), 20 lines ``x y z confidence`` per frame; NTU RGB+D (CVPR 2016, arXiv:1604.02808) and its MATLAB
reader.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidflow.errors import DataError
from vidflow.shards.contents import Contents
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents

_MSR_JOINTS = 20
_NTU_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, tracking state


def _lines(path: str) -> list[str]:
    data = Path(path).read_bytes()
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text, byte {error.start} is {data[error.start]}") from error
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def _numbers(line: str, count: int, where: str) -> list[float]:
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
        lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
        values = np.array([_numbers(line, 4, f"{path}:{number}") for number, line in lines], np.float32).reshape(-1, 4)
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
        lines = iter(enumerate(_lines(path), 1))

        def following(count: int, what: str) -> list[float]:
            number, line = next(lines, (0, ""))
            if not number:
                raise DataError(f"{path}: ends where {what} should follow; is it whole?")
            return _numbers(line, count, f"{path}:{number}")

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


def _count(value: float, path: str, what: str) -> int:
    if value != int(value) or not 0 <= value < 1_000_000:
        raise DataError(f"{path}: {value:g} cannot be a number of {what}")
    return int(value)
