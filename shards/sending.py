"""Data sets that are written to S3: each file is made whole on this machine, sent, checked, and deleted here.

S3 shows an object only once its upload is complete, so nothing is ever half there under a final name.
"""

import hashlib
import json
import logging
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from vidflow.errors import StorageError
from vidflow.shards.target import CLAIM_NAME
from vidflow.storage import open_storage
from vidflow.storage.patience import Patience, TransientError
from vidflow.storage.remote import MissingError
from vidflow.storage.s3 import client, explain, split_address

logger = logging.getLogger(__name__)

# Parts of a multipart upload; S3 allows 10,000 of them.
PART_BYTES = 16 << 20
_UPLOADS = 4  # at once
ROUNDS = 3  # uploads or copies of one file before its content counts as impossible to store
_CHUNK = 1 << 20
# Servers that do not know conditional writes refuse them so, or take them for plain ones.
_NO_CONDITIONS = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})


def work_folder(address: str, base: Path | None = None) -> Path:
    """Where the files for an address are made: always the same folder, so that a rerun finds what a killed run left.

    Args:
        base: folder for all such folders; by default one in the user's cache.
    """
    if base is None:
        cache = os.environ.get("XDG_CACHE_HOME")
        base = (Path(cache) if cache else Path.home() / ".cache") / "vidflow" / "packing"
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", address.removeprefix("s3://"))[-60:]
    return base / f"{readable}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"


class S3Target:
    """A prefix of a bucket."""

    is_remote = True

    def __init__(self, root: str) -> None:
        self.bucket, self.prefix = split_address(root)
        self.root = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self._attempts = Patience.from_environment().attempts
        self._has_sent = False
        self._token = ""

    def complete(self, name: str, parts: list[dict[str, Any]], **upload: str) -> None:
        """End an upload in parts; whether the object is there must be looked at afterwards."""
        try:
            client(attempts=self._attempts).complete_multipart_upload(
                Bucket=self.bucket, MultipartUpload={"Parts": parts}, **upload
            )
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            # It was completed, but the answer was lost, and the repeated request finds no upload any more.
            if not (isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "NoSuchUpload"):
                raise self._final(error, name) from error

    def abort(self, **upload: str) -> None:
        """Drop an upload in parts; where that fails, a lifecycle rule must."""
        try:
            client(attempts=1).abort_multipart_upload(Bucket=self.bucket, **upload)
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            logger.info("%s: cannot drop an unfinished upload (%s)", self.root, error)

    def call(self, operation: str, name: str, **arguments: Any) -> Any:
        """The answer to a request about one of the files, repeated as often as the client may.

        Raises:
            MissingError: there is no such object.
            StorageError: any other failure.
        """
        try:
            return getattr(client(attempts=self._attempts), operation)(Bucket=self.bucket, **arguments)
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            raise self._final(error, name) from error

    def _final(self, error: Exception, name: str) -> StorageError:
        """The client has tried often enough: what is left is the user's to mend."""
        found = explain(error, f"{self.root}/{name}".rstrip("/"))
        if isinstance(found, TransientError):
            return StorageError(
                f"{self.root}/{name}: {found}; gave up after {self._attempts} attempts; check the network and the "
                "server and run the same command again, finished shards are kept"
            )
        assert isinstance(found, StorageError)
        return found

    def sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        more: dict[str, str] = {}
        while True:
            page = self.call("list_objects_v2", "", Prefix=self.prefix, Delimiter="/", **more)
            sizes |= {entry["Key"].removeprefix(self.prefix): entry["Size"] for entry in page.get("Contents", ())}
            if not page.get("IsTruncated"):
                return sizes
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, name: str) -> bytes:
        return open_storage(self.root).read(name)

    def remove(self, name: str) -> None:
        self.call("delete_object", name, Key=self.prefix + name)

    def claim(self, token: str) -> None:
        """Store an object that only the first of several runs can store.

        Raises:
            StorageError: another run has done so.
        """
        note = {"token": token, "host": platform.node(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        arguments: dict[str, Any] = {"Key": self.prefix + CLAIM_NAME, "Body": json.dumps(note).encode()}
        held = self._claim()
        if not held:
            try:
                client(attempts=self._attempts).put_object(Bucket=self.bucket, IfNoneMatch="*", **arguments)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in _NO_CONDITIONS:
                    self.call("put_object", CLAIM_NAME, **arguments)
                elif code not in ("PreconditionFailed", "ConditionalRequestConflict"):
                    raise self._final(error, CLAIM_NAME) from error
            except (BotoCoreError, HTTPError, OSError) as error:
                raise self._final(error, CLAIM_NAME) from error
            held = self._claim()  # also where our own request came first, and its answer was lost
        if held.get("token") != token:
            raise StorageError(
                f"{self.root}: a run on {held.get('host', 'another machine')} writes there since "
                f"{held.get('since', 'a while')}; wait for it; if it was interrupted, run its command again on that "
                "machine, or give --overwrite to start anew here"
            )
        self._token = token

    def _claim(self) -> dict[str, str]:
        """The claim that is there; empty without one."""
        try:
            found = json.loads(self.read(CLAIM_NAME))
        except MissingError:
            return {}
        except ValueError:
            return {"token": "?"}
        return found if isinstance(found, dict) else {"token": "?"}

    def confirm_claim(self) -> None:
        if self._token and (held := self._claim()).get("token") != self._token:
            by = f"by a run on {held.get('host', 'another machine')}" if held else "with --overwrite, or by hand"
            raise StorageError(
                f"{self.root}: was taken over {by} while this run wrote there; run one of them again with --overwrite"
            )

    def release(self, token: str) -> None:
        if self._claim().get("token") == token:
            self.remove(CLAIM_NAME)
        self._token = ""

    def put(self, path: Path) -> None:
        """Send a file, make sure that the server has all of it, and delete it here.

        Raises:
            StorageError: it cannot be sent; the file stays here.
        """
        if not self._has_sent:
            self._abort_unfinished(path.name)
        size, etag, sha256 = _digests(path)
        for _ in range(ROUNDS):
            self._upload(path)
            if self.holds(path.name, size, etag, sha256):
                break
            logger.info("%s/%s: differs after the upload; sending it again", self.root, path.name)
        else:
            raise StorageError(
                f"{self.root}/{path.name}: the server does not hold what was sent to it, after {ROUNDS} uploads of "
                f"{size} bytes; check the server"
            )
        self._has_sent = True
        path.unlink()

    def _upload(self, path: Path) -> None:
        config = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=_UPLOADS
        )
        key = self.prefix + path.name
        try:
            client(attempts=self._attempts).upload_file(str(path), self.bucket, key, Config=config)
        except (BotoCoreError, ClientError, HTTPError, OSError, S3UploadFailedError) as error:
            cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
            code = cause.response.get("Error", {}).get("Code") if isinstance(cause, ClientError) else ""
            # The upload was completed, but the answer was lost, and the repeated request finds no upload any more.
            # Whether it is there is looked at next.
            if code != "NoSuchUpload":
                raise self._final(cause if isinstance(cause, Exception) else error, path.name) from error

    def holds(self, name: str, size: int, etag: str, sha256: str) -> bool:
        """Whether the server has a file with this content, by size and ETag, or else by reading it."""
        try:
            found = client(attempts=self._attempts).head_object(Bucket=self.bucket, Key=self.prefix + name)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return False
            raise self._final(error, name) from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise self._final(error, name) from error
        if found["ContentLength"] != size:
            return False
        if found.get("ETag", "").strip('"') == etag:
            return True
        # With encryption by keys, and on some servers, an ETag is no MD5: then only the bytes themselves tell.
        digest = hashlib.sha256()
        with open_storage(self.root).open(name, 0, size) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == sha256

    def _abort_unfinished(self, name: str) -> None:
        """Drop the parts of an upload of this file that a killed run has left; they are invisible, but are paid for."""
        key = self.prefix + name
        try:
            found = client(attempts=self._attempts).list_multipart_uploads(Bucket=self.bucket, Prefix=key)
            for upload in found.get("Uploads", ()):
                if upload["Key"] == key:
                    client(attempts=self._attempts).abort_multipart_upload(
                        Bucket=self.bucket, Key=key, UploadId=upload["UploadId"]
                    )
        except ClientError as error:
            logger.info("%s/%s: cannot look for unfinished uploads (%s)", self.root, name, error)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise self._final(error, name) from error


def _digests(path: Path) -> tuple[int, str, str]:
    """Bytes, the ETag that S3 gives to such an upload (the MD5, or the MD5 of the parts' MD5s), and the SHA-256."""
    sha256, size = hashlib.sha256(), 0
    parts: list[bytes] = []
    with path.open("rb") as file:
        while True:
            md5, left = hashlib.md5(usedforsecurity=False), PART_BYTES
            while left and (chunk := file.read(min(_CHUNK, left))):
                sha256.update(chunk)
                md5.update(chunk)
                left -= len(chunk)
            if left == PART_BYTES and parts:
                break
            size += PART_BYTES - left
            parts.append(md5.digest())
            if left:
                break
    if size < PART_BYTES:
        return size, parts[0].hex(), sha256.hexdigest()
    whole = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return size, f"{whole}-{len(parts)}", sha256.hexdigest()
