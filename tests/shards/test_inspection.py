"""What ``vidflow inspect`` counts."""

import json

import pytest

from vidflow.dataset import PackedDataset
from vidflow.shards.inspection import inspect_dataset
from vidflow.shards.sources.class_folders import read_class_folders


@pytest.fixture
def odd_set(tree, packed, odd_media, tmp_path):
    """Four good videos, a broken one, and a class without any."""
    root = tree("train/run/0.mp4", "val/jump/1.mp4")
    for name in ("vfr.mp4", "rot90.mp4", "mp4v_b.avi", "empty.mp4"):
        (root / "train" / "run" / name).write_bytes(odd_media[name].read_bytes())
    packed(read_class_folders(root), max_count=2)
    return tmp_path / "out"


def test_counts_are_those_of_the_files(odd_set):
    report = inspect_dataset(PackedDataset.open(odd_set))
    assert report.splits["train"].classes == {"jump": 0, "run": 4}
    assert report.splits["train"].empty_classes == ("jump",)
    assert (
        report.splits["train"].num_samples,
        report.splits["train"].num_shards,
        report.splits["val"].num_samples,
    ) == (4, 2, 1)
    assert report.codecs == {"h264": 4, "mpeg4": 1}
    assert report.containers == {"mp4": 4, "avi": 1}
    assert report.rotations == {"0": 4, "90": 1}
    assert report.resolutions == {"160x120": 3, "64x48": 2}
    assert (report.num_variable_frame_rate, report.num_damaged, report.num_with_audio) == (1, 0, 0)
    assert (report.num_rejected, report.rejected_reasons) == (1, {"probe: cannot be opened as a video": 1})
    # 5, 6, 42, 30 and 60 frames.
    assert (report.num_frames.min, report.num_frames.median, report.num_frames.max) == (5, 30, 60)
    assert any("no sample of 1 classes, such as 'jump'" in warning for warning in report.warnings)


def test_gops_are_measured_to_the_end(items, packed, tmp_path):
    packed(items(4))  # one key frame each, 5 to 8 frames
    gops = inspect_dataset(PackedDataset.open(tmp_path / "out")).longest_gop
    assert (gops.min, gops.max) == (5, 8)


def test_samples_that_decode_slowly_are_pointed_at(tree, packed, odd_media, tmp_path):
    root = tree("train/run/0.mp4")
    (root / "train" / "run" / "hurt.mp4").write_bytes(odd_media["midcorrupt.mp4"].read_bytes())
    packed(read_class_folders(root), on_damage="conceal")
    report = inspect_dataset(PackedDataset.open(tmp_path / "out"))
    assert (report.num_not_seekable, report.num_damaged) == (1, 1)
    assert any("--profile train" in warning for warning in report.warnings)


def test_json_is_one_document(odd_set, command):
    result = command("inspect", odd_set, "--json")
    assert result.returncode == 0
    report = json.loads(result.stdout)
    assert report["splits"]["train"]["classes"] == {"jump": 0, "run": 4}
    assert report["num_frames"]["max"] == 60


def test_the_printed_report_names_classes_and_reasons(odd_set, command):
    result = command("inspect", odd_set)
    assert result.returncode == 0
    for text in ("jump", "h264: 4", "1 x probe: cannot be opened as a video"):
        assert text in result.stdout
    assert "warning: train: no sample" in result.stderr


def test_a_folder_without_a_data_set_is_an_error(tmp_path, command):
    result = command("inspect", tmp_path)
    assert result.returncode == 3
    assert "no such file; pack a data set first" in result.stderr.replace("\n", " ")
