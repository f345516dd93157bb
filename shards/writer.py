"""Write one shard: to a temporary file first, hashed on the way, and renamed when it is whole and on the disk."""

import contextlib
import hashlib
import os
from io import FileIO
from pathlib import Path

from vidflow.dataset import ShardInfo
from vidflow.schema import Location, SampleRecord
from vidflow.shards import tar
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

    def add(self, record: SampleRecord, record_json: bytes, media: Path, state: FileState) -> Location:
        """Append one sample: the media member, then KEY.json.

        Args:
            media: file to copy.
            state: what the file was when it was probed.

        Raises:
            SourceChangedError: the file has changed or cannot be read; the shard is as it was before.
            StorageError: the shard cannot be written.
        """
        assert record.video is not None
        start, hash_before, media_size = self.size, self._hash.copy(), state.size
        self._write(tar.header(f"{record.key}.{record.video.container}", media_size))
        data_offset = self.size
        try:
            self._copy(media, state)
        except SourceChangedError:
            with naming_the_path(self.part):
                self._file.truncate(start)
                self._file.seek(start)
            self.size, self._hash = start, hash_before
            raise
        self._write(tar.padding(media_size))
        self._write(tar.header(f"{record.key}.json", len(record_json)) + record_json + tar.padding(len(record_json)))
        self.num_samples += 1
        return Location(
            shard=self.final.name,
            offset=start,
            length=self.size - start,
            data_offset=data_offset,
            data_length=media_size,
        )

    @staticmethod
    def _opened(media: Path) -> FileIO:
        try:
            return FileIO(media)
        except OSError as error:
            raise SourceChangedError(f"cannot be opened again ({error.strerror})") from error

    def _copy(self, media: Path, state: FileState) -> None:
        with self._opened(media) as file:
            left = state.size
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
