"""Skeletons for tests, and the arrays of what was read."""

import numpy as np

from vidflow.members import from_npy
from vidflow.shards.contents import Contents


def people(count: int, frames: int = 4, keypoints: int = 17, coords: int = 2) -> np.ndarray:
    """[M, T, K, C], all values different and none 0."""
    shape = (count, frames, keypoints, coords)
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


def arrays_of(contents: Contents) -> dict[str, np.ndarray]:
    """Suffix -> array of all members."""
    return {member.suffix: from_npy(member.data, member.suffix) for member in contents.members}
