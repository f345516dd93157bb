"""Bringing a part's shard to its place in the joined data set: by a link, a copy, or a copy that S3 makes itself.

A copy within S3 keeps the borders of the upload's parts, so that the ETag of the copy must be that of the original;
where ETags are no MD5s, the copy is read back and its SHA-256 compared. Objects above 5 GiB can only be copied in parts
(Amazon S3 API reference, CopyObject and UploadPartCopy).
"""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from vidflow.dataset import ShardInfo
from vidflow.errors import DataError, StorageError
from vidflow.shards.files import naming_the_path, publish
from vidflow.shards.journal import Journal
from vidflow.shards.sending import PART_BYTES, ROUNDS, S3Target
from vidflow.storage.remote import MissingError
from vidflow.storage.s3 import split_address

_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES})
_ONE_REQUEST_BYTES = 5 << 30
_LARGE_PART_BYTES = 512 << 20


class Placer(Protocol):
    """Where the shards go."""

    threads: int
    """How many may be placed at once."""

    def place(self, part: str, shard: ShardInfo) -> bool:
        """Bring one shard of the part at this root to its place; whether it is a link.

        Raises:
            DataError: the part does not hold what its dataset.json says.
            StorageError: it cannot be read or written.
        """
        ...


class FolderPlacer:
    """Into the folder of a journal."""

    threads = 1

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def place(self, part: str, shard: ShardInfo) -> bool:
        source, final = Path(part) / shard.name, self.journal.out / shard.name
        try:
            size = source.stat().st_size
        except OSError as error:
            raise DataError(f"{source}: {error.strerror}; pack the part again") from error
        if size != shard.size:
            raise _other_size(str(source), size, shard)
        if final.exists() and (final.samefile(source) or _sha256(final) == shard.sha256):
            return False  # placed by an earlier run
        final.unlink(missing_ok=True)
        try:
            os.link(source, final)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                with naming_the_path(final):
                    raise
        else:
            return True
        unfinished = self.journal.part(shard.name)
        with naming_the_path(unfinished):
            shutil.copyfile(source, unfinished)
            with unfinished.open("rb") as copy:
                os.fsync(copy.fileno())
        if _sha256(unfinished) != shard.sha256:
            unfinished.unlink()
            raise DataError(f"{source}: its SHA-256 is not the one of dataset.json; pack the part again")
        publish(unfinished, final)
        return False


def _other_size(address: str, size: int, shard: ShardInfo) -> DataError:
    return DataError(f"{address}: has {size} bytes, dataset.json says {shard.size}; pack the part again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BucketPlacer:
    """Below a prefix of S3, from another one that the same server has."""

    threads = 8

    def __init__(self, target: S3Target) -> None:
        self.target = target
        self.there = target.sizes()

    def place(self, part: str, shard: ShardInfo) -> bool:
        bucket, prefix = split_address(part)
        source = {"Bucket": bucket, "Key": prefix + shard.name}
        address = f"s3://{bucket}/{prefix}{shard.name}"
        try:
            found = S3Target(part).call("head_object", shard.name, Key=source["Key"])
        except MissingError as error:
            raise DataError(f"{address}: is missing; pack the part again") from error
        if found["ContentLength"] != shard.size:
            raise _other_size(address, found["ContentLength"], shard)
        etag = found.get("ETag", "").strip('"')
        if self.there.get(shard.name) == shard.size and self.target.holds(shard.name, shard.size, etag, shard.sha256):
            return False  # placed by an earlier run
        for _ in range(ROUNDS):
            self._copy(source, shard, etag)
            if self.target.holds(shard.name, shard.size, etag, shard.sha256):
                return False
        raise StorageError(
            f"{self.target.root}/{shard.name}: is not what {address} is said to be, after {ROUNDS} copies; "
            "run `vidflow verify` on the part, and check the server"
        )

    def _copy(self, source: dict[str, str], shard: ShardInfo, etag: str) -> None:
        arguments: dict[str, Any] = {"CopySource": source, "CopySourceIfMatch": etag}
        key = {"Key": self.target.prefix + shard.name}
        call, name = self.target.call, shard.name
        if "-" not in etag and shard.size <= _ONE_REQUEST_BYTES:
            call("copy_object", name, **key, **arguments)
            return
        step = _part_bytes(shard.size, etag)
        key["UploadId"] = call("create_multipart_upload", name, **key)["UploadId"]
        try:
            parts = []
            for number, start in enumerate(range(0, shard.size, step), start=1):
                span = f"bytes={start}-{min(start + step, shard.size) - 1}"
                answer = call("upload_part_copy", name, **key, **arguments, PartNumber=number, CopySourceRange=span)
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            self.target.complete(name, parts, **key)
        except BaseException:
            self.target.abort(**key)
            raise


def _part_bytes(size: int, etag: str) -> int:
    """Bytes of each part but the last, such that the copy gets the ETag of the original where that is possible."""
    count = int(etag.rpartition("-")[2]) if "-" in etag and etag.rpartition("-")[2].isdigit() else 0
    return PART_BYTES if count == -(-size // PART_BYTES) else _LARGE_PART_BYTES
