"""Local storage reads exactly the bytes that it is asked for, or says where and why not."""

import pytest

from vidflow.errors import StorageError
from vidflow.storage import open_storage

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "a b.tar").write_bytes(CONTENT)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    return open_storage(tmp_path)


@pytest.mark.parametrize(("offset", "length"), [(0, 10240), (0, 0), (1, 7), (300, 9000), (10240, 0), (10239, 1)])
def test_a_range_is_read_exactly(storage, offset, length):
    assert storage.read("a b.tar", offset, length) == CONTENT[offset : offset + length]
    with storage.open("a b.tar", offset, length) as stream:
        assert stream.read() == CONTENT[offset : offset + length]


def test_the_whole_file_and_its_rest_are_read(storage):
    assert storage.read("a b.tar") == CONTENT
    assert storage.read("a b.tar", 10000) == CONTENT[10000:]
    with storage.open("a b.tar", 10000) as stream:
        assert stream.read() == CONTENT[10000:]
    assert storage.read("empty") == b""


def test_a_stream_is_read_in_pieces_of_any_size(storage):
    with storage.open("a b.tar", 100, 5000) as stream:
        pieces = [stream.read(1), stream.read(4096), stream.read(1000), stream.read(5)]
    assert b"".join(pieces) == CONTENT[100:5100]
    assert pieces[-1] == b""


def test_a_range_beyond_the_end_is_an_error_not_a_short_answer(storage):
    with pytest.raises(
        StorageError, match=r"a b\.tar: has no bytes \[10000, 10300\), it ends at 10240; run `vidflow verify`"
    ):
        storage.read("a b.tar", 10000, 300)
    with (
        storage.open("a b.tar", 10000, 300) as stream,
        pytest.raises(StorageError, match=r"a b\.tar: ends 60 bytes early"),
    ):
        stream.read()


def test_size_and_existence(storage):
    assert storage.size("a b.tar") == len(CONTENT)
    assert storage.exists("a b.tar")
    assert not storage.exists("none")
    assert not storage.exists("folder")


@pytest.mark.parametrize(
    "call",
    [lambda s: s.read("none"), lambda s: s.size("none"), lambda s: s.open("none"), lambda s: s.open("none", 0, 1)],
)
def test_a_missing_file_is_named_in_full(storage, call):
    with pytest.raises(StorageError) as caught:
        call(storage)
    assert str(caught.value) == f"{storage.root}/none: No such file or directory"


def test_a_folder_is_no_file(storage):
    with pytest.raises(StorageError, match="folder: Is a directory"):
        storage.read("folder")


def test_a_file_address_is_a_local_path(tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    assert open_storage(f"file://{tmp_path}").read("x") == b"1"
    assert open_storage(str(tmp_path)).read("x") == b"1"


@pytest.mark.parametrize("scheme", ["gs", "ftp", "S3"])
def test_an_unknown_scheme_is_refused_by_name(scheme):
    with pytest.raises(StorageError, match=f"^{scheme}://bucket/data: no storage for {scheme}://"):
        open_storage(f"{scheme}://bucket/data")
