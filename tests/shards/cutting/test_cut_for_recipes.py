"""Clips that ``vidflow cut`` makes are what the recipes of their data sets look for."""

import json
from pathlib import Path

import numpy as np
import pytest

from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video
from vidflow.shards.recipes.reading import read_recipe
from vidflow.shards.recipes.recipe import load_recipe


@pytest.fixture
def source(tmp_path, numbered_video):
    """``source("a.mp4")`` writes a video of 10 s at 10 frames per second, and gives the folder of the videos."""

    def write(name: str) -> Path:
        numbered_video(tmp_path / "whole" / name, 100, height=64, width=64, rate=10)
        return tmp_path / "whole"

    return write


@pytest.fixture
def root(tmp_path):
    """``root({"annotations/list.txt": "..."})`` writes a data set's lists, and gives its folder."""

    def write(lists: dict[str, str]) -> Path:
        for name, text in lists.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "set"

    return write


@pytest.fixture
def packed_numbers(packed, read_back, read_numbers, tmp_path):
    """Id -> numbers in the frames, labels, times of the boxes, of what a recipe packs from a folder."""

    def pack(recipe: str, root: Path, **options):
        packed(read_recipe(load_recipe(recipe), root, **options))
        found = {}
        for sample in read_back(tmp_path / "out"):
            data = sample["fields"]["mp4"]
            info = probe_video(data)
            numbers = read_numbers(decode_frames(data, info, np.arange(info.num_frames)))
            times = [box["time"] for box in sample["json"].get("boxes", ())]
            found[sample["json"]["id"]] = (numbers, sample["json"]["labels"], times)
        return found

    return pack


def test_sub_actions_of_finegym_are_those_of_gym99(source, root, command, packed_numbers, tmp_path):
    event = {"timestamps": [[2, 9]], "segments": {"A_0001_0003": {"timestamps": [[1.0, 3.0]]}}}
    table = tmp_path / "finegym_annotation_info_v1.1.json"
    table.write_text(json.dumps({"0LtLS9wROrk": {"E_000002_000009": event}}))
    classes = "".join(f"Clabel: {i}; set: 1; Glabel: {i}; (VT) move {i}\n" for i in range(99))
    name = "0LtLS9wROrk_E_000002_000009_A_0001_0003"
    folder = root({"annotations/gym99_categories.txt": classes, "annotations/gym99_train_org.txt": f"{name} 7\n"})
    done = command(
        "cut",
        "--src",
        source("0LtLS9wROrk.mp4"),
        "--annotations",
        table,
        "--out",
        folder / "subactions",
        "--workers",
        1,
    )
    assert done.returncode == 0, done.stderr
    assert packed_numbers("gym99", folder, splits=["train"]) == {name: (list(range(30, 50)), [7], [])}


def test_parts_of_ten_seconds_are_those_of_omnisource(source, root, command, packed_numbers):
    entry = {"video_dir": "pref_/___dTOdxzXY", "label": 1, "num_clips": 3, "positive_clip_inds": [1]}
    folder = root(
        {
            "annotations/k200_actions.txt": "\n".join(f"action {i}" for i in range(200)),
            "annotations/kinetics_raw_200/slowonly_8x8_kinetics_raw_200.json": json.dumps([entry]),
        }
    )
    whole = source("pref_/___dTOdxzXY.mp4")
    done = command("cut", "--src", whole, "--every", 4, "--out", folder / "kinetics_raw_200_train", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert packed_numbers("omnisource-raw", folder) == {
        "pref_/___dTOdxzXY/part_1.mp4": (list(range(40, 80)), [1], []),
    }


def test_cut_kinetics_clips_keep_the_times_of_ava_kinetics(source, root, command, packed_numbers):
    actions = "".join(f'item {{ name: "action {i}" id: {i} }}\n' for i in range(1, 81))
    rows = "o3lCwWyyc_s,17,0.1,0.1,0.5,0.5,12\n"
    folder = root(
        {
            "annotations/ava_action_list_v2.2.pbtxt": actions,
            "annotations/kinetics_train_v1.0.csv": rows,
        }
    )
    whole, table = source("o3lCwWyyc_s_000012_000022.mp4"), folder / "annotations" / "kinetics_train_v1.0.csv"
    done = command("cut", "--src", whole, "--annotations", table, "--out", folder / "videos", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "videos").glob("*.mp4")] == ["o3lCwWyyc_s_000015_000019.mp4"]
    assert packed_numbers("ava-kinetics", folder, splits=["train"]) == {
        "o3lCwWyyc_s,0017": (list(range(30, 70)), [11], [2.0]),
    }
