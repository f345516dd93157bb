"""Reference values of skeleton operations: arrays given by rule, and outputs given by a digest."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))


def cases(file: str, start: str) -> list[dict[str, Any]]:
    """The cases of a file whose names begin so, without those in which the reference fails."""
    found = json.loads((PARITY / "ops" / file).read_text())
    return [case for case in found if case["what"].startswith(start) and "error" not in case["outputs"]]


def array_of(spec: Any, edits: str = "") -> np.ndarray:
    """The float32 array that a case means.

    Args:
        edits: assignments such as ``kp[1]=0``, one after the other.
    """
    if isinstance(spec, dict):
        values = np.random.default_rng(zlib.crc32(spec["u"].encode())).random(spec["shape"], dtype=np.float32) * 2 - 1
        values = values * np.float32(spec.get("scale", 1)) + np.float32(spec.get("offset", 0))
        values = np.round(values, spec["round"]) if "round" in spec else values
    else:
        values = np.asarray(spec, np.float32)
    for edit in filter(None, (part.strip() for part in edits.split(";"))):
        place, value = edit.removeprefix("kp[").split("]=")
        index = tuple(
            slice(*(int(edge) if edge else None for edge in part.split(":"))) if ":" in part else int(part)
            for part in place.split(",")
        )
        values[index] = float(value)
    return values


def assert_same(ours: np.ndarray, expected: Any, *, tolerance: float = 2e-6) -> None:
    """Compare with an array or a digest; values have seven digits."""
    if not isinstance(expected, dict):
        np.testing.assert_allclose(ours, np.asarray(expected), atol=tolerance, rtol=tolerance)
        return
    assert list(ours.shape) == expected["shape"]
    flat = ours.astype(np.float64).reshape(-1)
    np.testing.assert_allclose(flat[:: expected["stride"]], expected["values"], atol=tolerance, rtol=tolerance)
    size = np.abs(flat).sum() * tolerance + tolerance
    np.testing.assert_allclose(flat.sum(), expected["sum"], atol=size, rtol=2e-6)
    np.testing.assert_allclose((flat**2).sum(), expected["sumsq"], rtol=2e-5)
