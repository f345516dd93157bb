"""Whether what is read of a shard is what was packed: its size always, its SHA-256 where it is read from end to end."""

import hashlib
from typing import BinaryIO

from vidflow.dataset import PackedDataset, ShardInfo
from vidflow.errors import AlteredShardError

# The zeros behind the last sample: two blocks, or a whole record of those that other programs write.
_MAX_TAIL_BYTES = 20 * 512


class ShardChecks:
    """The checks of one reader's way through the shards; a failure is an ``AlteredShardError`` that names the shard."""

    def __init__(self, dataset: PackedDataset, *, checksums: bool) -> None:
        self._dataset, self._checksums = dataset, checksums
        self._shards = {shard.name: shard for shard in dataset.info.shards}
        self._sized: set[str] = set()
        self._name, self._at = "", 0
        self._hash = hashlib.sha256()

    def length(self, shard: str, start: int, stop: int) -> int:
        """Bytes to read for ``[start, stop)``: with checksums, up to the shard's end where only its zeros are left."""
        info = self._shards.get(shard)
        if self._checksums and info is not None and 0 < info.size - stop <= _MAX_TAIL_BYTES:
            return info.size - start
        return stop - start

    def watch(self, shard: str, start: int, stream: BinaryIO) -> "BinaryIO | HashingStream":
        """The stream over ``[start, ...)`` of a shard, hashed where everything before it was."""
        if not self._checksums or shard not in self._shards:
            return stream
        if start == 0:
            self._name, self._at, self._hash = shard, 0, hashlib.sha256()
        elif (shard, start) != (self._name, self._at):
            self._name = ""
            return stream
        return HashingStream(stream, self)

    def add(self, data: bytes) -> None:
        self._hash.update(data)
        self._at += len(data)

    def check_size(self, shard: str) -> None:
        """Compare the shard's size with dataset.json, once."""
        info = self._shards.get(shard)
        size = None if info is None or shard in self._sized else self._dataset.storage.known_size(shard)
        if info is None or size is None:
            return
        self._sized.add(shard)
        if size != info.size:
            raise AlteredShardError(self._other(info, f"has {size} bytes", f"{info.size}"))

    def finish(self, stream: "BinaryIO | HashingStream") -> None:
        """Behind the last sample of a stream: read on to its end, and compare the checksum of a whole shard."""
        if not isinstance(stream, HashingStream):
            return
        while stream.read(1 << 20):
            pass
        info = self._shards[self._name]
        if self._at == info.size and (found := self._hash.hexdigest()) != info.sha256:
            raise AlteredShardError(self._other(info, f"has the SHA-256 {found}", info.sha256))

    def _other(self, info: ShardInfo, found: str, expected: str) -> str:
        where = self._dataset.storage.address(info.name)
        return f"{where}: {found}, dataset.json says {expected}: the shard was altered; run `vidflow verify`"


class HashingStream:
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, stream: BinaryIO, checks: ShardChecks) -> None:
        self._stream, self._checks = stream, checks

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._checks.add(data)
        return data
