"""A bound on the bytes that decoded samples hold while they wait for their batch."""

import threading


class ByteBudget:
    """Bytes that may be taken at once; a single larger demand passes when nothing else is out."""

    def __init__(self, limit: int, stop: threading.Event) -> None:
        self.limit, self._stop = limit, stop
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, count: int) -> bool:
        """Wait until ``count`` bytes fit; False when stopped meanwhile."""
        with self._changed:
            while self._taken and self._taken + count > self.limit and not self._stop.is_set():
                self._changed.wait()
            self._taken += count
            return not self._stop.is_set()

    def give(self, count: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._taken -= count
            self._changed.notify_all()

    def wake(self) -> None:
        """Let waiters see that they are to stop."""
        with self._changed:
            self._changed.notify_all()
