"""Feature files: one array [T, C] each (NPY, NPZ, CSV, MAT, PT), or one NPZ with all samples."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vidflow import safe_pickle
from vidflow.errors import DataError, MissingExtraError
from vidflow.members import FEATURE, from_npy, to_npy
from vidflow.schema import FeatureInfo
from vidflow.shards.contents import Contents, Member

FEATURE_EXTENSIONS = frozenset({"npy", "npz", "csv", "mat", "pt", "pth"})


def has_feature_extension(name: str) -> bool:
    """Whether a file name ends like a feature file's, in any case."""
    return PurePath(name).suffix[1:].lower() in FEATURE_EXTENSIONS


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """Reader of a file with the features of one video."""

    array: str | None = None
    """Name of the array in a file of several; None takes the only one."""
    transpose: bool = False
    """Whether the file has [C, T]."""
    duration: float | None = None
    """Seconds of the video, which the steps share evenly unless ``seconds_per_step`` says otherwise."""
    seconds_per_step: float | None = None

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Features [T, C]; float16 and float32 stay as they are, all else becomes float32."""
        array = read_feature_file(Path(path), self.array)
        return feature_contents(array.T if self.transpose else array, self.duration, self.seconds_per_step)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """Reader of one row of an array [N, T, C] in an NPZ file."""

    array: str
    index: int

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Features [T, C]."""
        return feature_contents(_whole_array(path, self.array, Path(path).stat().st_mtime_ns)[self.index])


@lru_cache(maxsize=1)
def _whole_array(path: str, name: str, mtime_ns: int) -> np.ndarray:
    """NPZ files are compressed: a row cannot be read alone. The next rows come from the same array."""
    return _of_npz(Path(path), name)


def feature_contents(
    array: np.ndarray, duration: float | None = None, seconds_per_step: float | None = None
) -> Contents:
    """Member and info of one feature sample.

    Args:
        duration: seconds of the video.
        seconds_per_step: None spreads the steps evenly over the duration.

    Raises:
        DataError: not [T, C], empty, or with values that are not finite.
    """
    if array.ndim == 1:
        array = array[None]  # one vector for the whole video
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiub":
        raise DataError(f"an array of {array.dtype} {list(array.shape)}; numbers [T, C] are needed")
    stored = array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)
    if num_bad := int((~np.isfinite(stored)).sum()):
        step, feature = np.argwhere(~np.isfinite(stored))[0].tolist()
        raise DataError(f"{num_bad} of {stored.size} values are not finite, first step {step}, feature {feature}")
    info = FeatureInfo(
        num_steps=stored.shape[0],
        num_features=stored.shape[1],
        seconds_per_step=duration / stored.shape[0] if seconds_per_step is None and duration else seconds_per_step,
        duration=duration,
    )
    return Contents(info, (Member(FEATURE, to_npy(stored)),))


def read_feature_file(path: Path, array: str | None = None) -> np.ndarray:
    """The array of a feature file.

    Args:
        path: ``.npy``, ``.npz``, ``.csv`` (with or without a header line), ``.mat`` or ``.pt``.
        array: its name in a file of several.

    Raises:
        DataError: damaged, no array of numbers, or several without a name.
        MissingExtraError: a ``.mat`` file without SciPy.
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return from_npy(path.read_bytes(), str(path))
    if suffix == ".npz":
        return _of_npz(path, array)
    if suffix == ".csv":
        return _of_csv(path)
    if suffix == ".mat":
        return _of_mat(path, array)
    return _of_torch(path, array)


def _choose(names: Sequence[str], wanted: str | None, path: Path) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names and wanted is not None:
        return wanted
    listed = ", ".join(names) or "none"
    raise DataError(f"{path}: {'several arrays' if wanted is None else f'no array {wanted!r}'}, give --array: {listed}")


def open_npz(path: Path) -> Any:
    """An NPZ file; pickles in it are never read.

    Raises:
        DataError: it is none.
    """
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: no readable .npz file ({error})") from error
    except Exception as error:  # zipfile's errors share no base with the others
        raise DataError(f"{path}: no readable .npz file ({error})") from error
    if isinstance(file, np.ndarray):
        raise DataError(f"{path}: one .npy array under an .npz name; rename it")
    return file


def _of_npz(path: Path, array: str | None) -> np.ndarray:
    with open_npz(path) as file:
        return array_in(file, _choose(file.files, array, path), path)


def array_in(file: Any, name: str, path: Path) -> np.ndarray:
    """An array of an NPZ file.

    Raises:
        DataError: it is damaged, or no plain array.
    """
    try:
        return np.asarray(file[name])
    except Exception as error:  # those of zipfile, zlib and NumPy share no base
        raise DataError(f"{path}: array {name!r} cannot be read ({error or type(error).__name__})") from error


def _of_csv(path: Path) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error
    lines = text.splitlines()
    try:
        for cell in lines[0].split(",") if lines else []:
            float(cell)
        header = 0
    except ValueError:
        header = 1
    if len(lines) <= header:
        raise DataError(f"{path}: no rows of numbers")
    try:
        return np.loadtxt(io.StringIO(text), np.float32, delimiter=",", skiprows=header, ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path}: not a table of numbers ({error})") from error


def _of_mat(path: Path, array: str | None) -> np.ndarray:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading .mat files needs SciPy: pip install 'vidflow[mat]'") from error
    try:
        content = loadmat(path)
    except NotImplementedError as error:
        raise DataError(f"{path}: MATLAB 7.3 (HDF5); save it with -v7") from error
    except OSError:
        raise
    except Exception as error:  # those of SciPy and zlib share no base
        raise DataError(f"{path}: no readable .mat file ({error})") from error
    names = [name for name, value in content.items() if not name.startswith("__") and value.dtype.kind in "fiub"]
    return np.asarray(content[_choose(names, array, path)])


def _of_torch(path: Path, array: str | None) -> np.ndarray:
    content = safe_pickle.load_torch(path, error=DataError)
    if isinstance(content, dict):
        entries = list(content.items())  # keys may be numbers
        names = [str(name) for name, _ in entries]
        content = entries[names.index(_choose(names, array, path))][1]
    if not hasattr(content, "detach"):
        raise DataError(f"{path}: holds {type(content).__name__}, not a tensor")
    tensor: Any = content
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    return np.asarray(tensor.detach().numpy())
