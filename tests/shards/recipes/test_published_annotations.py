"""Published annotation files, where the machine has them, parse to their known counts and the order of the field."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from vidflow.shards.recipes.reading import read_lists, read_recipe
from vidflow.shards.recipes.recipe import load_recipe

MEDIA = os.environ.get("VIDFLOW_MEDIA")
FOLDER = Path(MEDIA or ".") / "annotations"
pytestmark = pytest.mark.skipif(MEDIA is None, reason="set VIDFLOW_MEDIA to a folder with annotations/ in it")


def label_map(name: str) -> tuple[str, ...]:
    return tuple((FOLDER / "label_maps" / name).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("recipe", "folder", "fold", "counts"),
    [
        ("ucf101", "ucf101", 1, {"train": 9537, "test": 3783}),
        ("ucf101", "ucf101", 2, {"train": 9586, "test": 3734}),
        ("ucf101", "ucf101", 3, {"train": 9624, "test": 3696}),
        ("hmdb51", "hmdb51_splits", 1, {"train": 3570, "test": 1530}),
        ("hmdb51", "hmdb51_splits", 2, {"train": 3570, "test": 1530}),
        ("hmdb51", "hmdb51_splits", 3, {"train": 3570, "test": 1530}),
        ("kinetics400", "kinetics", None, {"val": 19906}),
        ("jester", "jester", None, {"train": 118562, "val": 14787}),
        ("thumos14", "thumos14/temporal_annotations", None, {"val": 200, "test": 212}),
    ],
)
def test_the_lists_have_their_known_counts(recipe, folder, fold, counts, tmp_path):
    listed, indices, _, warnings = read_lists(
        load_recipe(recipe), tmp_path, annotations=FOLDER / folder, fold=fold, splits=list(counts)
    )
    assert Counter(video.row.split for video in listed) == counts
    assert warnings == []
    assert {label for labels in indices for label in labels} == set(range(load_recipe(recipe).num_classes))
    assert len({video.row.path for video in listed}) == len(listed)


@pytest.mark.parametrize(
    ("recipe", "folder", "names", "splits"),
    [
        ("ucf101", "ucf101", "ucf101__label_map.txt", ()),
        ("hmdb51", "hmdb51_splits", "hmdb51__label_map.txt", ()),
        ("kinetics400", "kinetics", "kinetics__label_map_k400.txt", ("val",)),
    ],
)
def test_the_classes_are_in_the_order_of_the_field(recipe, folder, names, splits, tmp_path):
    _, _, classes, _ = read_lists(load_recipe(recipe), tmp_path, annotations=FOLDER / folder, splits=splits)
    assert classes == label_map(names)


@pytest.mark.parametrize("name", ["kinetics__label_map_k600.txt", "kinetics__label_map_k700.txt"])
def test_the_order_of_the_larger_kinetics_is_alphabetical(name):
    assert label_map(name) == tuple(sorted(label_map(name)))


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_no_group_of_ucf101_is_in_both_splits(fold, tmp_path):
    source = read_recipe(load_recipe("ucf101"), tmp_path, annotations=FOLDER / "ucf101", fold=fold, allow_missing=True)
    assert len({item.group for item in source.items}) == 101 * 25


def test_thumos14_has_its_known_number_of_segments(tmp_path):
    listed, *_ = read_lists(load_recipe("thumos14"), tmp_path, annotations=FOLDER / "thumos14" / "temporal_annotations")
    counts = Counter(video.row.split for video in listed for _ in video.segments)
    assert counts == {"val": 3007, "test": 3358}


def test_activitynet_in_the_owners_form(tmp_path):
    """BSN's table and its list of subsets give the JSON of the videos that were still there."""
    table = json.loads((FOLDER / "activitynet" / "anet_anno_action.json").read_text())
    with (FOLDER / "activitynet" / "video_info_new.csv").open(newline="") as file:
        subsets = {row["video"]: row["subset"] for row in csv.DictReader(file)}
    database = {
        name.removeprefix("v_"): {
            "duration": entry["duration_second"],
            "subset": subsets[name],
            "annotations": entry["annotations"],
        }
        for name, entry in table.items()
        if subsets[name] != "testing"
    }
    (tmp_path / "activity_net.v1-3.min.json").write_text(json.dumps({"database": database}))
    listed, _, classes, warnings = read_lists(load_recipe("activitynet"), tmp_path)
    assert warnings == ["12 segments are empty, and were left out"]
    assert Counter(video.row.split for video in listed) == {"train": 9649, "val": 4728}
    assert set(classes) == set(label_map("activitynet__label_map.txt"))


def test_the_split_1ka_of_msrvtt(tmp_path):
    """The published lists, with stand-ins for the captions."""
    names = (FOLDER / "retrieval" / "ce_msrvtt" / "train_list_jsfusion.txt").read_text().split()
    sentences = [{"video_id": name, "caption": "x"} for name in names]
    (tmp_path / "MSRVTT_data.json").write_text(
        json.dumps({"videos": [{"video_id": name} for name in names], "sentences": sentences})
    )
    for source, name in (("ce_msrvtt/train_list_jsfusion.txt", None), ("msrvtt_test.csv", "MSRVTT_JSFUSION_test.csv")):
        path = FOLDER / "retrieval" / source
        (tmp_path / (name or path.name)).write_bytes(path.read_bytes())
    listed, _, _, warnings = read_lists(load_recipe("msrvtt-1ka"), tmp_path)
    assert Counter(video.row.split for video in listed) == {"train": 9000, "test": 1000}
    assert warnings == []
    assert len({video.row.path for video in listed}) == 10000
