"""Reading tar members: as tarfile reads them, and damage is named."""

import io
import tarfile

import pytest

from vidflow.pipelines.tar_stream import expand_tar
from vidflow.shards.tar import header


def tar_of(*members, kind=tarfile.REGTYPE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def expand(data):
    return [(found["fname"], found["data"], found["__url__"]) for found in expand_tar(io.BytesIO(data), "x.tar")]


MEMBERS = (("000000.mp4", b"v" * 1000), ("000000.json", b""), ("a/ü.jpg", b"j" * 512), ("n" * 100, b"k" * 513))


def test_members_come_as_they_were_written():
    assert expand(tar_of(*MEMBERS)) == [(name, data, "x.tar") for name, data in MEMBERS]


def test_a_member_too_large_for_a_plain_header_has_its_size_in_a_pax_header():
    info = tarfile.TarInfo("000000.mp4")
    info.pax_headers = {"size": "1000"}  # as if it did not fit
    front = info.tobuf(tarfile.PAX_FORMAT)
    assert len(front) == 1536
    data = front + b"v" * 1000 + bytes(24) + tar_of(("000000.json", b"{}"))
    assert [(name, content) for name, content, _ in expand(data)] == [
        ("000000.mp4", b"v" * 1000),
        ("000000.json", b"{}"),
    ]
    size = 8**11 + 5
    with pytest.raises(tarfile.ReadError, match=f"the data ends {size} bytes before the end of 000000.mp4"):
        expand(header("000000.mp4", size))


def test_a_stream_may_end_without_an_end_marker():
    data = tar_of(("a.mp4", b"v" * 10))[:1024]
    assert [name for name, *_ in expand(data)] == ["a.mp4"]


def test_a_stream_that_gives_little_at_a_time_is_read_whole():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(size if size <= 512 else 700)

    found = list(expand_tar(Slow(tar_of(("a.mp4", b"v" * 5000))), "x.tar"))
    assert found[0]["data"] == b"v" * 5000


@pytest.mark.parametrize("cut", [100, 511, 513, 1400])
def test_a_stream_that_ends_inside_a_member_is_damage(cut):
    with pytest.raises(tarfile.ReadError, match="the data ends"):
        expand(tar_of(("a.mp4", b"v" * 1000))[:cut])


@pytest.mark.parametrize("place", [0, 50, 124, 130, 148, 156, 257, 300, 511])
def test_an_altered_header_is_damage(place):
    data = bytearray(tar_of(("a.mp4", b"v" * 1000)))
    data[place] ^= 0x55
    with pytest.raises(tarfile.ReadError, match="a header is damaged"):
        expand(bytes(data))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE])
def test_what_packing_never_writes_is_refused(kind):
    with pytest.raises(tarfile.ReadError, match=r"a\.mp4/? is no plain file"):
        expand(tar_of(("a.mp4", b""), kind=kind))
