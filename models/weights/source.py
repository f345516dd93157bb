"""Files of weights: local ones, and remote ones through a cache."""

import hashlib
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vidflow.errors import WeightsError

OnBytes = Callable[[int, int | None], None]
"""Called while a file comes in, with the bytes so far and in all (None: unknown)."""

_CHUNK = 1 << 20
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30.0
_HASH_IN_FRAGMENT = re.compile(r"sha256=([0-9a-fA-F]{8,64})")
# File names such as resnet50-11ad3fa6.pth carry the start of the content's SHA-256.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[A-Za-z]+$")


def cache_dir() -> Path:
    """``$VIDFLOW_CACHE/weights``, else ``$XDG_CACHE_HOME/vidflow/weights``, else ``~/.cache/vidflow/weights``."""
    if own := os.environ.get("VIDFLOW_CACHE"):
        return Path(own) / "weights"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidflow" / "weights"


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_url(source: str | Path) -> bool:
    """Whether a source names a scheme (``xyz://``) instead of a path."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def fetch(
    source: str | Path, *, sha256: str | None = None, cache: Path | None = None, on_bytes: OnBytes | None = None
) -> Path:
    """The local file of a path or an ``http(s)://`` address; remote files are downloaded once.

    A remote file whose name ends in ``-`` and at least 8 hex digits, such as ``resnet50-11ad3fa6.pth``, must have a
    SHA-256 that starts with them, and so must one whose address ends in ``#sha256=`` and hex digits. Files in the
    cache are checked each time.

    Args:
        sha256: what the content's digest must start with, in hex; for local files too.
        cache: folder of the downloads, by default ``cache_dir()``.

    Raises:
        WeightsError: no such file, no answer, or another content than the digest says.
    """
    if not is_url(source):
        path = Path(source)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        if sha256:
            _check(path, sha256.lower(), str(path), "; get the file again")
        return path
    url = str(source)
    if urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"{url}: weights come from a local path, http:// or https://")
    url, _, fragment = url.partition("#")
    if fragment:
        stated = _HASH_IN_FRAGMENT.fullmatch(fragment)
        if stated is None:
            raise WeightsError(f"{source}: after # may stand sha256= and 8 to 64 hex digits, not {fragment!r}")
        sha256 = sha256 or stated.group(1)
    name = Path(unquote(urlsplit(url).path)).name
    if not name:
        raise WeightsError(f"{url}: names no file")
    found = _HASH_IN_NAME.search(name)
    expected = (sha256 or (found.group(1) if found else "")).lower()
    # Two addresses may end in the same name.
    path = (cache or cache_dir()) / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    if not path.is_file():
        _download(url, path, expected, on_bytes)
    elif expected:
        _check(path, expected, url, f"; delete {path} to download it again")
    return path


def _check(path: Path, expected: str, where: str, advice: str) -> None:
    digest = sha256_of(path)
    if not digest.startswith(expected):
        raise WeightsError(f"{where}: SHA-256 is {digest}, which does not start with {expected}{advice}")


def _download(url: str, path: Path, expected: str, on_bytes: OnBytes | None) -> None:
    """Download to a name of its own, check, then rename: a file in the cache is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part_name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    part = Path(part_name)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                with os.fdopen(os.dup(handle), "wb") as file:
                    file.truncate(0)
                    file.seek(0)
                    _receive(url, file.write, on_bytes)
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError, EOFError) as error:
                final = isinstance(error, urllib.error.HTTPError) and error.code < 500
                if final or attempt + 1 == _ATTEMPTS:
                    raise WeightsError(f"{url}: cannot be downloaded ({error})") from error
                time.sleep(2.0**attempt)
        if expected:
            _check(part, expected, url, "; the file there is damaged or another one")
        part.chmod(0o644)
        part.replace(path)
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)


def _receive(url: str, write: Callable[[bytes], object], on_bytes: OnBytes | None) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "vidflow"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        received = 0
        while chunk := answer.read(_CHUNK):
            write(chunk)
            received += len(chunk)
            if on_bytes:
                on_bytes(received, total)
        if total is not None and received < total:
            raise EOFError(f"ends after {received} of {total} bytes")
