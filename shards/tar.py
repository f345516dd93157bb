"""Tar members as bytes: plain USTAR headers without time, owner or machine: same input, same bytes."""

import tarfile

_BLOCK = tarfile.BLOCKSIZE
# The largest size that USTAR's eleven octal digits hold; above it a PAX header carries the size.
_USTAR_MAX_SIZE = 8**11 - 1

END_OF_ARCHIVE = bytes(2 * _BLOCK)


def header(name: str, size: int) -> bytes:
    """The header blocks of a regular file: mode 0644, owner 0, time 0.

    Args:
        name: member name, ASCII, at most 100 characters.
        size: bytes of content that will follow.
    """
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT if size <= _USTAR_MAX_SIZE else tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """The zeros that fill the last block of a member of ``size`` bytes."""
    return bytes(-size % _BLOCK)


def member_length(name: str, size: int) -> int:
    """Bytes that a member takes in the archive, header and padding included."""
    return len(header(name, size)) + size + len(padding(size))
