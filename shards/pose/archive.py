"""Skeletons of one video as an ``.npz`` file: plain arrays, no pickles, the same bytes for the same content.

=================  ==================  ==================================================================
array              type                meaning
=================  ==================  ==================================================================
``keypoint``       float [M, T, K, C]  x and y in pixels (or x, y, z in metres); zeros where missing
``keypoint_score`` float [M, T, K]     confidence per keypoint
``seconds``        float [T]           time of each frame from the first one; strictly increasing
``size``           int [2]             width and height of the picture in pixels
``layout``         text                what the keypoints are, see ``vidflow.schema.Layout``
=================  ==================  ==================================================================

All but ``keypoint`` may be absent in files of other programs.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from vidflow.errors import DataError
from vidflow.schema import Layout

_ARRAYS = ("keypoint", "keypoint_score", "seconds", "size", "layout")


@dataclass(frozen=True, slots=True, eq=False)
class SkeletonArchive:
    """What a file holds; see the module's docstring."""

    keypoints: np.ndarray
    scores: np.ndarray | None = None
    seconds: np.ndarray | None = None
    size: tuple[int, int] | None = None
    """Width, height."""
    layout: Layout | None = None

    @property
    def fps(self) -> float | None:
        """Mean rate, (T - 1) / (time from the first to the last frame); None for one frame, or without times."""
        if self.seconds is None or len(self.seconds) < 2:
            return None
        return float((len(self.seconds) - 1) / (self.seconds[-1] - self.seconds[0]))


def write_archive(path: Path, archive: SkeletonArchive) -> None:
    """Write the file, all its arrays that are there; not atomic, the caller renames."""
    arrays = {
        "keypoint": archive.keypoints,
        "keypoint_score": archive.scores,
        "seconds": archive.seconds,
        "size": None if archive.size is None else np.asarray(archive.size, np.int32),
        "layout": None if archive.layout is None else np.asarray(archive.layout),
    }
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]


def read_archive(path: Path) -> SkeletonArchive:
    """Read a file; shapes of the keypoints are left to whoever packs them.

    Raises:
        DataError: damaged, pickled, without keypoints, or with arrays that do not fit.
        OSError: it cannot be read.
    """
    # All at once, so that the arrays are of one state of the file.
    arrays = _arrays(path.read_bytes(), path)
    if unknown := sorted(arrays.keys() - set(_ARRAYS)):
        raise DataError(f"{path}: holds {', '.join(unknown)}; arrays of a skeleton are {', '.join(_ARRAYS)}")
    if "keypoint" not in arrays:
        raise DataError(f"{path}: has no array keypoint, only {', '.join(arrays) or 'nothing'}")
    keypoints, seconds = arrays["keypoint"], arrays.get("seconds")
    if seconds is not None:
        num_frames = keypoints.shape[1] if keypoints.ndim > 1 else 0
        if seconds.shape != (num_frames,) or seconds.dtype.kind not in "fiu":
            raise DataError(f"{path}: seconds are {seconds.dtype} {list(seconds.shape)} for {num_frames} frames")
        if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
            raise DataError(f"{path}: seconds must be finite and strictly increasing")
    return SkeletonArchive(
        keypoints, arrays.get("keypoint_score"), seconds, _size(arrays.get("size"), path),
        _layout(arrays.get("layout"), path),
    )  # fmt: skip


def _arrays(data: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    # A single array has no such names (TypeError, AttributeError); the others are damage.
    except (ValueError, EOFError, OSError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: no readable .npz file of plain arrays ({error})") from error


def _size(array: np.ndarray | None, path: Path) -> tuple[int, int] | None:
    if array is None:
        return None
    if array.shape != (2,) or array.dtype.kind not in "iu" or (array <= 0).any():
        raise DataError(f"{path}: size is {array.dtype} {array.tolist()}; width and height in pixels are needed")
    return int(array[0]), int(array[1])


def _layout(array: np.ndarray | None, path: Path) -> Layout | None:
    if array is None:
        return None
    name = str(array) if array.shape == () and array.dtype.kind == "U" else None
    if name not in get_args(Layout):
        raise DataError(f"{path}: layout is {array.tolist()!r}; there are {', '.join(get_args(Layout))}")
    return cast(Layout, name)
