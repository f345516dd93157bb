"""A file or some bytes that shall become one member of a sample."""

from collections.abc import Sequence
from dataclasses import dataclass

from vidflow.schema import MediaInfo, SkeletonInfo
from vidflow.shards import tar
from vidflow.shards.files import FileState


@dataclass(frozen=True, slots=True)
class Member:
    """One media member: bytes that were made, or a file to copy that must still be what it was."""

    suffix: str
    """The member is called ``KEY.<suffix>``."""
    data: bytes | memoryview = b""
    path: str | None = None
    """Where set, the file that holds the content."""
    state: FileState | None = None
    """What the file was when it was looked at."""
    span: tuple[int, int] | None = None
    """Offset and bytes, where the content is a part of the file."""

    @property
    def size(self) -> int:
        """Bytes of content."""
        if self.span is not None:
            return self.span[1]
        return len(self.data) if self.state is None else self.state.size


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a sample will hold beside its record."""

    info: MediaInfo
    members: tuple[Member, ...]
    skeleton: SkeletonInfo | None = None
    """Of the people in a video, whose members follow the video's."""


def sample_length(key: str, members: Sequence[Member], record_json: bytes) -> int:
    """Bytes that a sample takes in the archive, headers and padding included."""
    length = tar.member_length(f"{key}.json", len(record_json))
    return length + sum(tar.member_length(f"{key}.{member.suffix}", member.size) for member in members)
