"""Seeds: every batch draws from its own, so that a resumed run draws what an uninterrupted one would have drawn."""

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_all(*words: int | str) -> None:
    """Seed Python, NumPy and torch (all devices) with a hash of the words."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    value = int.from_bytes(digest[:8], "little") >> 1
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Only deterministic kernels inside, where ``wanted``; the process's settings are put back afterwards."""
    if not wanted:
        yield
        return
    # cuBLAS reads this when it first starts; two workspaces of this size are its deterministic set-up.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[1:]
