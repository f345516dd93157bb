"""How long to wait for a server, and how often to ask again."""

import os
import random
from dataclasses import dataclass

from vidflow.errors import StorageError


class TransientError(Exception):
    """A request failed in a way that may pass: overload, a reset, a time-out, a transfer that was cut.

    Args:
        reason: in a few words.
        retry_after: seconds that the server asks to wait.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Exponential backoff with jitter; a failure counts only as long as no byte comes between it and the next one."""

    attempts: int = 10
    """Failures in a row before the read is given up; with the waits below that is about 25 seconds of outage."""
    first_wait: float = 0.1
    """Seconds before the second attempt; each further wait is twice as long."""
    longest_wait: float = 10.0
    """Seconds."""
    timeout: float = 30.0
    """Seconds without an answer or without a byte after which a connection counts as dead."""

    @classmethod
    def from_environment(cls) -> "Patience":
        """The defaults, or what ``VIDFLOW_STORAGE_TIMEOUT`` (seconds) and ``VIDFLOW_STORAGE_ATTEMPTS`` say.

        Raises:
            StorageError: one of them is no positive number.
        """
        return cls(
            attempts=int(_positive("VIDFLOW_STORAGE_ATTEMPTS", cls.attempts, int)),
            timeout=float(_positive("VIDFLOW_STORAGE_TIMEOUT", cls.timeout, float)),
        )

    def wait(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait after so many failures in a row: half to all of the exponential wait, by chance.

        Args:
            failures: at least 1.
            retry_after: what the server asks for; kept within ``longest_wait``.
        """
        wait = min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1))
        wait *= random.uniform(0.5, 1.0)
        return max(wait, min(retry_after or 0.0, self.longest_wait))


def _positive(name: str, default: float, kind: type[int] | type[float]) -> float:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise StorageError(f"{name}={text}: must be a positive number")
    return value
