"""A skeleton file of any format as the samples that it holds, without labels and splits: what a prediction needs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidflow import safe_pickle
from vidflow.errors import DataError
from vidflow.members import KEYPOINT, SCORE
from vidflow.shards.contents import Contents
from vidflow.shards.sources.items import SampleReader, text_of
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, open_npy, skeleton_contents
from vidflow.shards.sources.skeleton_files import SkeletonFile
from vidflow.shards.sources.skeleton_pickles import NpyRow, reader_of
from vidflow.shards.sources.unpacked_arrays import INFO_NAME, UnpackedSkeleton

PICKLES = (".pkl", ".pickle")
EXTENSIONS = (".skeleton", ".txt", ".json", ".npz", ".npy", *PICKLES)


@dataclass(frozen=True, slots=True)
class SkeletonEntry:
    """One sample of a skeleton file."""

    name: str
    """Within the file; empty where the file holds one sample."""
    path: str
    reader: SampleReader


@dataclass(frozen=True, slots=True)
class KeypointArray:
    """Reader of keypoints [M, T, K, C] as a ``.npy`` file; of ``*keypoint.npy`` with the scores ``*keypoint_score.npy``
    beside it, where there are some."""

    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints and scores as they are."""
        file = Path(path)
        scores = file.with_name(file.name.removesuffix(KEYPOINT) + SCORE) if file.name.endswith(KEYPOINT) else None
        found = open_npy(scores) if scores is not None and scores.is_file() else None
        return skeleton_contents(open_npy(file), found, self.policy, conceal=conceal)


def is_unpacked_skeleton(folder: Path) -> bool:
    """Whether a folder is one sample, as ``vidflow unpack`` writes it."""
    return (folder / INFO_NAME).is_file() and (folder / KEYPOINT).is_file()


def looks_like_skeletons(file: Path) -> bool:
    """Whether a file in a folder is taken for skeletons: by its extension, and where many other files have the same
    (``.txt``, ``.json``), by how it begins."""
    suffix = file.suffix.lower()
    if suffix not in EXTENSIONS or file.name.endswith(SCORE):
        return False
    if suffix not in (".txt", ".json"):
        return True
    try:
        with file.open("rb") as content:
            start = content.read(256)
    except OSError:
        return True  # opening it will tell
    if suffix == ".json":
        return re.match(rb'\s*\{\s*"data"', start) is not None
    return re.match(rb"\s*(?:[-+.\deEnaif]+[ \t]+){3}[-+.\deEnaif]+\s*[\r\n]", start) is not None


def list_entries(path: Path, policy: SkeletonPolicy) -> list[SkeletonEntry]:
    """The samples of a file: one, or of a pickle and of an array [N, C, T, V, M] as many as it has.

    Raises:
        DataError: no such file, one that no skeletons are read from, or a pickle or an array of another content or
            without samples.
        OSError: it cannot be read.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix not in EXTENSIONS and not path.is_dir():
        readable = ", ".join(EXTENSIONS)
        raise DataError(f"{path}: no skeletons are read from {suffix or 'such'} files, but from {readable}")
    if suffix not in (".npy", *PICKLES):
        return [SkeletonEntry("", str(path), UnpackedSkeleton(policy, SkeletonFile(policy)))]
    entries = _of_array(path, policy) if suffix == ".npy" else _of_pickle(path, policy)
    if not entries:
        raise DataError(f"{path}: holds no samples; give a file that has some")
    return entries


def _of_array(path: Path, policy: SkeletonPolicy) -> list[SkeletonEntry]:
    shape = open_npy(path).shape
    if len(shape) == 4 and shape[3] in (2, 3):
        return [SkeletonEntry("", str(path), KeypointArray(policy))]
    if len(shape) != 5 or shape[1] not in (2, 3):
        order = ". For one sample [C, T, V, M] save array[None]" if len(shape) == 4 and shape[0] in (2, 3) else ""
        raise DataError(
            f"{path}: an array of shape {list(shape)}; [M, T, K, C], or [N, C, T, V, M] is needed, C 2 or 3{order}"
        )
    return [SkeletonEntry(str(row), str(path), NpyRow(row, policy)) for row in range(shape[0])]


def _of_pickle(path: Path, policy: SkeletonPolicy) -> list[SkeletonEntry]:
    content = safe_pickle.load(path)
    if isinstance(content, dict) and "annotations" in content:
        content = content["annotations"]
    alone = isinstance(content, dict)
    entries: Any = [content] if alone else content
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: neither annotations of skeletons, nor a list of them, nor one")
    found = []
    for number, entry in enumerate(entries):
        name = "" if alone else text_of(str(entry.get("frame_dir", number)))
        where = f"{path}[{name}]" if name else str(path)
        if "keypoint" not in entry:
            raise DataError(f"{where}: has no keypoint, only {', '.join(map(str, entry)) or 'nothing'}")
        try:
            found.append(SkeletonEntry(name, str(path), reader_of(entry, policy)))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    return found
