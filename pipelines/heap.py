"""Giving freed memory back to the system.

glibc keeps what a thread has freed for that thread's heap. Passes come with new threads and frames of many sizes, so
that the heaps kept growing over some ten epochs, on small clips by a third, until they were large enough for all of it.
"""

import ctypes
from functools import cache


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    """glibc's function; other C libraries have none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def release_freed_memory() -> None:
    """Return what is free to the system, where the C library can; takes some 10 ms."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
