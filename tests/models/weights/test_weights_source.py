"""Getting files of weights over HTTP from a server of our own: cache, checks, interrupted and missing answers."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vidflow.errors import WeightsError
from vidflow.models.weights import source
from vidflow.models.weights.source import fetch

CONTENT = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves ``files`` (path -> bytes); ``cuts`` is how many of the next answers end early, ``failures`` how many are
    status 503."""

    def __init__(self):
        self.files, self.requests, self.cuts, self.failures = {}, [], 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                if outer.failures:
                    outer.failures -= 1
                    return self.send_error(503)
                if self.path not in outer.files:
                    return self.send_error(404)
                content = outer.files[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if outer.cuts:
                    outer.cuts -= 1
                    content = content[: len(content) // 2]
                self.wfile.write(content)
                return None

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(source.time, "sleep", lambda seconds: None)
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once(server, tmp_path):
    server.files["/a/net.pth"] = CONTENT
    first = fetch(f"{server.url}/a/net.pth", cache=tmp_path)
    assert first.read_bytes() == CONTENT
    assert fetch(f"{server.url}/a/net.pth", cache=tmp_path) == first
    assert server.requests == ["/a/net.pth"]
    assert leftovers(tmp_path) == ["net.pth"]


def test_equal_names_at_different_addresses_are_different_files(server, tmp_path):
    server.files |= {"/a/net.pth": b"first", "/b/net.pth": b"second"}
    assert [fetch(f"{server.url}/{x}/net.pth", cache=tmp_path).read_bytes() for x in "ab"] == [b"first", b"second"]


def test_the_cache_lies_where_the_environment_says(server, tmp_path, monkeypatch):
    server.files["/net.pth"] = CONTENT
    monkeypatch.setenv("VIDFLOW_CACHE", str(tmp_path / "mine"))
    assert fetch(f"{server.url}/net.pth").is_relative_to(tmp_path / "mine" / "weights")
    monkeypatch.delenv("VIDFLOW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch(f"{server.url}/net.pth").is_relative_to(tmp_path / "xdg" / "vidflow" / "weights")


def test_a_digest_in_the_name_is_checked(server, tmp_path):
    right, wrong = f"/net-{DIGEST[:8]}.pth", "/net-00000000.pth"
    server.files |= {right: CONTENT, wrong: CONTENT}
    assert fetch(server.url + right, cache=tmp_path).read_bytes() == CONTENT
    with pytest.raises(WeightsError, match=f"SHA-256 is {DIGEST}, which does not start with 00000000"):
        fetch(server.url + wrong, cache=tmp_path)
    assert leftovers(tmp_path) == [right[1:]]


def test_a_digest_that_is_given_is_checked(server, tmp_path):
    server.files["/net.pth"] = CONTENT
    with pytest.raises(WeightsError, match="does not start with ffff"):
        fetch(f"{server.url}/net.pth", sha256="ffff", cache=tmp_path)
    assert fetch(f"{server.url}/net.pth", sha256=DIGEST.upper(), cache=tmp_path).read_bytes() == CONTENT


def test_a_digest_behind_the_address_is_checked(server, tmp_path):
    server.files["/net.pth"] = CONTENT
    path = fetch(f"{server.url}/net.pth#sha256={DIGEST}", cache=tmp_path)
    assert path.read_bytes() == CONTENT
    assert fetch(f"{server.url}/net.pth", cache=tmp_path) == path
    with pytest.raises(WeightsError, match="does not start with 00000000"):
        fetch(f"{server.url}/net.pth#sha256=00000000", cache=tmp_path)
    assert server.requests == ["/net.pth"]


@pytest.mark.parametrize("fragment", ["sha256=", "sha256=xyz", "md5=00000000", "sha256=0123"])
def test_anything_else_behind_an_address_is_refused(fragment, server, tmp_path):
    with pytest.raises(WeightsError, match="after # may stand sha256= and 8 to 64 hex digits"):
        fetch(f"{server.url}/net.pth#{fragment}", cache=tmp_path)
    assert server.requests == []


def test_a_damaged_file_in_the_cache_is_noticed(server, tmp_path):
    name = f"/net-{DIGEST[:8]}.pth"
    server.files[name] = CONTENT
    path = fetch(server.url + name, cache=tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"delete {path} to download it again"):
        fetch(server.url + name, cache=tmp_path)


def test_a_date_in_the_name_is_no_digest(server, tmp_path):
    server.files["/net_20220906.pth"] = CONTENT
    assert fetch(f"{server.url}/net_20220906.pth", cache=tmp_path).read_bytes() == CONTENT


def test_answers_that_break_off_or_fail_are_asked_for_again(server, tmp_path):
    server.files["/net.pth"] = CONTENT
    server.cuts = server.failures = 1
    assert fetch(f"{server.url}/net.pth", cache=tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_an_answer_that_always_breaks_off_is_an_error_and_leaves_nothing(server, tmp_path):
    server.files["/net.pth"] = CONTENT
    server.cuts = 99
    with pytest.raises(WeightsError, match=r"net\.pth: cannot be downloaded"):
        fetch(f"{server.url}/net.pth", cache=tmp_path)
    assert leftovers(tmp_path) == []


def test_a_missing_file_is_asked_for_once(server, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth: cannot be downloaded \(.*404"):
        fetch(f"{server.url}/none.pth", cache=tmp_path)
    assert len(server.requests) == 1
    assert leftovers(tmp_path) == []


def test_a_server_that_does_not_answer_is_an_error(server, tmp_path):
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        fetch(f"{server.url}/net.pth", cache=tmp_path)


def test_progress_is_told(server, tmp_path):
    server.files["/net.pth"] = CONTENT
    calls = []
    fetch(f"{server.url}/net.pth", cache=tmp_path, on_bytes=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len(calls) > 1


def test_local_files_are_checked_when_a_digest_is_given(tmp_path):
    path = tmp_path / "net-00000000.pth"
    path.write_bytes(CONTENT)
    assert fetch(path) == fetch(str(path)) == path
    assert fetch(path, sha256=DIGEST) == path
    with pytest.raises(WeightsError, match="does not start with abc"):
        fetch(path, sha256="abc")


@pytest.mark.parametrize("url", ["ftp://host/net.pth", "s3://bucket/net.pth", "http://host/"])
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(WeightsError, match=r"http:// or https://|names no file"):
        fetch(url, cache=tmp_path)
