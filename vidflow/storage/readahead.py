"""A stream that fetches the parts ahead of its reader, several at a time, in bounded memory.

One connection to an object store gives a fraction of what the network could; so the range is cut into parts, and a few
threads fetch the next ones while the reader is still in the first. The reader gets bytes of a part as they come.
"""

import io
import threading
from collections.abc import Callable

PART_BYTES = 8 << 20
CONNECTIONS = 4
# Parts in memory: those being fetched, and two that are whole and wait for the reader.
WINDOW = CONNECTIONS + 2

Fetch = Callable[[int, int, Callable[[bytes], object], threading.Event], None]
"""``fetch(start, stop, sink, stopped)``, see ``RemoteStorage.fetch``."""


class _Part:
    """The bytes ``[start, start + size)``, of which the first ``filled`` are here."""

    def __init__(self, start: int, size: int) -> None:
        self.start = start
        self.data = memoryview(bytearray(size))
        self.filled = 0
        self.error: BaseException | None = None


class _Parts:
    """What the reader and the fetching threads share. The threads hold this and not the stream, so that a stream that
    is forgotten without being closed still ends them."""

    def __init__(self, start: int, stop: int, fetch: Fetch) -> None:
        self.start, self.stop, self.fetch = start, stop, fetch
        self.stopped = threading.Event()
        self.change = threading.Condition()
        self.parts: dict[int, _Part] = {}
        self.first = 0
        """The part that the reader is in."""
        self.next = 0
        """The part that is fetched next."""
        self.count = -(-(stop - start) // PART_BYTES)

    def take(self) -> _Part | None:
        """The next part to fetch, once there is room for it."""
        with self.change:
            self.change.wait_for(lambda: self.stopped.is_set() or self.next < self.first + WINDOW)
            if self.stopped.is_set() or self.next >= self.count:
                return None
            start = self.start + self.next * PART_BYTES
            part = self.parts[self.next] = _Part(start, min(PART_BYTES, self.stop - start))
            self.next += 1
            return part

    def work(self) -> None:
        """A fetching thread."""
        while (part := self.take()) is not None:

            def sink(chunk: bytes, part: _Part = part) -> None:
                part.data[part.filled : part.filled + len(chunk)] = chunk
                with self.change:
                    part.filled += len(chunk)
                    self.change.notify_all()

            try:
                self.fetch(part.start, part.start + len(part.data), sink, self.stopped)
            except BaseException as error:  # noqa: BLE001 -- handed over and raised in the reader's thread
                with self.change:
                    part.error = error
                    self.change.notify_all()
                return


class ReadAhead(io.RawIOBase):
    """A stream over the bytes ``[start, stop)``; memory is ``WINDOW`` parts at most.

    Args:
        fetch: gets a range.
        address: for messages.
    """

    def __init__(self, start: int, stop: int, fetch: Fetch, address: str) -> None:
        self._shared = _Parts(start, stop, fetch)
        self._at = 0
        for _ in range(min(CONNECTIONS, self._shared.count)):
            threading.Thread(target=self._shared.work, name=f"vidflow-read {address}", daemon=True).start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        shared = self._shared
        if shared.first >= shared.count or not len(buffer):
            return 0
        with shared.change:
            shared.change.wait_for(self._has_news)
            part = shared.parts[shared.first]
            if part.filled == self._at:
                assert part.error is not None
                raise part.error
            count = min(part.filled - self._at, len(buffer))
        memoryview(buffer)[:count] = part.data[self._at : self._at + count]
        self._at += count
        if self._at == len(part.data):
            with shared.change:
                del shared.parts[shared.first]
                shared.first += 1
                shared.change.notify_all()
            self._at = 0
        return count

    def _has_news(self) -> bool:
        part = self._shared.parts.get(self._shared.first)
        return part is not None and (part.filled > self._at or part.error is not None)

    def close(self) -> None:
        """End the fetching; what is under way is dropped as soon as its next bytes come."""
        shared = self._shared
        shared.stopped.set()
        with shared.change:
            shared.parts.clear()
            shared.change.notify_all()
        super().close()
