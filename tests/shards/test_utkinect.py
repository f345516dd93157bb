"""Recordings of UTKinect are cut into their actions, by the frames that the owners' list names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.members import KEYPOINT, from_npy
from vidflow.shards.sources.by_kind import KindOptions, read_source

LABELS = "s01_e01\nwalk: 252 254\nsitDown:  256  257\ns02_e01\nwalk: 1 1\nsitDown: NaN NaN\n"
RULES = ("train=subject % 2 == 1", "test")


def line(frame: int) -> str:
    values = " ".join(f"{frame + joint / 100:.2f} {joint / 10:.1f} 2.5" for joint in range(20))
    return f"{frame}  {values}"


@pytest.fixture
def utkinect(tmp_path) -> Callable[..., KindOptions]:
    """``utkinect(labels)``: two recordings; frame 253 of the first is there twice, frame 255 is not."""

    def write(labels: str = LABELS, **options) -> KindOptions:
        (tmp_path / "joints").mkdir(exist_ok=True)
        (tmp_path / "actionLabel.txt").write_text(labels)
        first = [*map(line, (251, 252, 253)), line(253).replace("2.5", "9.9"), *map(line, (254, 256, 257))]
        (tmp_path / "joints" / "joints_s01_e01.txt").write_text("\n".join(first) + "\n")
        (tmp_path / "joints" / "joints_s02_e01.txt").write_text(line(1))
        return KindOptions(**{"src": tmp_path, "split_rules": RULES} | options)

    return write


def test_each_action_is_a_sample_with_its_frames(utkinect):
    source = read_source("skeleton", utkinect())
    assert source.classes == ("walk", "sitDown")
    assert [(item.id, item.labels, item.split, item.group) for item in source.items] == [
        ("s01_e01/walk", (0,), "train", "s01_e01"),
        ("s01_e01/sitDown", (1,), "train", "s01_e01"),
        ("s02_e01/walk", (0,), "test", "s02_e01"),
    ]
    assert source.skipped == {"action that was not recorded (NaN)": 1}
    found = [item.reader.read(item.path, conceal=False) for item in source.items]
    arrays = [from_npy(contents.members[0].data, KEYPOINT) for contents in found]
    assert [array.shape for array in arrays] == [(1, 3, 20, 3), (1, 2, 20, 3), (1, 1, 20, 3)]
    np.testing.assert_allclose(arrays[0][0, :, 7], [[252.07, 0.7, 2.5], [253.07, 0.7, 2.5], [254.07, 0.7, 2.5]])
    assert found[0].info.layout == "custom"


def test_the_actions_are_packed(utkinect, packed):
    report = packed(read_source("skeleton", utkinect(fps=15.0)))
    assert (report.packed, report.info.task, report.info.options["fps"]) == (3, "skeleton", 15.0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("walk: 1 2\n", r"actionLabel\.txt:1: no 's01_e01' and no 'action: first last' in 'walk: 1 2'"),
        ("s01_e01\nwalk 1 2\n", r"actionLabel\.txt:2: no 's01_e01' and no 'action"),
        ("s01_e01\nwalk: 9 2\n", r"actionLabel\.txt:2: walk ends at frame 2, before it begins at 9"),
        ("s03_e01\nwalk: 1 2\n", r"actionLabel\.txt:1: no file joints_s03_e01\.txt below"),
        ("s01_e01\nwalk: 1 2\nwalk: 3 4\n", r"actions are there more than once:\n.*s01_e01/walk"),
        ("s01_e01\nwalk: NaN NaN\n", r"actionLabel\.txt: names no action"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(utkinect, labels, message):
    with pytest.raises(DataError, match=message):
        read_source("skeleton", utkinect(labels))


def test_an_action_without_frames_and_a_line_that_is_cut_reject_their_samples(utkinect, packed, tmp_path):
    options = utkinect(LABELS.replace("256  257", "900 901"))
    (tmp_path / "joints" / "joints_s02_e01.txt").write_text(line(1)[:-5])
    report = packed(read_source("skeleton", options))
    reasons = {rejected.id: rejected.reason for rejected in report.rejected}
    assert reasons["s01_e01/sitDown"] == "has no frame of 900 to 901, which actionLabel.txt names"
    assert "60 numbers, 61 are needed" in reasons["s02_e01/walk"]
    assert report.packed == 1


def test_splits_are_asked_for(utkinect):
    with pytest.raises(ConfigError, match="give --split-rule"):
        read_source("skeleton", utkinect(split_rules=()))
    with pytest.raises(DataError, match="no --split-rule takes 1 of 3 actions, such as s02_e01/walk"):
        read_source("skeleton", utkinect(split_rules=RULES[:1]))
    with pytest.raises(ConfigError, match="--protocol: has no effect on a folder of UTKinect"):
        read_source("skeleton", utkinect(protocol="xsub"))


def test_a_recording_stays_in_one_split(utkinect):
    with pytest.raises(DataError, match="groups lie in several splits: 's01_e01'"):
        read_source("skeleton", utkinect(split_rules=("train=label == 'walk'", "test")))
    source = read_source("skeleton", utkinect(split_rules=(), split=0.5))
    assert {item.split for item in source.items} == {"train", "val"}


def test_the_file_of_labels_is_named_where_it_is_none(utkinect, tmp_path):
    options = utkinect()
    (tmp_path / "actionLabel.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"actionLabel\.txt"):
        read_source("skeleton", options)


def test_the_recording_is_read_as_text(utkinect, tmp_path: Path):
    source = read_source("skeleton", utkinect())
    (tmp_path / "joints" / "joints_s02_e01.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"joints_s02_e01\.txt: not text, byte 0 is 255"):
        source.items[2].reader.read(source.items[2].path, conceal=False)
