"""What a worker makes of one source: a fault of the source rejects it, a fault of the place ends the run."""

import errno
from dataclasses import dataclass

import pytest

from vidflow.errors import StorageError
from vidflow.shards import prepare as room
from vidflow.shards.files import naming_the_path
from vidflow.shards.prepare import Refused, Task, prepare, without_path
from vidflow.shards.profiles import PROFILES
from vidflow.shards.sources.items import SourceItem


@dataclass(frozen=True)
class Failing:
    """A reader that meets an error of the operating system."""

    number: int
    place: str | None = None

    def read(self, path, *, conceal):
        raise OSError(self.number, errno.errorcode[self.number], self.place)


def task_of(path, **changes) -> Task:
    return Task(0, "000000", SourceItem(str(path), path.name, "train", (0,), **changes))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_source_that_disappears_while_it_is_encoded_is_rejected(numbered_video, tmp_path, monkeypatch, moment):
    path, staging = numbered_video(tmp_path / "a.mp4", 3), tmp_path / "staging"
    staging.mkdir()
    encode = room.reencode_video

    def vanishing(*args):
        if moment == "before":
            path.unlink()
        video = encode(*args)
        path.unlink()
        return video

    monkeypatch.setattr(room, "reencode_video", vanishing)
    found = prepare(task_of(path), PROFILES["train"], "error", str(staging))
    assert isinstance(found, Refused)
    assert ("no such file" if moment == "before" else "has changed") in found.reason
    assert list(staging.iterdir()) == []


def test_no_room_for_temporary_files_is_no_fault_of_the_source(numbered_video, tmp_path):
    path = numbered_video(tmp_path / "a.mp4", 3)
    with pytest.raises(StorageError, match=r"^/scratch/track\.wav: .*; make room there"):
        prepare(task_of(path, reader=Failing(errno.ENOSPC, "/scratch/track.wav")), PROFILES["copy"], "error", "")
    found = prepare(task_of(path, reader=Failing(errno.EIO)), PROFILES["copy"], "error", "")
    assert found == Refused("open", "EIO")


def test_a_shard_that_is_gone_ends_the_run(tmp_path):
    task = task_of(tmp_path / "train-000000.tar", span=(512, 100))
    with pytest.raises(StorageError, match=r"train-000000\.tar: No such file or directory; run `vidflow verify`"):
        prepare(task, PROFILES["train"], "error", str(tmp_path))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("/data/a.txt: is empty", "is empty"),
        ("/data/a.txt:7: 'a' is no number", "line 7: 'a' is no number"),
        ("/data/a.txt:x: is odd", "/data/a.txt:x: is odd"),
        ("is empty", "is empty"),
    ],
)
def test_reasons_hold_no_path(message, expected):
    assert without_path(message, "/data/a.txt") == expected


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room there"), (errno.ENOTDIR, "give another place"), (errno.EROFS, "may be written")],
)
def test_advice_fits_the_error(tmp_path, number, advice):
    with pytest.raises(StorageError, match=advice), naming_the_path(tmp_path):
        raise OSError(number, "failed")
