"""Files that appear whole or not at all, and files that may change while they are read."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vidflow.errors import StorageError

NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
"""Errors of a write that say nothing about what is written."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file has changed."""

    size: int
    mtime_ns: int
    inode: int
    version: str = ""
    """What a server says in place of date and inode."""

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        """From ``os.stat``."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is something; not where a name is too long for one, or in a folder that may not be entered."""
    return os.path.exists(path)  # noqa: PTH110 -- pathlib raises there


def is_folder_at(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder, or a link to one; see ``is_there``."""
    return os.path.isdir(path)  # noqa: PTH112


@contextmanager
def naming_the_path(path: Path) -> Iterator[None]:
    """Turn a failed write into a ``StorageError`` that says where, and what to do."""
    try:
        yield
    except OSError as error:
        advice = (
            "make room there and run the same command again, what is finished is kept"
            if error.errno in NO_ROOM
            else "see that the folder is there and may be written, or give another place"
        )
        raise StorageError(f"{path}: {error.strerror}; {advice}") from error


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(part: Path, final: Path) -> None:
    """Give a file, already synced, its final name."""
    with naming_the_path(final):
        part.replace(final)
        sync_folder(final.parent)


def write_whole(final: Path, data: bytes, *, part: Path) -> None:
    """Write a small file so that it appears whole or not at all."""
    with naming_the_path(part), part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    publish(part, final)
