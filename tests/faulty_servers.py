"""Servers on this machine that break as real ones do: a web server, and a proxy to put before another server."""

import hashlib
import http.client
import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

SLOW_BYTES = 50_000


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer."""

    kind: Literal["status", "reset", "cut", "end", "stall", "slow"]
    """A status of its own; a connection reset after some bytes of the body; a close after some bytes, short of the
    Content-Length; the same without any Content-Length, so that nothing tells; silence after some bytes; all bytes,
    but only ``SLOW_BYTES`` of them in a second."""
    after: int = 0
    """Bytes of the body that come before it."""
    status: int = 503


@dataclass(frozen=True)
class Request:
    """One request that a server has seen."""

    method: str
    path: str
    range: str | None
    headers: dict[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        """Send an answer, or the part of it that the fault lets through."""
        if fault is not None and fault.kind == "status":
            status, headers = fault.status, {"Content-Type": "application/xml", "Retry-After": "0"}
            body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            body = b"" if self.command == "HEAD" else body
            fault = None
        if fault is not None and fault.kind == "reset" and fault.after == 0:
            self._reset()
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault is not None and fault.kind == "end":
            self.send_header("Connection", "close")
        elif "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault is not None and fault.kind == "slow":
            for start in range(0, len(body), SLOW_BYTES // 20):
                self.wfile.write(body[start : start + SLOW_BYTES // 20])
                if self.server.stopping.wait(0.05):
                    return
            return
        self.wfile.write(body if fault is None else body[: fault.after])
        if fault is None:
            return
        self.wfile.flush()
        self.close_connection = True
        if fault.kind == "reset":
            self._reset()
        elif fault.kind == "stall":
            self.server.stopping.wait(30)

    def _reset(self) -> None:
        """End the connection by a TCP reset instead of a FIN."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            self.close_connection = True  # the client has gone, or was thrown out


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[_Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.stopping = threading.Event()
        self.requests: list[Request] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that closes early is no news."""

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()


class _FileHandler(_Handler):
    server: "FileServer"

    def do_GET(self) -> None:
        server = self.server
        path, wanted = self.path.partition("?")[0], self.headers.get("Range")
        server.requests.append(Request("GET", self.path, wanted, dict(self.headers)))
        fault = server.faults.pop(0) if server.faults else server.fault_of_all
        fault = None if path.lstrip("/") in server.spared else fault
        if (content := server.files.get(path.lstrip("/"))) is None:
            self.answer(404, {}, b"not here", None)
            return
        headers = {}
        if server.versions:
            headers["ETag"] = f'"{hashlib.md5(content).hexdigest()}"'
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "")
        if found is None or not server.ranges:
            self.answer(200, headers, content, fault)
            return
        start, stop = int(found[1]), min(int(found[2]) + 1, len(content))
        if start >= len(content):
            self.answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"", fault)
            return
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self.answer(206, headers, content[start:stop], fault)


class FileServer(_Server):
    """A web server over some bytes in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault | None] = []
        """Of the next requests, one each."""
        self.fault_of_all: Fault | None = None
        """Of the requests after those."""
        self.spared: tuple[str, ...] = ()
        """Files that come whole whatever else fails."""
        self.ranges = True
        """Whether it obeys Range."""
        self.versions = True
        """Whether it sends an ETag."""
        super().__init__(_FileHandler)

    def spoil(self, kind: str, *, after: int = 0, status: int = 503, requests: int = 1) -> None:
        """Let the next requests fail."""
        self.faults += [Fault(kind, after, status)] * requests

    def spoil_all(self, kind: str, *, after: int = 0, status: int = 503, spared: tuple[str, ...] = ()) -> None:
        """Let every request fail, after those that ``spoil`` has named, but for some files."""
        self.fault_of_all, self.spared = Fault(kind, after, status), spared


class _ProxyHandler(_Handler):
    server: "FaultyProxy"

    def _forward(self) -> None:
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        request = Request(self.command, self.path, self.headers.get("Range"))
        server.requests.append(request)
        fault = server.draw(request)
        if fault is not None and fault.kind == "status":
            self.answer(0, {}, b"", fault)
            return
        upstream = http.client.HTTPConnection(server.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            found = upstream.getresponse()
            content = found.read()
        finally:
            upstream.close()
        skipped = {"connection", "transfer-encoding", "date", "server"}
        skipped |= set() if self.command == "HEAD" else {"content-length"}
        headers = {name: value for name, value in found.getheaders() if name.lower() not in skipped}
        self.answer(found.status, headers, content, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward


class FaultyProxy(_Server):
    """Passes requests on to another server on this machine, and spoils a share of the answers.

    Args:
        upstream: host:port.
        rate: share of requests that fail.
        seed: of the chance.
    """

    def __init__(self, upstream: str, *, rate: float = 0.0, seed: int = 0) -> None:
        self.upstream, self.rate = upstream, rate
        self.chance = random.Random(seed)
        self.kinds: tuple[str, ...] = ("status", "reset", "cut", "late reset")
        self.num_faults = 0
        self.watch: Callable[[Request], None] = lambda request: None
        """Called with each request before it is passed on."""
        self.spoils: Callable[[Request], bool] = lambda request: self.chance.random() < self.rate
        """Whether the answer to a request fails; asked in the thread of each request."""
        super().__init__(_ProxyHandler)

    def draw(self, request: Request) -> Fault | None:
        self.watch(request)
        if not self.spoils(request):
            return None
        self.num_faults += 1
        kind, after = self.chance.choice(self.kinds), self.chance.randrange(1, 20_000)
        if kind == "late reset":
            return Fault("reset", after)
        # Before the first byte of a body there is no other way to spoil a HEAD or a PUT.
        if request.method != "GET":
            return Fault("status" if kind == "status" else "reset")
        return Fault(kind, after)
