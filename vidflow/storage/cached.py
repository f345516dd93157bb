"""A storage that reads shards from a local cache, and fetches those that are not there into it."""

import io
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from vidflow.dataset import PackedDataset, ShardInfo
from vidflow.errors import AlteredShardError, ConfigError
from vidflow.storage.base import Storage
from vidflow.storage.cache import ShardCache
from vidflow.storage.local import open_range

logger = logging.getLogger(__name__)


def cached(dataset: PackedDataset, folder: str, *, limit_bytes: int) -> PackedDataset:
    """The data set read through a cache; one that lies on this machine is left as it is.

    Args:
        limit_bytes: size that all shards in the folder may have together.

    Raises:
        ConfigError: the limit is smaller than a shard, or the folder cannot be used.
    """
    if not dataset.storage.reads_ahead:
        return dataset
    largest = max(dataset.info.shards, key=lambda shard: shard.size)
    if largest.size > limit_bytes:
        raise ConfigError(
            f"data.cache_bytes = {limit_bytes}: smaller than the shard {dataset.storage.address(largest.name)} "
            f"({largest.size} bytes); give the cache room for some shards, or leave data.cache out"
        )
    cache = ShardCache(Path(folder), limit_bytes)
    storage = CachedStorage(dataset.storage, {shard.name: shard for shard in dataset.info.shards}, cache)
    result = PackedDataset(storage, dataset.info)
    result.__dict__["table"] = dataset.table
    return result


class CachedStorage:
    """A storage whose shards are read from the cache, and fetched into it first where they are not there."""

    reads_ahead = True

    def __init__(self, storage: Storage, shards: Mapping[str, ShardInfo], cache: ShardCache) -> None:
        self._storage, self._shards, self.cache = storage, dict(shards), cache
        self.root = storage.root
        self.num_passed_by = 0
        """Reads that went to the server because all shards in the cache were in use."""
        self.refused: dict[str, AlteredShardError] = {}
        """Why shards were refused when they were fetched, by name; they are not fetched again."""

    def address(self, name: str) -> str:
        """The server's address, and the file where a shard is read from the cache: either may be what is damaged."""
        address, shard = self._storage.address(name), self._shards.get(name)
        path = None if shard is None else self.cache.path(shard)
        return address if path is None or not path.is_file() else f"{address} (read from the cache, {path})"

    def exists(self, name: str) -> bool:
        return self._storage.exists(name)

    def size(self, name: str) -> int:
        return self._storage.size(name)

    def known_size(self, name: str) -> int | None:
        return self._storage.known_size(name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        shard = self._shards.get(name)
        file = self.cache.find(shard) if shard is not None else None
        if shard is None or file is None:
            return self._storage.read(name, offset, length)
        with open_range(file, offset, shard.size - offset if length is None else length, self.address(name)) as stream:
            return stream.read()

    def open(self, name: str, offset: int = 0, length: int | None = None) -> BinaryIO:
        """A stream over ``[offset, offset + length)``; fetching begins now, and reading waits for its end."""
        shard = self._shards.get(name)
        if shard is None:
            return self._storage.open(name, offset, length)
        length = shard.size - offset if length is None else length
        file = self.cache.find(shard)
        if file is not None:
            return open_range(file, offset, length, self.address(name))
        return io.BufferedReader(_Coming(self, shard, offset, length), 1 << 20)

    def passed_by(self, shard: ShardInfo) -> None:
        """Say once that the cache is too small for what is read at a time."""
        self.num_passed_by += 1
        if self.num_passed_by == 1:
            logger.warning(
                "%s: all shards in the cache are in use, so %s is read without it; raise data.cache_bytes (%d)",
                self.cache.folder,
                self.address(shard.name),
                self.cache.limit_bytes,
            )


class _Coming(io.RawIOBase):
    """A stream over a shard that a thread is fetching."""

    def __init__(self, owner: CachedStorage, shard: ShardInfo, offset: int, length: int) -> None:
        self._owner, self._shard, self._offset, self._length = owner, shard, offset, length
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._file: int | None = None
        self._error: BaseException | None = None
        self._stream: BinaryIO | None = None
        self._thread = threading.Thread(target=self._fetch, name=f"vidflow-cache {shard.name}", daemon=True)
        self._thread.start()

    def _fetch(self) -> None:
        self._error = self._owner.refused.get(self._shard.name)
        if self._error is not None:
            return
        try:
            file = self._owner.cache.fetch(self._shard, self._owner._storage, self._stopped)
        except BaseException as error:  # noqa: BLE001 -- handed over and raised in the reader's thread
            if isinstance(error, AlteredShardError):
                self._owner.refused[self._shard.name] = error
            self._error = error
            return
        with self._lock:
            if self._stopped.is_set() and file is not None:
                os.close(file)
            else:
                self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._stream is None:
            self._thread.join()
            if self._error is not None:
                raise self._error
            if self._file is None:
                self._owner.passed_by(self._shard)
                self._stream = self._owner._storage.open(self._shard.name, self._offset, self._length)
            else:
                where = self._owner.address(self._shard.name)
                self._stream = open_range(self._file, self._offset, self._length, where)
                self._file = None
        return int(self._stream.readinto(buffer))  # type: ignore[attr-defined]

    def close(self) -> None:
        """Give the lock back; a fetch that is under way is dropped."""
        with self._lock:
            self._stopped.set()
            if self._file is not None:
                os.close(self._file)
                self._file = None
        if self._stream is not None:
            self._stream.close()
        super().close()
