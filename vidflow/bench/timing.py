"""Rates from repeated passes: warm up, repeat, take the median."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from vidflow.errors import DataError

# What takes less is done again until it has taken as long: the first milliseconds are those of cold caches.
MIN_SECONDS = 0.2


@dataclass(frozen=True)
class Rate:
    """Throughput of one thing that was timed."""

    clips_per_s: float
    """Median over the passes."""
    mb_per_s: float | None
    """Encoded megabytes (1e6 bytes) per second, where the pass handles encoded data."""
    passes: tuple[float, ...]
    """clips/s of each pass, in the order they ran."""


@dataclass(frozen=True)
class Pass:
    """One thing to be timed."""

    run: Callable[[], int]
    """Does the work once and gives the number of clips, the same each time."""
    num_bytes: int | None = None
    """Encoded bytes that one pass handles."""


def measure(
    passes: dict[str, Pass], *, repeats: int, advance: Callable[[str], None] = lambda name: None
) -> dict[str, Rate]:
    """Time several things in turns, so that a change of the machine's mood meets all of them.

    Args:
        repeats: timed passes of each, after one that warms up.
        advance: called with the name before each pass.
    """
    clips_per_s: dict[str, list[float]] = {name: [] for name in passes}
    counts: dict[str, int] = {}
    for turn in range(repeats + 1):
        for name, work in passes.items():
            advance(name)
            start, rounds, seconds = time.perf_counter(), 0, 0.0
            while not rounds or seconds < MIN_SECONDS:
                counts[name] = work.run()
                if not counts[name]:
                    raise DataError(f"{name}: gave no clip; take more --samples, or a smaller --batch-size")
                rounds, seconds = rounds + 1, time.perf_counter() - start
            if turn:
                clips_per_s[name].append(rounds * counts[name] / seconds)
    rates = {}
    for name, values in clips_per_s.items():
        median = statistics.median(values)
        num_bytes = passes[name].num_bytes
        mb_per_s = None if num_bytes is None else num_bytes / 1e6 * median / counts[name]
        rates[name] = Rate(median, mb_per_s, tuple(values))
    return rates
