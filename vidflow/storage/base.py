"""What every storage can do."""

from typing import BinaryIO, Protocol


class Storage(Protocol):
    """Read access to the files below one root. All errors are ``StorageError`` and name the full address."""

    root: str
    reads_ahead: bool
    """Whether an open stream fetches before it is read."""

    def address(self, name: str) -> str:
        """The full path or URL of a name, for messages."""
        ...

    def exists(self, name: str) -> bool: ...

    def size(self, name: str) -> int:
        """Bytes."""
        ...

    def known_size(self, name: str) -> int | None:
        """Bytes, as far as that can be told without asking a server."""
        ...

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes ``[offset, offset + length)``; a shorter file is an error, never a shorter answer."""
        ...

    def open(self, name: str, offset: int = 0, length: int | None = None) -> BinaryIO:
        """A stream over ``[offset, offset + length)``."""
        ...
