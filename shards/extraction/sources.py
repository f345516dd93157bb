"""The files that a tool shall work on: a whole tree, or those of a list."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidflow.errors import ConfigError, DataError
from vidflow.shards.sources.class_folders import walk_videos
from vidflow.shards.sources.items import has_video_extension, text_of


@dataclass(frozen=True, slots=True)
class Found:
    """One file."""

    path: str
    """Where it lies; a name that is not UTF-8 carries Python's surrogate escapes."""
    name: str
    """The same path below the source folder, with ``/``."""

    @property
    def id(self) -> str:
        """The name as text."""
        return text_of(self.name)

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return str(PurePosixPath(self.name).with_suffix(""))


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """All files below a folder, in byte order of their paths."""

    files: tuple[Found, ...]
    skipped: Counter[str]
    """Reason -> number of files that were passed over."""


def find_files(src: Path, accepts: Callable[[str], bool] = has_video_extension) -> FoundFiles:
    """Files at any depth below a folder whose names are accepted. Links are followed, hidden names passed over.

    Raises:
        DataError: no such folder, a folder in it that cannot be read, or no such files.
    """
    if not src.is_dir():
        raise DataError(f"--src {text_of(str(src))}: {'not a folder' if src.exists() else 'no such folder'}")
    skipped: Counter[str] = Counter()
    root = os.path.join(os.fspath(src), "")  # noqa: PTH118 -- names that are not UTF-8 stay plain strings
    files = tuple(Found(path, path[len(root) :]) for path in walk_videos(os.fspath(src), (), skipped, accepts))
    if not files:
        listed = ", ".join(f"{count} x {reason}" for reason, count in skipped.most_common()) or "it is empty"
        raise DataError(f"--src {text_of(str(src))}: no files to work on: {listed}")
    return FoundFiles(files, skipped)


def refuse_out_in_source(src: Path, out: Path) -> None:
    """Results below the sources would be taken for sources by the next run.

    Raises:
        ConfigError: ``out`` is ``src``, or lies in it.
    """
    if out.resolve().is_relative_to(src.resolve()):
        raise ConfigError(f"--out {out}: lies inside --src {src}; write the results elsewhere")


def names_of(files: Sequence[Found], suffix: str = "") -> list[str]:
    """What to call the outputs: the sources' names with another extension, or none for folders.

    Sources that differ in their extension alone (a.mp4 beside a.avi) keep theirs, so that each has an output of its
    own: ``a.mp4.wav``.
    """
    counts = Counter(file.stem for file in files)
    return [f"{file.stem if counts[file.stem] == 1 else file.name}{suffix}" for file in files]
