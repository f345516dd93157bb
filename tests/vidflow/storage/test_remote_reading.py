"""Reads from web servers and S3 give exactly the bytes that are there, whatever the network does, or say why not."""

import hashlib
import pickle
import random
import threading
import time

import pytest

from vidflow.errors import StorageError
from vidflow.storage import is_remote, open_storage
from vidflow.storage.patience import Patience
from vidflow.storage.readahead import CONNECTIONS, PART_BYTES, WINDOW

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """0.7 s without a byte is a dead connection, and four failures in a row are the end."""
    monkeypatch.setenv("VIDFLOW_STORAGE_TIMEOUT", "0.7")
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "4")


@pytest.fixture
def web(file_server):
    """A storage over the web server, which has "a b.tar" and "empty"."""
    file_server.files |= {"data/a b.tar".replace(" ", "%20"): CONTENT, "data/empty": b""}
    return open_storage(f"{file_server.address}/data/")


@pytest.fixture(params=["http", "s3"])
def storage(request):
    """The same files by each way."""
    if request.param == "http":
        return request.getfixturevalue("web")
    return open_storage(request.getfixturevalue("s3").put({"a b.tar": CONTENT, "empty": b""}))


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (1000, 4321), (0, 300_000), (299_999, 1), (77, 0)])
def test_a_range_is_read_exactly(storage, offset, length):
    assert storage.read("a b.tar", offset, length) == CONTENT[offset : offset + length]
    with storage.open("a b.tar", offset, length) as stream:
        assert stream.read() == CONTENT[offset : offset + length]


def test_whole_files_sizes_and_existence(storage):
    assert storage.read("a b.tar") == CONTENT
    assert storage.read("a b.tar", 200_000) == CONTENT[200_000:]
    assert storage.read("empty") == b""
    assert (storage.size("a b.tar"), storage.size("empty")) == (300_000, 0)
    assert storage.exists("a b.tar")
    assert not storage.exists("none")


@pytest.mark.parametrize("name", ["none", "a"])
def test_a_missing_object_is_named_at_once(storage, name):
    for call in (storage.read, storage.size, lambda name: storage.open(name, 0, 5).read()):
        begin = time.monotonic()
        with pytest.raises(StorageError, match=rf"/{name}: no such (file|object).*check the address"):
            call(name)
        assert time.monotonic() - begin < 0.5


@pytest.mark.parametrize(("offset", "length"), [(299_000, 2000), (300_000, 1), (500_000, 10)])
def test_a_range_beyond_the_end_is_an_error_not_a_short_answer(storage, offset, length):
    with pytest.raises(StorageError, match=r"a(%20| )b.tar: has no bytes.*vidflow verify"):
        storage.read("a b.tar", offset, length)
    with storage.open("a b.tar", offset, length) as stream, pytest.raises(StorageError, match="has no bytes"):
        stream.read()


def test_a_storage_survives_pickling(storage):
    assert pickle.loads(pickle.dumps(storage)).read("a b.tar", 5, 5) == CONTENT[5:10]


# Each fault, and where the next request goes on: at the byte where the connection broke.
@pytest.mark.parametrize(
    ("kind", "after", "going_on"),
    [
        ("status", 0, 100),
        ("reset", 0, 100),
        ("cut", 70_000, 70_100),
        ("end", 70_000, 70_100),
        ("stall", 70_000, 70_100),
    ],
)
def test_a_broken_transfer_goes_on_where_it_broke(web, file_server, kind, after, going_on):
    file_server.spoil(kind, after=after, requests=1)
    assert web.read("a b.tar", 100, 250_000) == CONTENT[100:250_100]
    assert [request.range for request in file_server.requests] == ["bytes=100-250099", f"bytes={going_on}-250099"]


def test_a_reset_in_the_middle_loses_and_repeats_nothing(web, file_server):
    for after in (90_000, 1, 0, 50_000, 3, 100):
        file_server.spoil("reset", after=after)
    assert web.read("a b.tar") == CONTENT
    # All after the first, which asked for the size.
    starts = [int(request.range.split("=")[1].split("-")[0]) for request in file_server.requests]
    assert starts == sorted(starts)


def test_twice_503_then_well(web, file_server):
    file_server.spoil("status", status=503, requests=2)
    assert web.read("a b.tar", 0, 1000) == CONTENT[:1000]
    assert len(file_server.requests) == 3


def test_progress_resets_the_count_of_attempts(web, file_server):
    file_server.spoil_all("cut", after=30_000)  # ten cuts, and four attempts are allowed
    assert web.read("a b.tar", 0, 300_000) == CONTENT


def test_a_server_that_stays_down_is_given_up_with_its_reason(web, file_server):
    file_server.spoil_all("status", status=503)
    with pytest.raises(StorageError, match=r"a%20b.tar: the server says 503 .*; gave up after 4 attempts; check"):
        web.read("a b.tar", 0, 1000)
    assert len(file_server.requests) == 4


def test_nobody_listening_is_given_up_with_its_reason():
    with pytest.raises(StorageError, match=r"^http://127.0.0.1:9/x/y: .*refused.*gave up after 4 attempts"):
        open_storage("http://127.0.0.1:9/x").read("y")


@pytest.mark.parametrize(("status", "words"), [(403, "access denied"), (401, "access denied"), (418, "says 418")])
def test_a_refusal_is_final(web, file_server, status, words):
    file_server.spoil_all("status", status=status)
    with pytest.raises(StorageError, match=words):
        web.read("a b.tar", 0, 1000)
    assert len(file_server.requests) == 1


def test_a_server_without_ranges_gives_whole_files_and_is_refused_for_parts(web, file_server):
    file_server.ranges = False
    assert web.read("a b.tar") == CONTENT
    assert web.size("a b.tar") == 300_000
    assert web.read("a b.tar", 0, 1000) == CONTENT[:1000]
    with pytest.raises(StorageError, match=r"asked for the bytes from 10 on, and the server sends the whole file; use"):
        web.read("a b.tar", 10, 1000)


def test_an_object_that_is_replaced_between_reads_is_an_error(storage, request):
    assert storage.read("a b.tar", 0, 10) == CONTENT[:10]
    if "s3" in storage.root:
        request.getfixturevalue("s3").put({"a b.tar": CONTENT[::-1]})
    else:
        request.getfixturevalue("file_server").files["data/a%20b.tar"] = CONTENT[::-1]
    with pytest.raises(StorageError, match=r"a(%20| )b.tar: has changed while it was read"):
        storage.read("a b.tar", 10, 10)
    assert open_storage(storage.root).read("a b.tar", 0, 10) == CONTENT[::-1][:10]


def test_a_replaced_object_of_another_size_is_noticed_without_a_version(web, file_server):
    file_server.versions = False
    web.read("a b.tar", 0, 10)
    file_server.files["data/a%20b.tar"] = CONTENT + b"more"
    with pytest.raises(StorageError, match="has changed while it was read"):
        web.read("a b.tar", 10, 10)


def test_a_login_and_a_signature_are_sent_and_never_shown(web, file_server):
    address = file_server.address.replace("//", "//me:pass%40word@")
    storage = open_storage(f"{address}/data?signature=s3cret")
    assert storage.read("a b.tar", 0, 10) == CONTENT[:10]
    seen = file_server.requests[0]
    assert seen.path == "/data/a%20b.tar?signature=s3cret"
    assert seen.headers["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
    with pytest.raises(StorageError) as caught:
        storage.read("none")
    for shown in (str(caught.value), storage.root):
        assert "pass" not in shown
        assert "s3cret" not in shown
    assert pickle.loads(pickle.dumps(storage)).read("a b.tar", 0, 10) == CONTENT[:10]


class TestReadAhead:
    """Streams over more than one part."""

    @pytest.fixture
    def large(self, file_server, monkeypatch):
        monkeypatch.setenv("VIDFLOW_STORAGE_TIMEOUT", "20")  # a busy machine takes its time for the checksum of so much
        data = random.Random(1).randbytes(WINDOW * PART_BYTES + 3 * PART_BYTES + 12_345)
        file_server.files["large"] = data
        return data

    def test_parts_come_in_order_in_spite_of_faults(self, large, file_server):
        for i in range(16):
            file_server.spoil("reset" if i % 3 else "cut", after=i * 50_021)
        with open_storage(file_server.address).open("large", 1000, len(large) - 1000) as stream:
            assert hashlib.md5(stream.read()).digest() == hashlib.md5(large[1000:]).digest()

    def test_no_more_than_the_window_is_fetched_before_it_is_read(self, large, file_server):
        with open_storage(file_server.address).open("large", 0, len(large)) as stream:
            assert stream.read(10) == large[:10]
            deadline = time.monotonic() + 5
            while len(file_server.requests) < WINDOW and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
            assert len(file_server.requests) == WINDOW
            assert threading.active_count() > CONNECTIONS

    def test_an_early_close_is_quiet_and_ends_the_threads(self, large, file_server):
        stream = open_storage(file_server.address).open("large", 0, len(large))
        stream.read(10)
        stream.close()
        self._no_readers_left()
        with pytest.raises(ValueError, match="closed"):
            stream.read(1)

    def test_a_forgotten_stream_ends_its_threads(self, large, file_server):
        stream = open_storage(file_server.address).open("large", 0, len(large))
        stream.read(10)
        del stream
        self._no_readers_left()

    def test_an_error_reaches_the_reader_after_the_bytes_before_it(self, large, file_server):
        file_server.spoil("reset", after=5000)
        file_server.spoil_all("status", status=403)
        with open_storage(file_server.address).open("large", 0, PART_BYTES) as stream:
            assert stream.raw.read(4096) == large[:4096]
            with pytest.raises(StorageError, match="access denied"):
                stream.read()

    @staticmethod
    def _no_readers_left():
        deadline = time.monotonic() + 5
        while names := [t.name for t in threading.enumerate() if t.name.startswith("vidflow-read")]:
            assert time.monotonic() < deadline, names
            time.sleep(0.01)


def test_s3_with_one_request_in_five_failing_reads_every_byte(s3, monkeypatch):
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "10")
    files = {f"{i}.tar": random.Random(i).randbytes(200_000) for i in range(8)}
    root = s3.put(files)
    proxy = s3.through_proxy(rate=0.2)
    storage = open_storage(root)
    for name, data in files.items():
        assert storage.read(name) == data
        for offset in range(0, 200_000, 20_000):
            assert storage.read(name, offset, 20_000) == data[offset : offset + 20_000]
    assert proxy.num_faults > 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials found; set AWS_PROFILE"),
        ({"AWS_PROFILE": "nobody"}, "the AWS settings cannot be used: .*nobody"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "the AWS settings cannot be used: .*nonsense"),
        ({"VIDFLOW_STORAGE_TIMEOUT": "soon"}, "VIDFLOW_STORAGE_TIMEOUT=soon: must be a positive number"),
    ],
)
def test_settings_that_do_not_work_are_named(s3, monkeypatch, change, words):
    for name, value in change.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=words):
        open_storage(s3.root()).read("x")


def test_no_such_bucket_is_said(s3):
    with pytest.raises(StorageError, match=r"s3://nobodys-bucket/x/y: no such bucket; check its name and the endpoint"):
        open_storage("s3://nobodys-bucket/x").read("y", 0, 10)


def test_a_public_bucket_is_read_without_credentials(s3, monkeypatch):
    root = s3.put({"x": b"12345"})
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("VIDFLOW_S3_UNSIGNED", "1")
    s3.client.put_object_acl(Bucket=s3.name, Key="some/prefix/x", ACL="public-read")
    assert open_storage(root).read("x") == b"12345"


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "http://", "https:///x", "http://host:port/x"])
def test_an_address_without_bucket_or_host_is_refused(address):
    with pytest.raises(StorageError, match=r"names no (bucket|host)|no web address"):
        open_storage(address)


def test_remote_roots_are_told_from_paths(tmp_path):
    assert [is_remote(x) for x in ("s3://b", "http://h", "gs://b", "file:///x", "/x", tmp_path, "a:b")] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip


def test_waits_grow_with_jitter_and_have_a_limit():
    patience = Patience(first_wait=1, longest_wait=10)
    assert [0.5 * 2**n <= patience.wait(n + 1) <= 2**n for n in range(4)] == [True] * 4
    assert 5 <= patience.wait(100) <= 10
    assert patience.wait(1, retry_after=7) == 7
    assert patience.wait(1, retry_after=700) == 10
