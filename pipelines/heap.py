"""How glibc handles what a loader frees: kept while a pass lasts, given back to the system behind it.

By its defaults it returns large blocks at once, and takes new ones for the next sample, which the system fills with
zeros page by page: a sixth of the time of reading shards from the page cache. Kept for good, on the other hand, the
heaps of the threads of each pass grew over some ten epochs, on small clips by a third.
"""

import ctypes
import math
import time
from functools import cache

# Options of mallopt, and the largest block that glibc can keep; malloc.h of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 << 20
_KEPT_BYTES = 512 << 20
_SECONDS_BETWEEN = 1.0

_released_at = -math.inf


@cache
def _libc() -> "ctypes.CDLL | None":
    """glibc; other C libraries lack the functions."""
    try:
        libc = ctypes.CDLL(None)
        return libc if libc.malloc_trim and libc.mallopt else None
    except (AttributeError, OSError, TypeError):
        return None


@cache
def keep_freed_memory() -> None:
    """Let the process use again what it has freed, where the C library can; for good."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)


def release_freed_memory() -> None:
    """Return what is free to the system, where the C library can, and if it has not just done so.

    It takes some 10 ms, and the next pass takes the pages anew, which very short passes would feel.
    """
    global _released_at
    libc, now = _libc(), time.monotonic()
    if libc is not None and now > _released_at + _SECONDS_BETWEEN:
        _released_at = now
        libc.malloc_trim(0)
