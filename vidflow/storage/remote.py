"""Reading from a server: exact ranges, continued at the byte where a transfer broke off.

A transport (S3, HTTP) answers one range request; everything that makes a read reliable is here, once for all of them.
A request that fails in passing (see ``TransientError``) is repeated from the first byte that has not come yet, after a
growing pause. A transfer that ends early but cleanly counts as broken. Every answer must be of the same version of the
object (its ETag or date, and its size) as the first one: an object that is replaced while it is read is an error.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from typing import BinaryIO, Protocol

from vidflow.errors import EndsEarlyError, StorageError
from vidflow.storage.patience import Patience, TransientError
from vidflow.storage.readahead import PART_BYTES, ReadAhead

logger = logging.getLogger(__name__)

_CHUNK = 256 << 10
# After a failure without progress: what a connection gave before it broke is lost below this size.
_CAREFUL_CHUNK = 1 << 10
_BUFFER = 1 << 20


class MissingError(StorageError):
    """There is no object of that name."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a server says about an object."""

    size: int | None
    """Bytes of the whole object; None where the server does not say."""
    version: str
    """ETag or date of the last change; empty where the server does not say."""


class Answer(Protocol):
    """An answered range request, its body not yet read."""

    info: ObjectInfo

    def read(self, amount: int) -> bytes:
        """At most ``amount`` bytes; none at the end of the transfer.

        Raises:
            TransientError: the connection broke or timed out.
        """
        ...

    def close(self) -> None:
        """Give the connection back, or end it if the body was not read to its end."""
        ...


class Transport(Protocol):
    """One kind of server. Errors that will not pass are ``StorageError`` and name the address."""

    root: str
    """The root's address, without secrets."""

    def address(self, name: str) -> str:
        """The full address of a name, without secrets, for messages."""
        ...

    def info(self, name: str) -> ObjectInfo:
        """Size and version of an object.

        Raises:
            MissingError: there is none.
            TransientError: ask again.
        """
        ...

    def get(self, name: str, start: int, stop: int) -> Answer:
        """The answer to a request for the bytes ``[start, stop)``, ``start < stop``.

        Raises:
            MissingError: no such object.
            TransientError: ask again.
        """
        ...


class RemoteStorage:
    """The objects below an address; may be pickled, and used by many threads."""

    reads_ahead = True

    def __init__(self, transport: Transport, patience: Patience | None = None) -> None:
        self.root = transport.root
        self.transport = transport
        self.patience = patience or Patience.from_environment()
        self._infos: dict[str, ObjectInfo] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return RemoteStorage, (self.transport, self.patience)

    def address(self, name: str) -> str:
        return self.transport.address(name)

    def exists(self, name: str) -> bool:
        try:
            self.info(name)
        except MissingError:
            return False
        return True

    def size(self, name: str) -> int:
        size = self.info(name).size
        if size is None:
            raise StorageError(f"{self.address(name)}: the server does not say how large it is; use another server")
        return size

    def known_size(self, name: str) -> int | None:
        info = self._infos.get(name)
        return None if info is None else info.size

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if length is None:
            length = self._rest(name, offset)
        if length > PART_BYTES:
            with self.open(name, offset, length) as stream:
                return stream.read(length)
        data = bytearray()
        self.fetch(name, offset, offset + length, data.extend, threading.Event())
        return bytes(data)

    def open(self, name: str, offset: int = 0, length: int | None = None) -> BinaryIO:
        """A stream over ``[offset, offset + length)`` that reads ahead, in bounded memory; errors come when it is read.

        Closing it early is quiet: what is under way is dropped.
        """
        if length is None:
            length = self._rest(name, offset)
        stream = ReadAhead(offset, offset + length, lambda *arguments: self.fetch(name, *arguments), self.address(name))
        return BufferedReader(stream, _BUFFER)

    def _rest(self, name: str, offset: int) -> int:
        size = self.size(name)
        if offset > size:
            raise self._too_short(name, offset, offset, size)
        return size - offset

    def info(self, name: str) -> ObjectInfo:
        """Size and version of an object; asked for once."""
        known = self._infos.get(name)
        if known is not None and known.size is not None:
            return known
        failures = 0
        while True:
            try:
                return self._same(name, self.transport.info(name))
            except TransientError as error:
                failures += 1
                self._pause(name, error, failures, threading.Event())

    def fetch(
        self, name: str, start: int, stop: int, sink: Callable[[bytes], object], stopped: threading.Event
    ) -> None:
        """Hand the bytes ``[start, stop)`` to a sink, in order, each exactly once.

        Args:
            sink: takes some bytes.
            stopped: when set, the fetch ends early and without error.

        Raises:
            StorageError: they cannot be had, in spite of all attempts.
        """
        at, failures = start, 0
        while at < stop and not stopped.is_set():
            before = at
            try:
                answer = self.transport.get(name, at, stop)
                try:
                    info = self._same(name, answer.info)
                    if info.size is not None and info.size < stop:
                        raise self._too_short(name, start, stop, info.size)
                    while at < stop and not stopped.is_set():
                        chunk = answer.read(min(_CAREFUL_CHUNK if failures else _CHUNK, stop - at))
                        if not chunk:
                            raise TransientError(f"the transfer ended {stop - at} bytes early")
                        sink(chunk)
                        at += len(chunk)
                finally:
                    answer.close()
            except TransientError as error:
                failures = 1 if at > before else failures + 1
                self._pause(name, error, failures, stopped)

    def _pause(self, name: str, error: TransientError, failures: int, stopped: threading.Event) -> None:
        """Wait before the next attempt, or give up."""
        if failures >= self.patience.attempts:
            raise StorageError(
                f"{self.address(name)}: {error}; gave up after {failures} attempts; "
                "check the network and the server, or raise VIDFLOW_STORAGE_ATTEMPTS"
            ) from error
        wait = self.patience.wait(failures, error.retry_after)
        logger.info("%s: %s; going on in %.1f s", self.address(name), error, wait)
        stopped.wait(wait)

    def _same(self, name: str, info: ObjectInfo) -> ObjectInfo:
        """What is known of the object, with this answer; refuses another version of it."""
        with self._lock:
            known = self._infos.setdefault(name, info)
        if known == info:
            return info
        if (known.version and info.version and known.version != info.version) or (
            known.size is not None and info.size is not None and known.size != info.size
        ):
            raise StorageError(
                f"{self.address(name)}: has changed while it was read (version {known.version or 'unknown'}, "
                f"{known.size} bytes; now {info.version or 'unknown'}, {info.size} bytes); run the command again"
            )
        merged = ObjectInfo(known.size if known.size is not None else info.size, known.version or info.version)
        with self._lock:
            self._infos[name] = merged
        return merged

    def _too_short(self, name: str, start: int, stop: int, size: int) -> StorageError:
        return EndsEarlyError(
            f"{self.address(name)}: has no bytes [{start}, {stop}), it ends at {size}; "
            "run `vidflow verify` and pack the shard again"
        )
