"""Where packed data sets lie: a storage reads names below one root, a folder, ``s3://bucket/prefix`` or ``http(s)://``.

Reads from the network are patient: what breaks off goes on at the byte where it broke, see ``vidflow.storage.remote``.
"""

import os
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from vidflow.errors import StorageError
from vidflow.storage.base import Storage
from vidflow.storage.local import LocalStorage

__all__ = ["LocalStorage", "Storage", "is_remote", "join", "locate", "open_storage"]

_REMOTE = ("s3", "http", "https")


def is_remote(root: str | os.PathLike[str]) -> bool:
    """Whether a root is an address and not a path of this machine."""
    scheme, separator, _ = os.fspath(root).partition("://")
    return bool(separator) and scheme != "file"


def open_storage(root: str | os.PathLike[str]) -> Storage:
    """The storage of a root: a local path, ``s3://bucket/prefix``, ``http://...`` or ``https://...``.

    Nothing is asked of a server before the first read.

    Raises:
        StorageError: an unknown scheme, or an address without bucket or host.
    """
    text = os.fspath(root)
    if not is_remote(text):
        return LocalStorage(text.removeprefix("file://"))
    scheme = text.partition("://")[0]
    if scheme not in _REMOTE:
        known = ", ".join(f"{name}://" for name in _REMOTE)
        raise StorageError(f"{text}: no storage for {scheme}://; use a local path or one of {known}")
    from vidflow.storage.remote import RemoteStorage

    if scheme == "s3":
        from vidflow.storage.s3 import S3Transport

        return RemoteStorage(S3Transport(text))
    from vidflow.storage.http import HttpTransport

    return RemoteStorage(HttpTransport(text))


def locate(address: str) -> tuple[Storage, str]:
    """The storage and the name of one file, from its full path or address.

    >>> storage, name = locate("https://host/videos/a%20b.mp4?signature=x")
    >>> storage.root, name
    ('https://host/videos', 'a b.mp4')

    Raises:
        StorageError: the address names no file.
    """
    if not is_remote(address):
        folder, name = os.path.split(address.removeprefix("file://"))
        return LocalStorage(folder), name
    if address.startswith("s3://"):
        # A key is plain text: a question mark or a per cent sign in it means itself.
        root, _, name = address.rpartition("/")
    else:
        parts = urlsplit(address)
        folder, _, quoted = parts.path.rpartition("/")
        root, name = urlunsplit((parts.scheme, parts.netloc, folder, parts.query, "")), unquote(quoted)
    if not name:
        raise StorageError(f"{address}: names no file")
    return open_storage(root), name


def join(root: str, path: str) -> str:
    """The address of a path below a remote root, such as ``locate`` takes apart.

    >>> join("https://host/videos?signature=x", "a b.mp4")
    'https://host/videos/a%20b.mp4?signature=x'
    """
    if root.startswith("s3://"):
        return f"{root.rstrip('/')}/{path}"
    parts = urlsplit(root)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(path)}"))
