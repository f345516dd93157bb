"""Write one shard: to a temporary file first, hashed on the way, and renamed when it is whole and on the disk."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from vidflow.dataset import ShardInfo
from vidflow.schema import Location, SampleRecord
from vidflow.shards import tar
from vidflow.shards.contents import Member
from vidflow.shards.files import FileState, naming_the_path, publish

_CHUNK = 1 << 20


class SourceChangedError(Exception):
    """A source file is no longer what was probed, or could not be read to its end."""


class ShardWriter:
    """One shard in the making. ``close`` publishes it; ``discard`` leaves nothing behind."""

    def __init__(self, final: Path, *, part: Path, split: str) -> None:
        self.final, self.part, self.split = final, part, split
        self.size, self.num_samples = 0, 0
        self._hash = hashlib.sha256()
        with naming_the_path(part):
            self._file = part.open("wb", buffering=0)

    def _write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        left = memoryview(data)
        while left:
            with naming_the_path(self.part):
                count = self._file.write(left)
            left = left[count:]
            self.size += count

    def add(self, record: SampleRecord, record_json: bytes, members: Sequence[Member]) -> Location:
        """Append one sample: its media members in the given order, then KEY.json.

        Args:
            members: at least one.

        Raises:
            SourceChangedError: the file has changed or cannot be read; the shard is as it was before.
            StorageError: the shard cannot be written.
        """
        start, hash_before, data_offset = self.size, self._hash.copy(), None
        try:
            for member in members:
                self._write(tar.header(f"{record.key}.{member.suffix}", member.size))
                data_offset = self.size if data_offset is None else data_offset
                self._write_content(member)
                self._write(tar.padding(member.size))
        except SourceChangedError:
            with naming_the_path(self.part):
                self._file.truncate(start)
                self._file.seek(start)
            self.size, self._hash = start, hash_before
            raise
        assert data_offset is not None, "a sample needs a media member"
        self._write(tar.header(f"{record.key}.json", len(record_json)) + record_json + tar.padding(len(record_json)))
        self.num_samples += 1
        return Location(
            shard=self.final.name,
            offset=start,
            length=self.size - start,
            data_offset=data_offset,
            data_length=members[0].size,
        )

    def _write_content(self, member: Member) -> None:
        if member.path is None:
            self._write(member.data)
            return
        assert member.state is not None
        self._copy(member.path, member.state, member.span or (0, member.state.size))

    @staticmethod
    def _opened(media: str) -> FileIO:
        try:
            return FileIO(media)
        except OSError as error:
            raise SourceChangedError(f"cannot be opened again ({error.strerror})") from error

    def _copy(self, media: str, state: FileState, span: tuple[int, int]) -> None:
        with self._opened(media) as file:
            offset, left = span
            file.seek(offset)
            while left and FileState.of(os.fstat(file.fileno())) == state:
                try:
                    chunk = file.read(min(_CHUNK, left))
                except OSError as error:
                    raise SourceChangedError(f"cannot be read to its end ({error.strerror})") from error
                if not chunk:
                    break
                self._write(chunk)
                left -= len(chunk)
            if left or FileState.of(os.fstat(file.fileno())) != state:
                raise SourceChangedError("has changed while it was packed")

    def close(self) -> ShardInfo:
        """End the archive, bring it to the disk and give it its final name."""
        assert self.num_samples
        self._write(tar.END_OF_ARCHIVE)
        with naming_the_path(self.part):
            os.fsync(self._file.fileno())
            self._file.close()
        publish(self.part, self.final)
        return ShardInfo(
            name=self.final.name,
            split=self.split,
            num_samples=self.num_samples,
            size=self.size,
            sha256=self._hash.hexdigest(),
        )

    def discard(self) -> None:
        """Close and remove the temporary file."""
        with contextlib.suppress(OSError):  # a full disk may refuse even the close; the file goes anyway
            self._file.close()
        self.part.unlink(missing_ok=True)
