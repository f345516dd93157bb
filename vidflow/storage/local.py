"""Files below a folder of this machine."""

import io
import os
from pathlib import Path
from typing import BinaryIO

from vidflow.errors import EndsEarlyError, StorageError

# Headers and small members come from the buffer. A large member passes it by, but for what the buffer has read already,
# which is copied twice: so the buffer should not be large.
_BUFFER_BYTES = 64 << 10


class _Range(io.RawIOBase):
    """The bytes ``[offset, offset + length)`` of an open file, as a file of its own."""

    def __init__(self, file: BinaryIO, offset: int, length: int, address: str) -> None:
        self.file, self.left, self.address = file, length, address
        file.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self.file.readinto(memoryview(buffer)[: min(len(buffer), self.left)])  # type: ignore[attr-defined]
        if not count and self.left and len(buffer):
            raise EndsEarlyError(
                f"{self.address}: ends {self.left} bytes early; run `vidflow verify` and pack the shard again"
            )
        self.left -= count
        return int(count)

    def close(self) -> None:
        self.file.close()
        super().close()


def open_range(file: int, offset: int, length: int, address: str) -> BinaryIO:
    """A stream over ``[offset, offset + length)`` of an open file, which is closed with it.

    Args:
        file: its descriptor.
        address: for messages.
    """
    opened: BinaryIO = os.fdopen(file, "rb", buffering=0)  # type: ignore[assignment]
    return io.BufferedReader(_Range(opened, offset, length, address), _BUFFER_BYTES)


class LocalStorage:
    """A folder on a file system."""

    reads_ahead = False

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)

    def address(self, name: str) -> str:
        return str(Path(self.root) / name)

    def exists(self, name: str) -> bool:
        return Path(self.address(name)).is_file()

    def size(self, name: str) -> int:
        try:
            return Path(self.address(name)).stat().st_size
        except OSError as error:
            raise StorageError(f"{self.address(name)}: {error.strerror}") from error

    def known_size(self, name: str) -> int | None:
        return self.size(name)

    def _file(self, name: str) -> BinaryIO:
        try:
            return Path(self.address(name)).open("rb", buffering=0)  # type: ignore[return-value]
        except OSError as error:
            raise StorageError(f"{self.address(name)}: {error.strerror}") from error

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._file(name) as file:
            file.seek(offset)
            if length is None:
                return file.read()
            data = file.read(length)
            while len(data) < length and (more := file.read(length - len(data))):
                data += more
        if len(data) < length:
            raise EndsEarlyError(
                f"{self.address(name)}: has no bytes [{offset}, {offset + length}), it ends at {offset + len(data)}; "
                "run `vidflow verify` and pack the shard again"
            )
        return data

    def open(self, name: str, offset: int = 0, length: int | None = None) -> BinaryIO:
        if length is None:
            length = self.size(name) - offset
        return io.BufferedReader(_Range(self._file(name), offset, length, self.address(name)), _BUFFER_BYTES)
