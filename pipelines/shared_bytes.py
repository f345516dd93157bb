"""Bytes that two processes share, in a nameless file in memory.

``multiprocessing.shared_memory`` lies in /dev/shm, which containers often limit to 64 MB; a ``memfd`` counts as the
process's own memory, and is gone when nobody has it open.
"""

import mmap
import os

_ROUND = 1 << 20  # sizes grow in such steps, so that slowly growing samples do not map it anew each time


def is_supported() -> bool:
    """Whether the system has such files (Linux)."""
    return hasattr(os, "memfd_create")


class SharedBytes:
    """A file in memory that grows; each process maps it by its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls, name: str) -> "SharedBytes":
        """A new, empty one. ``name`` shows in /proc only."""
        return cls(os.memfd_create(name, os.MFD_CLOEXEC))

    def view(self, size: int) -> memoryview:
        """The first ``size`` bytes, made larger where they are not there yet; what lies in them stays."""
        there = os.fstat(self.fd).st_size
        if self._map is None or not size <= len(self._map) <= there:
            length = max(-(-size // _ROUND) * _ROUND, _ROUND, there)
            os.posix_fallocate(self.fd, 0, length)  # here, and not by a bus error later, where memory is short
            # The old mapping goes when the last view of it does.
            self._map = mmap.mmap(self.fd, length)
        return memoryview(self._map)[:size]

    def shrink(self, limit: int) -> None:
        """Give all back, if it is more than ``limit`` bytes; no process may look at old views any more."""
        if self._map is not None and len(self._map) > limit:
            self._map = None
            os.ftruncate(self.fd, 0)

    def close(self) -> None:
        self._map = None
        os.close(self.fd)
        self.fd = -1
