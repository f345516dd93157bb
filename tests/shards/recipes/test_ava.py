"""AVA's films: which frames a sample shows, where its boxes stand, and lists that do not parse."""

import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video
from vidflow.shards.profiles import PROFILES
from vidflow.shards.recipes.class_lists import read_class_list
from vidflow.shards.recipes.listing import ListFile
from vidflow.shards.recipes.parsers.ava_csv import (
    EXCLUDED,
    EXCLUDED_TIME,
    PROPOSALS,
    UNLISTED_LABEL,
    UNPLACED_PROPOSALS,
    ava_csv,
)
from vidflow.shards.recipes.pbtxt import is_listed, read_pbtxt
from vidflow.shards.recipes.reading import read_recipe
from vidflow.shards.recipes.recipe import load_recipe

AVA = load_recipe("ava22")
BOX = "0.25,0.25,0.5,0.75"
NAMES = "annotations/ava_train_v2.2.csv"


@pytest.fixture
def film(tmp_path, numbered_video):
    """``film(rows)`` writes AVA with one film of 12 s at 30 frames per second, whose frame i shows i."""

    def write(rows: str, *, folder: str = "videos", val: str = "") -> Path:
        root = tmp_path / "ava"
        notes = root / "annotations"
        notes.mkdir(parents=True)
        (notes / "ava_action_list_v2.2.pbtxt").write_text(
            "".join(f'label {{\n  name: "action {i}"\n  label_id: {i}\n}}\n' for i in range(1, 81))
        )
        (root / NAMES).write_text(rows)
        (notes / "ava_val_v2.2.csv").write_text(val or f"another,0003,{BOX},1,0\n")
        for split in ("train", "val"):
            (notes / f"ava_{split}_excluded_timestamps_v2.2.csv").write_text("")
        for name in ("film", "another"):
            numbered_video(root / folder / f"{name}.mp4", 360, height=64, width=64)
        return root

    return write


@pytest.fixture
def samples(packed, read_back, read_numbers, tmp_path):
    """Id -> (numbers in the frames, [(time, labels, person)])."""

    def pack(source, profile: str = "train"):
        packed(source, profile=PROFILES[profile])
        found = {}
        for sample in read_back(tmp_path / "out"):
            (data,) = (value for name, value in sample["fields"].items() if name != "json")
            info = probe_video(data)
            numbers = read_numbers(decode_frames(data, info, np.arange(info.num_frames)))
            boxes = [(box["time"], box["labels"], box["person"]) for box in sample["json"]["boxes"]]
            found[sample["json"]["id"]] = (numbers, boxes)
        return found

    return pack


def test_a_sample_is_three_seconds_with_its_key_time_in_the_middle(film, samples):
    found = samples(read_recipe(AVA, film(f"film,0004,{BOX},12,7\nfilm,0005,{BOX},1,7\n"), splits=["train"]))
    assert found == {
        "film,0004": (list(range(75, 165)), [(1.5, [11], 7)]),
        "film,0005": (list(range(105, 195)), [(1.5, [0], 7)]),
    }


def test_at_the_ends_of_the_film_a_sample_is_shorter_and_its_boxes_stand_right(film, samples):
    found = samples(read_recipe(AVA, film(f"film,0001,{BOX},12,7\nfilm,0011,{BOX},1,7\n"), splits=["train"]))
    assert found["film,0001"] == (list(range(75)), [(1.0, [11], 7)])
    assert found["film,0011"] == (list(range(285, 360)), [(1.5, [0], 7)])


def test_a_stride_gathers_key_times_and_each_is_in_one_sample(film, samples):
    rows = "".join(f"film,{second:04d},{BOX},{second},0\n" for second in (2, 3, 5, 6))
    source = read_recipe(AVA, film(rows), splits=["train"], clip_seconds=4, stride=2)
    assert samples(source) == {
        "film,0002": (list(range(15, 135)), [(1.5, [1], 0), (2.5, [2], 0)]),
        "film,0005": (list(range(90, 210)), [(2.0, [4], 0)]),
        "film,0006": (list(range(120, 240)), [(2.0, [5], 0)]),
    }
    assert source.options["clips"] == {"seconds": 4, "stride": 2}


def test_windows_in_one_piece_are_kept_as_they_are(film, read_back, packed, tmp_path):
    rows = f"film,0900,{BOX},12,7\nfilm,0905,{BOX},1,7\n"
    root = film(rows, folder="videos_15min", val=f"another,0901,{BOX},1,0\n")
    packed(read_recipe(AVA, root, splits=["train"], clip_seconds=0))
    (sample,) = read_back(tmp_path / "out")
    assert sample["json"]["id"] == "film"
    assert [(box["time"], box["labels"]) for box in sample["json"]["boxes"]] == [(0.0, [11]), (5.0, [0])]
    assert sample["fields"]["mp4"] == (root / "videos_15min" / "film.mp4").read_bytes()


def test_clips_of_cut_films_count_from_where_these_begin(film, samples):
    root = film(f"film,0904,{BOX},12,7\n", folder="videos_15min", val=f"another,0901,{BOX},1,0\n")
    found = samples(read_recipe(AVA, root, splits=["train"]), profile="intra")
    assert found == {"film,0904": (list(range(75, 165)), [(1.5, [11], 7)])}


def test_a_key_time_behind_the_end_of_the_film_is_rejected(film, packed):
    report = packed(
        read_recipe(AVA, film(f"film,0004,{BOX},12,7\nfilm,0013,{BOX},1,7\nfilm,0030,{BOX},1,7\n"), splits=["train"]),
        profile=PROFILES["train"],
    )
    assert {r.id: r.reason for r in report.rejected} == {
        "film,0013": "ends 1 s before its last box",
        "film,0030": "has no frame in [28.5, 31.5) s; it ends before that",
    }


def test_a_key_time_before_the_start_of_the_cut_film_is_an_error(film):
    root = film(f"film,0800,{BOX},12,7\n", folder="videos_15min")
    with pytest.raises(DataError, match=r"train_v2\.2\.csv:1: film,0800 lies before second 900, where the file begins"):
        read_recipe(AVA, root, splits=["train"])


def test_cutting_needs_a_profile_that_encodes(film, packed):
    with pytest.raises(ConfigError, match="give --profile train or intra"):
        packed(read_recipe(AVA, film(f"film,0004,{BOX},12,7\n"), splits=["train"]))


def test_the_command_cuts_while_it_packs(film, command, tmp_path):
    root = film(f"film,0004,{BOX},12,7\nfilm,0005,{BOX},2,7\n")
    arguments = ["shard", "--recipe", "ava22", "--src", root, "--out", tmp_path / "out", "--workers", 2]
    refused = command(*arguments, "--splits", "train")
    assert refused.returncode == 2, refused.stderr
    assert "give --profile train or intra" in refused.stderr
    done = command(*arguments, "--splits", "train", "--profile", "train", "--clip-seconds", 2)
    assert done.returncode == 0, done.stderr
    dataset = PackedDataset.open(tmp_path / "out")
    assert {dataset.record(i).video.num_frames for i in range(len(dataset))} == {60}
    assert (dataset.info.task, len(dataset.info.classes)) == ("detection", 80)
    assert command("verify", tmp_path / "out").returncode == 0


def test_other_clips_are_another_data_set(film, packed):
    root = film(f"film,0004,{BOX},12,7\n")
    packed(read_recipe(AVA, root, splits=["train"]), profile=PROFILES["train"])
    with pytest.raises(DataError, match="clips"):
        packed(read_recipe(AVA, root, splits=["train"], clip_seconds=2), profile=PROFILES["train"])


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("ucf101", {"clip_seconds": 3}, "--clip-seconds: the samples of UCF101 are whole files"),
        ("ucf101", {"stride": 3}, "--stride: the samples of UCF101 are whole files"),
        ("ava22", {"clip_seconds": 0, "stride": 2}, "--stride 2: has no effect on --clip-seconds 0"),
        ("ava22", {"clip_seconds": 2, "stride": 3}, "a clip must be at least a stride long"),
        ("ava22", {"clip_seconds": -1}, "a clip must be at least a stride long"),
        ("ava22", {"stride": 0}, "a clip must be at least a stride long"),
    ],
)
def test_clips_that_do_not_fit_are_refused(recipe, options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        read_recipe(load_recipe(recipe), tmp_path, **options)


def test_proposals_are_boxes_with_a_score_and_no_label(film):
    root = film(f"film,0004,{BOX},12,7\n")
    boxes = np.array([[-0.1, 0.2, 0.6, 1.2, 0.75], [0.5, 0.5, 0.5, 0.9, 0.9]])
    (root / "annotations" / "ava_dense_proposals_train.FAIR.recall_93.9.pkl").write_bytes(
        pickle.dumps({"film,0004": boxes, "film,0008": boxes, "film,0009": np.zeros((0, 5))})
    )
    source = read_recipe(AVA, root, splits=["train"])
    (item,) = source.items
    truth = [box for box in item.annotations.boxes if box.score is None]
    (proposal,) = [box for box in item.annotations.boxes if box.score is not None]
    assert [box.labels for box in truth] == [(11,)]
    assert (proposal.labels, proposal.score, proposal.time) == ((), 0.75, 1.5)
    assert (proposal.x1, proposal.y1, proposal.x2, proposal.y2) == (0, 0.2, 0.6, 1)
    assert f"2 {UNPLACED_PROPOSALS}, and were left out" in source.warnings
    assert "1 boxes are empty or outside the picture, and were left out" in source.warnings


def test_a_key_time_without_boxes_is_a_sample_and_any_length_of_lines_will_do(film):
    rows = f"film,4\nfilm,5,,,,,\nfilm,6.5,{BOX},12\nfilm,0007,{BOX},12,-1\n"
    items = {item.id: item for item in read_recipe(AVA, film(rows), splits=["train"]).items}
    assert set(items) == {"film,0004", "film,0005", "film,0006.5", "film,0007"}
    assert items["film,0004"].annotations is None
    assert [box.person for box in items["film,0006.5"].annotations.boxes] == [None]
    assert {item.group for item in items.values()} == {"film"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("film,0004,0.2,0.2,1.5,0.9,12,0", "the box reaches out of the picture"),
        (f"film,0004,{BOX},0,0", r"action 0 lies outside \[1, 80\]"),
        (f"film,0004,{BOX},81,0", r"action 81 lies outside \[1, 80\]"),
        (f"film,0004,{BOX},12,0.98", "the eighth cell '0.98' is no person's number; scores belong into the proposals"),
        (f"film,0004,{BOX},12,0,9", "9 cells, 7 or 8 are expected"),
        (f"film,x,{BOX},12,0", "could not convert"),
        (f"film,nan,{BOX},12,0", "the second is nan"),
        ("film,0004,a,b,c,d,12,0", "could not convert"),
        ("film", "too few cells"),
    ],
)
def test_lines_that_do_not_parse_are_errors_with_their_number(film, line, message):
    root = film(f"film,0002,{BOX},1,0\n{line}\n")
    with pytest.raises(DataError, match=rf"(?s)lines that are no.*ava_train_v2\.2\.csv:2: .*{message}"):
        read_recipe(AVA, root, splits=["train"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"film,0004": np.zeros((2, 3))}, r"'film,0004': boxes of shape \(2, 3\)"),
        ({"film,0004": np.full((1, 5), np.nan)}, r"'film,0004': boxes of shape \(1, 5\)"),
        ({"film": np.zeros((1, 5))}, "'film': could not convert"),
        ([1], "holds a list, a dict of 'video,second' and boxes is expected"),
        ({"film,0004": Path("x")}, "pathlib.*not plain data"),
    ],
)
def test_proposals_that_do_not_parse_are_errors(film, content, message):
    root = film(f"film,0004,{BOX},12,7\n")
    (root / "annotations" / "ava_dense_proposals_train.FAIR.recall_93.9.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=rf"(?s)recall_93\.9\.pkl.*{message}"):
        read_recipe(AVA, root, splits=["train"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no 'item"),
        ('item { name: "a" }', r"list\.pbtxt:1: an entry without a name and an id"),
        ('\nitem { name: "a" id: 0 }', r"list\.pbtxt:2: an entry without a name and an id from 1 on"),
        ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }', r"list\.pbtxt:2: id 1 is 'a' and 'b'"),
        ('item { name: "a" id: 1 }\nitem { name: "a" id: 2 }', "class 'a' has the indices 0 and 1"),
    ],
)
def test_action_lists_that_do_not_parse_are_errors(tmp_path, text, message):
    (tmp_path / "list.pbtxt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_list(tmp_path / "list.pbtxt", "pbtxt")


MEDIA = os.environ.get("VIDFLOW_MEDIA")
with_media = pytest.mark.skipif(MEDIA is None, reason="set VIDFLOW_MEDIA to a folder with annotations/ in it")


@with_media
def test_the_published_list_names_the_60_actions_that_are_evaluated():
    (file,) = (Path(MEDIA) / "annotations" / "ava").glob("*for_activitynet_2018*")
    names = read_pbtxt(file)
    listed = {index + 1: name for index, name in enumerate(names) if is_listed(name)}
    known = (Path(MEDIA) / "annotations" / "label_maps" / "ava__label_map.txt").read_text().splitlines()
    assert len(names) == 80
    assert [f"{number}: {name}" for number, name in listed.items()] == known


@with_media
def test_the_sample_of_mmaction2_parses_to_its_known_counts():
    folder = Path(MEDIA) / "videos" / "mmaction2_tests_data" / "tests" / "data" / "ava_dataset"
    (actions,) = (Path(MEDIA) / "annotations" / "ava").glob("*for_activitynet_2018*")
    classes = read_pbtxt(actions)
    files = {
        "train": (
            ListFile(folder / "ava_sample.csv"),
            ListFile(folder / "ava_excluded_timestamps_sample.csv", content=EXCLUDED),
            ListFile(folder / "ava_proposals_sample.pkl", content=PROPOSALS),
        )
    }
    (sample,) = ava_csv(files, classes)  # of three key times two are excluded
    truth = [box for box in sample.boxes if box.score is None]
    proposals = [box for box in sample.boxes if box.score is not None]
    assert (sample.id, sample.key_time, sample.row.path) == ("0f39OWEqJ24,0902", 902, "0f39OWEqJ24")
    assert [(box.labels, box.person, box.x1, box.y2) for box in truth] == [((11, 16, 78), 0, 0.031, 0.995)]
    assert [(box.x1, box.score) for box in proposals] == [(0.011, 0.998163)]
    assert sample.left_out == Counter({EXCLUDED_TIME: 2, UNPLACED_PROPOSALS: 0, UNLISTED_LABEL: 0}) + Counter()
    everything = list(ava_csv({"train": files["train"][:1]}, classes))
    assert [(video.id, len(video.boxes)) for video in everything] == [
        ("0f39OWEqJ24,0902", 1),
        ("0f39OWEqJ24,0903", 1),
        ("_-Z6wFjXtGQ,0902", 1),
    ]
