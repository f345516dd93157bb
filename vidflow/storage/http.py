"""Web servers that answer range requests (RFC 9110, section 14), by urllib3.

A login goes into the address, ``https://user:password@host/...``, and so may a query with a signature, which is sent
with every name; neither is ever shown. The proxy variables (``HTTPS_PROXY``, ``NO_PROXY``, ...) are obeyed.
"""

import os
import re
from functools import cache
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout, make_headers

from vidflow.errors import EndsEarlyError, StorageError
from vidflow.storage.patience import Patience, TransientError
from vidflow.storage.remote import MissingError, ObjectInfo

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECTIONS = 32
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@cache
def _pool(pid: int, scheme: str, host: str, timeout: float) -> urllib3.PoolManager:
    proxy = getproxies().get(scheme)
    options = {
        "timeout": Timeout(connect=min(timeout, 10.0), read=timeout),
        # Repeating is our caller's; following a few redirects is not.
        "retries": Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5),
        "maxsize": _CONNECTIONS,
    }
    if proxy and not proxy_bypass(host):
        return urllib3.ProxyManager(proxy, **options)  # type: ignore[arg-type]
    return urllib3.PoolManager(**options)  # type: ignore[arg-type]


class _HttpAnswer:
    """A running GET."""

    def __init__(self, response: urllib3.BaseHTTPResponse, info: ObjectInfo) -> None:
        self._response, self.info = response, info

    def read(self, amount: int) -> bytes:
        try:
            return bytes(self._response.read1(amount, decode_content=False))
        except (HTTPError, OSError) as error:
            raise TransientError(_reason(error)) from error

    def close(self) -> None:
        self._response.close()


def _reason(error: Exception) -> str:
    """The cause of a failure, without the chain of wrappers that urllib3 puts around it."""
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None)) is not None and isinstance(inner, BaseException):
        cause = inner
    return str(cause) or type(cause).__name__


class HttpTransport:
    """Range requests below one address."""

    def __init__(self, root: str) -> None:
        try:
            parts = urlsplit(root)
            port = f":{parts.port}" if parts.port else ""
        except ValueError as error:
            raise StorageError(f"{root}: no web address ({error})") from error
        if not parts.hostname:
            raise StorageError(f"{root}: names no host; write {parts.scheme}://HOST/PATH")
        self._scheme, self._hostname = parts.scheme, parts.hostname
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.root = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        self._query = f"?{parts.query}" if parts.query else ""
        self._headers = {"Accept-Encoding": "identity"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers |= make_headers(basic_auth=login)

    def address(self, name: str) -> str:
        return f"{self.root}/{quote(name)}"

    def info(self, name: str) -> ObjectInfo:
        # Not HEAD: some servers and most signed addresses refuse it.
        response = self._request(name, "bytes=0-0", ok=(200, 206, 416))
        try:
            return _info(response)
        finally:
            response.close()

    def get(self, name: str, start: int, stop: int) -> _HttpAnswer:
        response = self._request(name, f"bytes={start}-{stop - 1}", ok=(200, 206, 416))
        info = _info(response)
        try:
            if response.status == 416:
                raise EndsEarlyError(
                    f"{self.address(name)}: has no bytes [{start}, {stop}), it ends at {info.size}; "
                    "run `vidflow verify` and pack the shard again"
                )
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            first = 0 if response.status == 200 else int(found[1]) if found and found[1] else None
            if first != start:
                answer = "the whole file" if response.status == 200 else f"another one ({first})"
                raise StorageError(
                    f"{self.address(name)}: asked for the bytes from {start} on, and the server sends {answer}; "
                    "use a server that supports byte ranges, or copy the data set to this machine"
                )
        except BaseException:
            response.close()
            raise
        return _HttpAnswer(response, info)

    def _request(self, name: str, byte_range: str, ok: tuple[int, ...]) -> urllib3.BaseHTTPResponse:
        address = self.address(name)
        pool = _pool(os.getpid(), self._scheme, self._hostname, Patience.from_environment().timeout)
        try:
            response = pool.request(
                "GET",
                address + self._query,
                headers=self._headers | {"Range": byte_range},
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise TransientError(_reason(error)) from error
        if response.status in ok:
            return response
        status, retry_after = response.status, response.headers.get("Retry-After", "")
        response.close()
        if status in (404, 410):
            raise MissingError(f"{address}: no such file (HTTP {status}); check the address")
        if status in (401, 403, 407):
            raise StorageError(
                f"{address}: access denied (HTTP {status}); give a login as https://user:password@host/..., "
                "or a signed address"
            )
        if status in _PASSING_STATUS:
            wait = float(retry_after) if retry_after.isdigit() else None
            raise TransientError(f"the server says {status} {response.reason or ''}".rstrip(), wait)
        raise StorageError(f"{address}: the server says {status} {response.reason or ''}".rstrip())


def _info(response: urllib3.BaseHTTPResponse) -> ObjectInfo:
    headers = response.headers
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    size = found[2] if found else headers.get("Content-Length", "") if response.status == 200 else ""
    return ObjectInfo(int(size) if size.isdigit() else None, headers.get("ETag") or headers.get("Last-Modified", ""))
