"""A folder of whole shards of remote data sets, shared by all processes of a machine.

A shard is kept under its SHA-256, so equal names in two data sets cannot meet, and a data set that is packed anew
brings new files. One process fetches a shard, the others wait for it; it gets its name only when it is whole, on the
disk, and of the right checksum, so that killing any process at any moment leaves nothing that could be taken for a
shard.

Files of the folder:

- ``<sha256>.tar``: a shard. Who reads it holds a shared lock on it; what was not used for longest, and is not locked,
  goes when room is needed. Its time of change is its last use.
- ``<sha256>.part``: one that is being fetched, at its full length from the beginning, so that it counts. Who fetches it
  holds an exclusive lock; a part without a lock was left by a killed process, and goes.
- ``<sha256>.turn``: empty; locked by the process whose turn it is to fetch the shard.
- ``room``: empty; locked while files are counted and deleted.

Locks are ``flock``: the system frees them with the process. The folder belongs on a disk of the machine.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from vidflow.dataset import ShardInfo
from vidflow.errors import AlteredShardError, ConfigError, EndsEarlyError, StorageError
from vidflow.storage.base import Storage

_CHUNK = 1 << 20
_OPEN = os.O_CLOEXEC


class ShardCache:
    """The folder.

    Raises (in its methods):
        StorageError: the folder cannot be written, or its disk is full.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(folder / "room", os.O_RDWR | os.O_CREAT | _OPEN, 0o666))
        except OSError as error:
            raise ConfigError(f"data.cache = {str(folder)!r} cannot be used ({error.strerror})") from error

    def path(self, shard: ShardInfo) -> Path:
        """Where the shard lies, if it is there."""
        return self.folder / f"{shard.sha256}.tar"

    def find(self, shard: ShardInfo) -> int | None:
        """A descriptor of the shard's file with a shared lock, or None where it is not there."""
        path = self.path(shard)
        try:
            file = os.open(path, os.O_RDONLY | _OPEN)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            os.close(file)
            raise self._unusable(error) from error
        if os.fstat(file).st_size != shard.size:  # no file of ours: somebody has changed it
            os.close(file)
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # of another user: read all the same
            os.utime(file)
        return file

    def fetch(self, shard: ShardInfo, storage: Storage, stopped: threading.Event) -> int | None:
        """The shard's file as by ``find``, fetched if need be; None where everything in the cache is in use.

        Raises:
            AlteredShardError: what the server sends is not the shard of dataset.json.
            StorageError: it cannot be had.
        """
        try:
            with self._locked(f"{shard.sha256}.turn", stopped) as mine:
                if not mine:
                    return None
                file = self.find(shard)
                return self._fetch(shard, storage, stopped) if file is None else file
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> StorageError:
        return StorageError(
            f"data.cache: {self.folder}: {error.strerror}; let this user read and write there, on a disk of this "
            "machine, and make room on it or lower data.cache_bytes"
        )

    def _fetch(self, shard: ShardInfo, storage: Storage, stopped: threading.Event) -> int | None:
        part = self._reserve(shard)
        if part is None:
            return None
        try:
            self._fill(part, shard, storage, stopped)
            if not stopped.is_set():
                os.fsync(part)
                # Not while others count: a listing may show a file that is being renamed under neither name.
                with self._locked("room", threading.Event()):
                    self._part(shard).replace(self.path(shard))
                    fcntl.flock(part, fcntl.LOCK_SH)
                return part
        except BaseException:
            self._drop(part, shard)
            raise
        self._drop(part, shard)
        return None

    def _part(self, shard: ShardInfo) -> Path:
        return self.folder / f"{shard.sha256}.part"

    def _drop(self, part: int, shard: ShardInfo) -> None:
        self._part(shard).unlink(missing_ok=True)
        os.close(part)

    def _fill(self, part: int, shard: ShardInfo, storage: Storage, stopped: threading.Event) -> None:
        where, found, at = storage.address(shard.name), hashlib.sha256(), 0
        with closing(storage.open(shard.name, 0, shard.size)) as stream:
            while at < shard.size and not stopped.is_set():
                chunk = stream.read(min(_CHUNK, shard.size - at))
                if not chunk:
                    raise EndsEarlyError(f"{where}: ends {shard.size - at} bytes early; run `vidflow verify`")
                found.update(chunk)
                while chunk:
                    written = os.pwrite(part, chunk, at)
                    at, chunk = at + written, chunk[written:]
        if at < shard.size:
            return
        size = storage.known_size(shard.name)
        if size not in (None, shard.size):
            raise AlteredShardError(f"{where}: has {size} bytes, dataset.json says {shard.size}; run `vidflow verify`")
        if found.hexdigest() != shard.sha256:
            raise AlteredShardError(
                f"{where}: has the SHA-256 {found.hexdigest()}, dataset.json says {shard.sha256}: the shard was "
                "altered; run `vidflow verify`"
            )

    def _reserve(self, shard: ShardInfo) -> int | None:
        """A locked part of the shard's length, after other files have made room for it."""
        with self._locked("room", threading.Event()):
            sizes: dict[Path, int] = {}
            ages: dict[Path, float] = {}
            for entry in os.scandir(self.folder):
                if entry.name.endswith((".tar", ".part")):
                    with suppress(FileNotFoundError):
                        state = entry.stat()
                        sizes[Path(entry.path)], ages[Path(entry.path)] = state.st_size, state.st_mtime
            for path in [path for path in sizes if path.suffix == ".part"]:
                if self._delete_unused(path):
                    del sizes[path]
            for path in sorted((path for path in sizes if path.suffix == ".tar"), key=ages.__getitem__):
                if sum(sizes.values()) + shard.size <= self.limit_bytes:
                    break
                if self._delete_unused(path):
                    del sizes[path]
            if sum(sizes.values()) + shard.size > self.limit_bytes:
                return None
            part = os.open(self._part(shard), os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o666)
            fcntl.flock(part, fcntl.LOCK_EX)
            os.ftruncate(part, shard.size)
            return part

    @staticmethod
    def _delete_unused(path: Path) -> bool:
        """Delete a file that no process has locked; whether it is gone."""
        try:
            file = os.open(path, os.O_RDONLY | _OPEN)
        except FileNotFoundError:
            return True
        except PermissionError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except (BlockingIOError, PermissionError):
            return False
        finally:
            os.close(file)
        return True

    @contextmanager
    def _locked(self, name: str, stopped: threading.Event) -> Iterator[bool]:
        """An exclusive lock over a name; False where waiting for it was stopped."""
        file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | _OPEN, 0o666)
        try:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if stopped.wait(0.02):
                        yield False
                        return
                else:
                    yield True
                    return
        finally:
            os.close(file)
