"""Samples of all kinds go one way: the same bytes each time, verified, inspected, and refused where they do not fit."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.members import KEYPOINT, to_npy
from vidflow.schema import Moment, Question, Segment, TimedBox
from vidflow.shards.inspection import inspect_dataset
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.items import Annotations
from vidflow.shards.verification import verify_dataset


@pytest.fixture
def skeletons(tmp_path) -> KindOptions:
    """Nine MSR-Action3D files of two classes, different in length."""
    folder = tmp_path / "msr"
    folder.mkdir()
    for i in range(9):
        rows = np.arange(1, 80 * (i + 1) + 1).reshape(-1, 4) / 100
        text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
        (folder / f"a{i % 2 + 1:02d}_s{i + 1:02d}_e01_skeleton3D.txt").write_text(text)
    return KindOptions(src=folder, split_rules=("train=subject % 2 == 1", "test"), fps=15.0)


@pytest.fixture
def packed_skeletons(skeletons, packed, tmp_path) -> Path:
    packed(read_source("skeleton", skeletons), max_count=2)
    return tmp_path / "out"


def test_one_worker_and_three_write_the_same_bytes(skeletons, packed, files_of, tmp_path):
    source = read_source("skeleton", skeletons)
    packed(source, "one", max_count=2)
    packed(source, "three", max_count=2, workers=3)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three")


def test_an_interrupted_run_goes_on_to_the_same_bytes(skeletons, packed, files_of, tmp_path):
    source = read_source("skeleton", skeletons)
    packed(source, "whole", max_count=2)

    def interrupt(done: int) -> None:
        if done >= 5:
            raise KeyboardInterrupt

    options = PackOptions(max_count=2)
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "again", options, workers=1, on_progress=interrupt)
    assert pack(source, tmp_path / "again", options, workers=1).num_resumed > 0
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "again")


def test_a_changed_option_of_the_source_is_no_resume(skeletons, packed, tmp_path):
    packed(read_source("skeleton", skeletons))
    with pytest.raises(DataError, match=r"fps was 15.0 and is now 30.0"):
        packed(read_source("skeleton", replace(skeletons, fps=30.0)))


def test_a_packed_data_set_is_as_recorded(packed_skeletons):
    found = verify_dataset(PackedDataset.open(packed_skeletons), workers=1)
    assert (found.num_samples, found.differences) == (9, ())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (to_npy(np.full((1, 4, 20, 3), np.nan, np.float32)), "values that are not finite"),
        (to_npy(np.ones((1, 3, 20, 4), np.float32)), r"has shape \[1, 3, 20, 4\], the record says \[1, 4, 20, 3\]"),
        (b"\x93NUMPX", "no readable .npy"),
    ],
)
def test_damage_inside_a_member_is_found(packed_skeletons, damage, message):
    dataset = PackedDataset.open(packed_skeletons)
    index = next(i for i in range(9) if dataset.record(i).skeleton.num_frames == 4)
    location = dataset.row(index)[1]
    shard = packed_skeletons / location.shard
    data = bytearray(shard.read_bytes())
    assert len(damage) <= location.data_length
    data[location.data_offset : location.data_offset + len(damage)] = damage
    shard.write_bytes(data)
    found = [str(difference) for difference in verify_dataset(dataset, workers=1).differences]
    assert any("SHA-256" in text for text in found)
    assert any(re.search(message, text) for text in found)


def test_a_missing_member_is_found(packed_skeletons):
    dataset = PackedDataset.open(packed_skeletons)
    record, location = dataset.row(0)
    shard = packed_skeletons / location.shard
    name = f"{record.key}.{KEYPOINT}".encode()
    data = shard.read_bytes()
    shard.write_bytes(data.replace(name, name.replace(b"keypoint", b"keypaint"), 1))
    found = [str(difference) for difference in verify_dataset(dataset, workers=1, decode=False).differences]
    assert any(f"member {record.key}.{KEYPOINT} is missing" in text or "tar" in text for text in found)


def test_inspection_counts_what_the_kind_has(packed_skeletons):
    report = inspect_dataset(PackedDataset.open(packed_skeletons))
    assert (report.kinds, report.layouts, report.task) == ({"skeleton": 9}, {"msr20": 9}, "skeleton")
    assert (report.num_frames.min, report.num_frames.max, report.fps.median) == (1, 9, 15)
    assert (report.longest_gop, report.num_steps, report.codecs) == (None, None, {})
    assert report.splits["train"].num_frames == 1 + 3 + 5 + 7 + 9
    assert report.splits["train"].duration == round(25 / 15, 3)
    json.dumps(report.table())


def test_the_command_packs_inspects_and_verifies_a_kind(skeletons, command, tmp_path):
    rules = ("--split-rule", "train=subject % 2 == 1", "--split-rule", "test")
    line = ("shard", "--kind", "skeleton", "--src", skeletons.src, *rules, "--out", tmp_path / "out", "--workers", 1)
    done = command(*line, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["packed"] == 9
    assert "9 samples" in command("verify", tmp_path / "out", "--workers", 1).stdout
    assert "skeleton: 9" in command("inspect", tmp_path / "out").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layout", "coco"), "--layout: has no effect on video"),
        (("--kind", "skeleton", "--profile", "train", "--split-rule", "train"), "--profile train: is for video"),
        (("--kind", "audio", "--template", "a_%d.jpg"), "--template: has no effect on class folders of sound files"),
        (("--kind", "skeleton", "--split-rule", "train", "--max-people", "0"), "--max-people 0: must be at least 1"),
        (("--kind", "frames", "--fps", "-1"), "--fps -1.0: must be positive"),
    ],
)
def test_options_that_do_not_fit_the_kind_are_refused(skeletons, command, tmp_path, arguments, message):
    done = command("shard", "--src", skeletons.src, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_source_is_refused(skeletons, command):
    line = ("shard", "--kind", "skeleton", "--src", skeletons.src, "--split-rule", "train")
    done = command(*line, "--out", skeletons.src / "out")
    assert done.returncode == 2
    assert "lies inside --src" in done.stderr


def test_annotations_of_videos_are_packed_and_segments_end_with_their_video(items, packed, tmp_path):
    segments = tuple(Segment(start=start, end=end, label=0) for start, end in ((0, 0.02), (0.01, 9), (8, 9)))
    boxes = (TimedBox(time=0.1, x1=0.1, y1=0, x2=1, y2=0.5, labels=(0,), person=3),)
    source = items(2)
    first = replace(source.items[0], annotations=Annotations(segments, boxes, ("two words",)))
    report = packed(replace(source, items=(first, source.items[1]), task="detection"))
    dataset = PackedDataset.open(tmp_path / "out")
    (record,) = (dataset.record(i) for i in range(2) if dataset.record(i).id == first.id)
    assert [(s.start, s.end) for s in record.segments] == [(0, 0.02), (0.01, record.video.duration)]
    assert (record.boxes, record.captions) == (boxes, ("two words",))
    assert report.warnings == (
        f"{first.id}: 2 segments reach beyond its end at {record.video.duration:g} s, and were cut",
    )
    assert verify_dataset(dataset, workers=1).differences == ()
    counted = inspect_dataset(dataset)
    assert (counted.num_segments, counted.num_boxes, counted.num_captions) == (2, 1, 1)


def test_moments_and_questions_are_packed_verified_and_counted(items, packed, tmp_path):
    moments = tuple(Moment(start=start, end=end, text="x") for start, end in ((0, 0.02), (0.01, 9), (8, 9)))
    questions = (Question(text="who?", answers=("a",), labels=(0,)), Question(choices=("x", "y"), right_choice=1))
    source = items(1)
    noted = replace(source.items[0], annotations=Annotations(moments=moments, questions=questions))
    report = packed(replace(source, items=(noted,), task="question-answering"))
    dataset = PackedDataset.open(tmp_path / "out")
    record = dataset.record(0)
    assert [(m.start, m.end) for m in record.moments] == [(0, 0.02), (0.01, record.video.duration)]
    assert record.questions == questions
    (warning,) = report.warnings
    assert "2 moments reach beyond its end" in warning
    assert verify_dataset(dataset, workers=1).differences == ()
    counted = inspect_dataset(dataset)
    assert (counted.num_moments, counted.num_questions, counted.task) == (2, 2, "question-answering")


@pytest.mark.parametrize(
    "notes",
    [{"moments": (Moment(start=0, end=0.1, text="x"),)}, {"questions": (Question(text="who?", answers=("a",)),)}],
)
def test_other_moments_and_questions_are_another_source(items, packed, notes):
    source = items(1)
    packed(source)
    noted = replace(source.items[0], annotations=Annotations(**notes))
    with pytest.raises(DataError, match="sources_sha256 was"):
        packed(replace(source, items=(noted,)))


def test_a_label_of_a_question_without_a_class_is_found(items, packed, tmp_path):
    source = items(1)
    wrong = Annotations(questions=(Question(text="who?", labels=(7,)),))
    packed(replace(source, items=(replace(source.items[0], annotations=wrong),)))
    found = verify_dataset(PackedDataset.open(tmp_path / "out"), workers=1, decode=False).differences
    assert "labels [7] have no class, there are 1" in str(found[0])


def test_other_annotations_are_another_source(items, packed):
    source = items(1)
    packed(source)
    captioned = replace(source.items[0], annotations=Annotations(captions=("new",)))
    with pytest.raises(DataError, match="sources_sha256 was"):
        packed(replace(source, items=(captioned,)))


def test_a_label_of_a_segment_without_a_class_is_found(items, packed, tmp_path):
    source = items(1)
    wrong = Annotations(segments=(Segment(start=0, end=0.1, label=7),))
    packed(replace(source, items=(replace(source.items[0], annotations=wrong),)))
    found = verify_dataset(PackedDataset.open(tmp_path / "out"), workers=1, decode=False).differences
    assert "labels [7] have no class, there are 1" in str(found[0])
