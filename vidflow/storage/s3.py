"""S3 and what speaks its protocol, by boto3: credentials, profiles, regions and endpoints the usual AWS ways.

``AWS_ENDPOINT_URL`` names another server, ``AWS_PROFILE`` and the other variables and files of the AWS tools work as
there, and ``VIDFLOW_S3_UNSIGNED=1`` reads public buckets without credentials.
"""

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from urllib3.exceptions import HTTPError

from vidflow.errors import EndsEarlyError, StorageError
from vidflow.storage.patience import Patience, TransientError
from vidflow.storage.remote import MissingError, ObjectInfo

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
_CONNECTIONS = 32


def split_address(address: str) -> tuple[str, str]:
    """Bucket and key prefix of ``s3://bucket/prefix``; the prefix is empty or ends with a slash."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise StorageError(f"{address}: names no bucket; write s3://BUCKET/PREFIX")
    return bucket, f"{prefix}/" if prefix else ""


def client(*, attempts: int) -> Any:
    """The S3 client of this process.

    Args:
        attempts: of each request, made by the client itself.

    Raises:
        StorageError: the AWS settings cannot be used.
    """
    patience = Patience.from_environment()
    unsigned = os.environ.get("VIDFLOW_S3_UNSIGNED", "") not in ("", "0")
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    # A client must not be shared by a process and its children.
    return _client(os.getpid(), attempts, patience.timeout, unsigned, settings)


@cache
def _client(pid: int, attempts: int, timeout: float, unsigned: bool, settings: tuple[tuple[str, str], ...]) -> Any:
    config = Config(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        connect_timeout=min(timeout, 10.0),
        read_timeout=timeout,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        **({"signature_version": UNSIGNED} if unsigned else {}),
    )
    try:
        return boto3.session.Session(botocore_session=botocore.session.Session()).client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise StorageError(f"s3://: the AWS settings cannot be used: {error}") from error


def explain(error: Exception, address: str) -> Exception:
    """A client's error as a ``TransientError``, or as a ``StorageError`` that names the address and what to do."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            return MissingError(f"{address}: no such bucket; check its name and the endpoint (AWS_ENDPOINT_URL)")
        if status == 404:
            return MissingError(f"{address}: no such object; check the address")
        if status in _PASSING_STATUS or code in _PASSING_CODES:
            return TransientError(f"the server says {status} {code}")
        if status in (401, 403):
            return StorageError(
                f"{address}: access denied ({code}); check the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ...), the "
                "bucket's policy, and the address: without the right to list, S3 says this of missing objects too"
            )
        message = error.response.get("Error", {}).get("Message", "")
        return StorageError(f"{address}: the server says {status} {code}: {message}")
    if isinstance(error, NoCredentialsError):
        return StorageError(
            f"{address}: no AWS credentials found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or VIDFLOW_S3_UNSIGNED=1 for a public bucket"
        )
    if isinstance(error, (ConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError)):
        return TransientError(str(error) or type(error).__name__)
    return StorageError(f"{address}: {error}")


def list_objects(address: str) -> Iterator[tuple[str, ObjectInfo]]:
    """The names of all objects below ``s3://bucket/prefix``, without the prefix, in byte order, and what they are.

    Raises:
        StorageError: they cannot be listed.
    """
    prefix = split_address(address)[1]
    for page in _pages(address):
        for entry in page.get("Contents", ()):
            yield entry["Key"].removeprefix(prefix), ObjectInfo(entry["Size"], entry.get("ETag", ""))


def list_folders(address: str) -> Iterator[str]:
    """The names that continue ``s3://bucket/prefix/`` up to the next slash, as if they were folders.

    Raises:
        StorageError: they cannot be listed.
    """
    prefix = split_address(address)[1]
    for page in _pages(address, Delimiter="/"):
        for entry in page.get("CommonPrefixes", ()):
            yield entry["Prefix"].removeprefix(prefix).rstrip("/")


def _pages(address: str, **arguments: str) -> Iterator[dict[str, Any]]:
    bucket, prefix = split_address(address)
    more: dict[str, str] = {}
    while True:
        attempts = Patience.from_environment().attempts
        try:
            page = client(attempts=attempts).list_objects_v2(Bucket=bucket, Prefix=prefix, **arguments, **more)
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            found = explain(error, address)
            if isinstance(found, TransientError):
                raise StorageError(f"{address}: {found}; gave up after {attempts} attempts") from error
            raise found from error
        yield page
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


class _S3Answer:
    """A running ``GetObject``."""

    def __init__(self, response: dict[str, Any], address: str) -> None:
        self._body = response["Body"]
        self._address = address
        size = response.get("ContentRange", "").rpartition("/")[2]
        self.info = ObjectInfo(int(size) if size.isdigit() else None, response.get("ETag", ""))

    def read(self, amount: int) -> bytes:
        try:
            return bytes(self._body.read(amount))
        except (BotoCoreError, HTTPError, OSError) as error:
            raise explain(error, self._address) from error

    def close(self) -> None:
        self._body.close()


class S3Transport:
    """Range requests to one bucket."""

    def __init__(self, root: str) -> None:
        self.bucket, self.prefix = split_address(root)
        self.root = f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def address(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{name}"

    def info(self, name: str) -> ObjectInfo:
        found = self._call("head_object", name)
        return ObjectInfo(found["ContentLength"], found.get("ETag", ""))

    def get(self, name: str, start: int, stop: int) -> _S3Answer:
        return _S3Answer(self._call("get_object", name, Range=f"bytes={start}-{stop - 1}"), self.address(name))

    def _call(self, operation: str, name: str, **arguments: Any) -> Any:
        try:
            call = getattr(client(attempts=1), operation)
            return call(Bucket=self.bucket, Key=self.prefix + name, **arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "InvalidRange":
                raise self._beyond_the_end(name, str(arguments["Range"])) from error
            raise explain(error, self.address(name)) from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise explain(error, self.address(name)) from error

    def _beyond_the_end(self, name: str, wanted: str) -> StorageError:
        return EndsEarlyError(
            f"{self.address(name)}: has no {wanted.replace('=', ' ')}; run `vidflow verify` and pack the shard again"
        )
