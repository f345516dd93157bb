"""What the time stamps of a video's frames are good for: rate, duration, constant or variable, or nothing."""

import itertools
import statistics
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

_MAX_JITTER_SECONDS = 1e-3  # time stamps once rounded to milliseconds, as Matroska's are, still mean a constant rate
_FALLBACK_RATE = 25  # frames per second, where a stream names no rate at all


@dataclass(frozen=True)
class Times:
    """Time stamps as they can be used; ``pts`` is empty where they do not tell frames apart."""

    pts: list[int]
    """Strictly increasing, in units of the stream's time base."""
    step: int | None
    """The difference between neighbours, where it is the same for all."""
    fps: float
    duration: float
    """Seconds, from the first frame to the end of the last."""
    variable: bool
    """Neither evenly spaced nor evenly spaced and then rounded to the time base or to milliseconds."""

    @classmethod
    def of(cls, pts: list[int | None], *, unit: Fraction, last_duration: int, rate: Fraction | None) -> "Times":
        """Judge the time stamps of all frames, in presentation order.

        Args:
            pts: in time base units; None where a frame has none.
            unit: seconds per time base unit.
            last_duration: what the decoder says the last frame lasts, in time base units; 0 where it does not know.
            rate: frames per second as the container has it, for streams that do not show it.
        """
        count = len(pts)
        known = [p for p in pts if p is not None]
        if len(known) < count or any(b <= a for a, b in itertools.pairwise(known)):
            fps = float(rate or _FALLBACK_RATE)
            return cls([], None, fps, count / fps, variable=False)
        if count == 1:
            own = float(last_duration * unit)
            fps = float(rate) if rate else 1 / own if own > 0 else _FALLBACK_RATE
            return cls(known, max(last_duration, 1), fps, own if own > 0 else 1 / fps, variable=False)
        steps = [b - a for a, b in itertools.pairwise(known)]
        span = known[-1] - known[0]
        usual = statistics.median(steps)
        # Where a container stores no durations FFmpeg makes some up, and some of these are far too short.
        last = last_duration if last_duration >= usual / 2 else usual
        line = known[0] + span / (count - 1) * np.arange(count)
        jitter = float(np.abs(np.asarray(known) - line).max())
        return cls(
            known,
            step=steps[0] if min(steps) == max(steps) else None,
            fps=(count - 1) / float(span * unit),
            duration=(span + last) * float(unit),
            variable=jitter > max(1.0, _MAX_JITTER_SECONDS / float(unit)) + 1e-6,
        )
