"""Tar headers as bytes."""

import io
import tarfile

import pytest

from vidflow.shards import tar


def test_a_member_reads_back_and_tells_nothing_of_the_machine():
    content = b"x" * 700
    data = tar.header("000001.mp4", 700) + content + tar.padding(700) + tar.END_OF_ARCHIVE
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.size, member.mode, member.mtime) == ("000001.mp4", 700, 0o644, 0)
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert archive.extractfile(member).read() == content


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_lengths_are_whole_blocks(size):
    length = tar.member_length("000001.mp4", size)
    assert length % 512 == 0
    assert length == 512 + size + len(tar.padding(size))


def test_sizes_beyond_ustar_are_kept():
    size = 9 << 30
    with tarfile.open(fileobj=io.BytesIO(tar.header("000001.mp4", size) + tar.END_OF_ARCHIVE)) as archive:
        member = archive.next()
    assert (member.name, member.size) == ("000001.mp4", size)
    assert tar.member_length("000001.mp4", size) == 1536 + size
