"""Published annotation files, where the machine has them, parse to their known counts and the order of the field."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from vidflow.shards.recipes.class_lists import read_class_list
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


@pytest.mark.parametrize(
    ("recipe", "name"),
    [("kinetics600", "kinetics__label_map_k600.txt"), ("kinetics700", "kinetics__label_map_k700.txt")],
)
def test_the_order_of_the_larger_kinetics_is_alphabetical(recipe, name):
    assert load_recipe(recipe).class_list == "sorted"
    assert label_map(name) == tuple(sorted(label_map(name)))


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("diving48", "diving48__label_map.txt"),
        ("gym99", "gym__label_map.txt"),
        ("moments-in-time", "mit__label_map.txt"),
        ("multi-moments", "mmit__label_map.txt"),
        ("jester", "jester__label_map.txt"),
        ("kinetics710", "kinetics710__label_map_k710.txt"),
        ("multisports", "multisports__label_map.txt"),
        ("ntu60-2d", "skeleton__label_map_ntu60.txt"),
        ("ntu60-3d", "skeleton__label_map_ntu60.txt"),
        ("gym99-2d", "skeleton__label_map_gym99.txt"),
        ("kinetics400-2d", "kinetics__label_map_k400.txt"),
        ("kinetics-skeleton", "kinetics__label_map_k400.txt"),
        ("ucf101-2d", "ucf101__label_map.txt"),
        ("hmdb51-2d", "hmdb51__label_map.txt"),
        ("diving48-2d", "diving48__label_map.txt"),
        ("ssv1", "sthv1__label_map.txt"),
        ("ssv2", "sthv2__label_map.txt"),
        ("activitynet", "activitynet__label_map.txt"),
        ("hacs-segments", "activitynet__label_map.txt"),
    ],
)
def test_the_published_label_map_has_as_many_classes(recipe, name):
    assert len(label_map(name)) == load_recipe(recipe).num_classes


def test_the_class_list_of_diving48_gives_the_names_of_the_label_map(tmp_path):
    names = label_map("diving48__label_map.txt")
    (tmp_path / "vocab.json").write_text(json.dumps([name.split("+") for name in names]))
    assert read_class_list(tmp_path / "vocab.json", "json parts") == names


def test_the_class_list_of_gym99_gives_the_names_of_the_label_map(tmp_path):
    names = label_map("gym__label_map.txt")
    lines = [f"Clabel: {i}; set: {i // 9}; Glabel: {i + 1}; {name}" for i, name in enumerate(names)]
    (tmp_path / "categories.txt").write_text("\n".join(lines))
    found = read_class_list(tmp_path / "categories.txt", "gym")
    twice = "(BB) salto backward tucked"
    assert [i for i, name in enumerate(names) if name == twice] == [58, 70]
    assert (found[58], found[70]) == (f"{twice} [set 6]", f"{twice} [set 7]")
    assert [name.partition(" [set")[0] for name in found] == list(names)


def test_the_tags_of_hvu_are_in_the_order_of_the_field(tmp_path):
    published = json.loads((FOLDER / "label_maps" / "hvu__label_map.json").read_text())
    pairs = [(tag, category) for category, tags in published.items() for tag in tags]
    with (tmp_path / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("Tag", "Category"), *reversed(pairs)])
    found = read_class_list(tmp_path / "tags.csv", "tag,category")
    assert found == tuple(f"{category}/{tag}" for tag, category in pairs)
    assert len(found) == load_recipe("hvu").num_classes


def test_the_order_of_activitynet_is_given_by_its_label_map(tmp_path):
    """It is not alphabetical: ``--classes`` takes the list that MMAction2's models number their classes by."""
    names = label_map("activitynet__label_map.txt")
    assert names != tuple(sorted(names))
    notes = [{"segment": [0, 1], "label": name} for name in names]
    entry = {"subset": "training", "duration": 9, "annotations": notes}
    (tmp_path / "activity_net.v1-3.min.json").write_text(json.dumps({"database": {"a": entry}}))
    _, indices, classes, _ = read_lists(load_recipe("activitynet"), tmp_path, splits=["train"], classes=names)
    assert (indices, classes) == ([tuple(range(200))], names)


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_no_group_of_ucf101_is_in_both_splits(fold, tmp_path):
    source = read_recipe(load_recipe("ucf101"), tmp_path, annotations=FOLDER / "ucf101", fold=fold, allow_missing=True)
    assert len({item.group for item in source.items}) == 101 * 25


def test_thumos14_has_its_known_number_of_segments(tmp_path):
    listed, *_ = read_lists(load_recipe("thumos14"), tmp_path, annotations=FOLDER / "thumos14" / "temporal_annotations")
    counts = Counter(video.row.split for video in listed for _ in video.segments)
    assert counts == {"val": 3007, "test": 3358}


def test_charades_sta_has_its_known_number_of_sentences(tmp_path):
    listed, _, _, warnings = read_lists(load_recipe("charades-sta"), tmp_path, annotations=FOLDER / "charades_sta")
    assert Counter(video.row.split for video in listed) == {"train": 5338, "test": 1334}
    counts = Counter(video.row.split for video in listed for _ in video.moments)
    assert counts == {"train": 12408 - 4, "test": 3720}
    assert warnings == ["4 sentences end before they begin, and were left out"]
    first = next(video for video in listed if video.row.path == "AO8RW").moments[0]
    assert (first.start, first.end, first.text) == (0.0, 6.9, "a person is putting a book on a shelf.")


def test_charades_sta_with_the_durations_that_charades_publishes(tmp_path):
    for name in ("charades_sta_train.txt", "charades_sta_test.txt"):
        (tmp_path / name).write_bytes((FOLDER / "charades_sta" / name).read_bytes())
    with (FOLDER / "charades_sta" / "Charades_v1_test.csv").open(newline="") as file:
        seconds = {row["id"]: float(row["length"]) for row in csv.DictReader(file)}
    (tmp_path / "Charades_duration.json").write_text(json.dumps(seconds))
    (tmp_path / "Charades_fps_dict.json").write_text(json.dumps(dict.fromkeys(seconds, 30.0)))
    listed, *_ = read_lists(load_recipe("charades-sta-features"), tmp_path, splits=["test"])
    assert all(moment.end <= video.duration for video in listed for moment in video.moments)
    assert sum(moment.end == video.duration for video in listed for moment in video.moments) >= 562


def test_ave_has_its_known_number_of_events(tmp_path):
    """The owners' list of all events, in the place of one split's."""
    (tmp_path / "trainSet.txt").write_bytes((FOLDER / "ave" / "Annotations.txt").read_bytes())
    listed, _, classes, warnings = read_lists(load_recipe("ave"), tmp_path, splits=["train"])
    assert (len(listed), len(classes)) == (4097, 28)
    assert sum(len(video.segments) + video.num_dropped for video in listed) == 4143
    assert warnings == ["1 segments are empty, and were left out"]


def test_thumos14_in_two_published_forms_is_the_same(tmp_path):
    """G-TAD's JSON of the videos that it uses, against the owners' text files."""
    listed, *_ = read_lists(load_recipe("thumos14"), tmp_path, annotations=FOLDER / "thumos14" / "temporal_annotations")
    segments = {video.row.path: sorted(video.segments) for video in listed}
    table = json.loads((FOLDER / "thumos14" / "thumos_gt.json").read_text())["database"]
    assert len(table) == 410
    for name, entry in table.items():
        marks = [(*map(float, note["segment"]), note["label"]) for note in entry["annotations"]]
        assert sorted(marks) == segments[name], name


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


@pytest.mark.parametrize("test_list", ["msrvtt_test.csv", "MSRVTT_JSFUSION_test.csv"])
def test_the_split_1ka_of_msrvtt(tmp_path, test_list):
    """The published lists, with stand-ins for the captions; one copy of the test list has commas, one semicolons."""
    names = (FOLDER / "retrieval" / "ce_msrvtt" / "train_list_jsfusion.txt").read_text().split()
    sentences = [{"video_id": name, "caption": "x"} for name in names]
    (tmp_path / "MSRVTT_data.json").write_text(
        json.dumps({"videos": [{"video_id": name} for name in names], "sentences": sentences})
    )
    for source, name in (("ce_msrvtt/train_list_jsfusion.txt", None), (test_list, "MSRVTT_JSFUSION_test.csv")):
        path = FOLDER / "retrieval" / source
        (tmp_path / (name or path.name)).write_bytes(path.read_bytes())
    listed, _, _, warnings = read_lists(load_recipe("msrvtt-1ka"), tmp_path)
    assert Counter(video.row.split for video in listed) == {"train": 9000, "test": 1000}
    assert warnings == []
    assert len({video.row.path for video in listed}) == 10000
