"""Skeletons are packed as their files have them, and odd ones are reported or marked, never passed on in silence."""

import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skeletons import arrays_of, people

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.members import KEYPOINT, SCORE, from_npy
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.classes import read_class_names
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents
from vidflow.shards.unpacking import unpack

POLICY = SkeletonPolicy()


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_keypoints_and_scores_come_back_in_their_type(count, dtype):
    keypoints, scores = people(count).astype(dtype), np.full((count, 4, 17), 0.5, dtype)
    contents = skeleton_contents(keypoints, scores, POLICY, conceal=False, size=(340, 256))
    found = arrays_of(contents)
    np.testing.assert_array_equal(found[KEYPOINT], keypoints)
    np.testing.assert_array_equal(found[SCORE], scores)
    assert (found[KEYPOINT].dtype, found[SCORE].dtype) == (dtype, dtype)
    info = contents.info
    assert (info.layout, info.num_people, info.num_frames, info.has_scores) == ("coco", count, 4, True)
    assert (info.width, info.height) == (340, 256)


def test_one_frame_is_enough():
    assert skeleton_contents(people(1, frames=1), None, POLICY, conceal=False).info.num_frames == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_keypoint_that_is_not_finite_is_reported_with_its_place(bad):
    keypoints = people(2)
    keypoints[1, 3, 5, 0] = bad
    with pytest.raises(DataError, match="1 of 136 keypoints are not finite, first person 1, frame 3, keypoint 5"):
        skeleton_contents(keypoints, None, POLICY, conceal=False)


@pytest.mark.filterwarnings("error")
def test_numbers_that_float32_cannot_hold_are_not_finite():
    with pytest.raises(DataError, match="1 of 34 keypoints are not finite"):
        skeleton_contents(np.where(np.arange(68).reshape(1, 2, 17, 2) == 5, 1e300, 1.0), None, POLICY, conceal=False)


def test_concealing_marks_such_a_keypoint_as_missing_and_counts_it():
    keypoints, scores = people(1), np.ones((1, 4, 17), np.float32)
    keypoints[0, 2, 5, 1] = np.nan
    contents = skeleton_contents(keypoints, scores, POLICY, conceal=True)
    found = arrays_of(contents)
    assert found[KEYPOINT][0, 2, 5].tolist() == [0, 0]
    assert found[SCORE][0, 2, 5] == 0
    assert contents.info.num_damaged == 1
    kept = np.ones((4, 17), bool)
    kept[2, 5] = False
    np.testing.assert_array_equal(found[KEYPOINT][0][kept], keypoints[0][kept])


@pytest.mark.parametrize("keypoints", [np.zeros((0, 4, 17, 2)), np.zeros((1, 4, 17, 2))])
def test_a_sample_with_nobody_is_rejected_or_kept_as_told(keypoints):
    with pytest.raises(DataError, match="holds nobody; give --nobody keep"):
        skeleton_contents(keypoints, None, POLICY, conceal=False)
    kept = skeleton_contents(keypoints, None, SkeletonPolicy(nobody="keep"), conceal=False)
    assert arrays_of(kept)[KEYPOINT].shape == (1, 4, 17, 2)
    assert not arrays_of(kept)[KEYPOINT].any()


def test_frames_without_the_person_stay_zeros():
    keypoints = people(1)
    keypoints[0, 1:3] = 0
    np.testing.assert_array_equal(
        arrays_of(skeleton_contents(keypoints, None, POLICY, conceal=False))[KEYPOINT], keypoints
    )


def test_the_people_with_the_highest_scores_are_kept_in_their_order():
    keypoints, scores = people(4), np.stack([np.full((4, 17), value) for value in (0.9, 0.1, 0.3, 0.8)])
    found = arrays_of(skeleton_contents(keypoints, scores, SkeletonPolicy(max_people=2), conceal=False))
    np.testing.assert_array_equal(found[KEYPOINT], keypoints[[0, 3]])


def test_without_scores_the_people_that_move_most_are_kept():
    keypoints = np.repeat(people(3, frames=1), 4, axis=1)
    keypoints[1] += np.arange(4, dtype=np.float32)[:, None, None]
    keypoints[2] += 3 * np.arange(4, dtype=np.float32)[:, None, None]
    found = arrays_of(skeleton_contents(keypoints, None, SkeletonPolicy(max_people=2), conceal=False))
    np.testing.assert_array_equal(found[KEYPOINT], keypoints[[1, 2]])


def test_appearing_is_no_motion():
    keypoints = np.repeat(people(2, frames=1), 4, axis=1)
    keypoints[0, 0] = 0  # appears in frame 1, far from (0, 0), and stands still
    keypoints[1] += np.arange(4, dtype=np.float32)[:, None, None]
    found = arrays_of(skeleton_contents(keypoints, None, SkeletonPolicy(max_people=1), conceal=False))
    np.testing.assert_array_equal(found[KEYPOINT], keypoints[[1]])


def test_another_number_of_keypoints_than_the_layout_has_is_refused():
    with pytest.raises(DataError, match="13 keypoints, layout coco has 17"):
        skeleton_contents(people(1, keypoints=13), None, SkeletonPolicy(layout="coco"), conceal=False)


@pytest.mark.parametrize(
    ("keypoints", "scores", "message"),
    [
        (people(1)[0], None, r"float32 \[4, 17, 2\]"),
        (people(1, coords=4), None, "4 coordinates"),
        (people(1, frames=0), None, "hold no frame"),
        (people(1), np.ones((1, 4, 16)), r"scores of shape \[1, 4, 16\]"),
        (np.full((1, 4, 17, 2), "a"), None, "keypoints are <U1"),
        (people(1), np.full((1, 4, 17), "a"), r"scores are <U1 \[1, 4, 17\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(keypoints, scores, message):
    with pytest.raises(DataError, match=message):
        skeleton_contents(keypoints, scores, POLICY, conceal=False)


@pytest.mark.parametrize("size", [(0, 0), (340, 0), (-1, 256)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(DataError, match=f"a picture {size[0]} pixels wide and {size[1]} high"):
        skeleton_contents(people(1), None, POLICY, conceal=False, size=size)


def test_the_joints_of_kinect_may_be_called_so():
    contents = skeleton_contents(people(1, keypoints=20), None, SkeletonPolicy(layout="kinect20"), conceal=False)
    assert contents.info.layout == "kinect20"


@pytest.fixture
def pickled(tmp_path):
    """A PYSKL file of four samples in two protocols."""

    def write(**changes) -> Path:
        annotations = [
            {
                "frame_dir": f"v{i}",
                "label": i % 2,
                "img_shape": (256, 340),
                "total_frames": 4,
                "keypoint": (people(1 + i) + i).astype(np.float16),
                "keypoint_score": np.ones((1 + i, 4, 17), np.float16),
            }
            for i in range(4)
        ]
        split = {"xsub_train": ["v0", "v1"], "xsub_val": ["v2"], "xview_train": ["v3"], "xview_val": ["v0", "v1"]}
        content = {"split": split, "annotations": annotations} | changes
        path = tmp_path / "ntu.pkl"
        path.write_bytes(pickle.dumps(content))
        return path

    return write


def test_a_pyskl_pickle_is_packed_and_comes_back(pickled, packed, read_back, tmp_path):
    source = read_source("skeleton", KindOptions(src=pickled(), protocol="xsub"))
    assert source.skipped == {"annotation that is in no chosen split": 1}
    report = packed(source)
    assert (report.packed, report.info.task) == (3, "skeleton")
    samples = {sample["json"]["id"]: sample for sample in read_back(tmp_path / "out")}
    assert {name: sample["json"]["split"] for name, sample in samples.items()} == {
        "v0": "train",
        "v1": "train",
        "v2": "val",
    }
    for i in range(3):
        fields = samples[f"v{i}"]["fields"]
        assert list(fields) == [KEYPOINT, SCORE, "json"]
        np.testing.assert_array_equal(from_npy(fields[KEYPOINT], ""), (people(1 + i) + i).astype(np.float16))
        info = samples[f"v{i}"]["json"]["skeleton"]
        assert (info["width"], info["height"], info["num_people"]) == (340, 256, 1 + i)


def test_splits_of_a_pickle_are_never_guessed(pickled):
    with pytest.raises(DataError, match="it has xsub_train, xsub_val, xview_train, xview_val; give --protocol"):
        read_source("skeleton", KindOptions(src=pickled()))
    with pytest.raises(DataError, match="no split for --protocol xset"):
        read_source("skeleton", KindOptions(src=pickled(), protocol="xset"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"frame_dir": "v0", "label": 0}]}, "'v0' has no keypoint"),
        ({"annotations": []}, "names of the splits have no annotation"),
        ({"annotations": ["v0"]}, "no list of dictionaries"),
        ({"split": {"train": ["v0"], "val": ["v0"]}}, "'v0' is in train and in val"),
        ({"split": {"train": None}}, r"ntu\.pkl: split\.train is None, not a list of frame_dir"),
        ({"split": {"train": "v0"}}, "split.train is 'v0', not a list of frame_dir"),
        ({"split": {"train": ["v0", ["v1"]]}}, "split.train is .*, not a list of frame_dir"),
        ({"split": ["train"]}, r"split is \['train'\], not {name: \[frame_dir, \.\.\.\]}"),
        ({"split": {5: ["v0"]}}, "no split for --protocol xsub, it has 5"),
    ],
)
def test_a_pickle_that_does_not_fit_is_refused(pickled, changes, message):
    protocol = None if "train" in changes.get("split", ()) else "xsub"
    with pytest.raises(DataError, match=message):
        read_source("skeleton", KindOptions(src=pickled(**changes), protocol=protocol))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "walk"}, "label is 'walk', not the number of a class"),
        ({"label": [1]}, r"label is \[1\], not"),
        ({"label": None}, "label is None, not"),
        ({"label": 1.5}, "label is 1.5, not"),
        ({"frame_dir": ["v1"]}, r"frame_dir is \['v1'\], not the name of a sample"),
        ({"frame_dir": None}, "frame_dir is None, not"),
        ({"frame_dir": ""}, "frame_dir is '', not"),
        ({"total_frames": "x"}, "total_frames is 'x', not a number of frames"),
        ({"total_frames": np.inf}, "total_frames is inf, not"),
        ({"img_shape": 5}, "img_shape is 5, not height and width in pixels"),
        ({"img_shape": (256,)}, "img_shape is .*, not height and width"),
        ({"img_shape": (256, np.nan)}, "img_shape is .*, not height and width"),
        ({"img_shape": None, "original_shape": "ab"}, "original_shape is 'ab', not height and width"),
        ({"keypoint": [[1, 2], [3]]}, r"keypoint is \[\[1, 2\], \[3\]\], not an array \[M, T, K, C\]"),
        ({"keypoint_score": [[1, 2], [3]]}, r"keypoint_score is .*, not an array \[M, T, K\]"),
    ],
)
def test_values_that_are_no_such_thing_are_named_with_their_entry(pickled, changes, message):
    content = pickle.loads(pickled().read_bytes())
    for entry in content["annotations"][1:3]:
        entry.update(changes)
    options = KindOptions(src=pickled(annotations=content["annotations"]), protocol="xsub")
    with pytest.raises(DataError, match=rf"(?s)^2 annotations do not fit:.*ntu\.pkl\[1\]: {message}.*ntu\.pkl\[2\]: "):
        read_source("skeleton", options)


@pytest.mark.parametrize("shape", [np.array([256, 340]), [256, 340], (256.0, 340.0), (256, 340, 3)])
@pytest.mark.parametrize("key", ["img_shape", "original_shape"])
def test_a_size_may_be_any_row_of_numbers(pickled, shape, key):
    content = pickle.loads(pickled().read_bytes())
    for entry in content["annotations"]:
        del entry["img_shape"]
        entry[key] = shape
    source = read_source("skeleton", KindOptions(src=pickled(annotations=content["annotations"]), protocol="xsub"))
    assert {item.reader.size for item in source.items} == {(340, 256)}


def test_a_name_that_a_pickle_has_twice_is_refused(pickled, tmp_path):
    content = pickle.loads(pickled().read_bytes())
    content["annotations"].append(content["annotations"][0])
    (tmp_path / "ntu.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match="more than once"):
        read_source("skeleton", KindOptions(src=tmp_path / "ntu.pkl", protocol="xsub"))


def test_a_pickle_that_would_run_code_runs_nothing(tmp_path):
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"split": {}, "annotations": [Evil()]}))
    with pytest.raises(DataError, match="system"):
        read_source("skeleton", KindOptions(src=tmp_path / "evil.pkl"))
    assert not marker.exists()


def test_an_entry_whose_total_does_not_fit_is_rejected_and_the_rest_is_packed(pickled, packed, tmp_path):
    content = pickle.loads(pickled().read_bytes())
    content["annotations"][1]["total_frames"] = 5
    content["annotations"][2]["keypoint"][0, 0, 0, 0] = np.nan
    content["annotations"].append(content["annotations"][0] | {"frame_dir": "v4", "img_shape": (0, 0)})
    content["split"]["xsub_val"].append("v4")
    (tmp_path / "ntu.pkl").write_bytes(pickle.dumps(content))
    report = packed(read_source("skeleton", KindOptions(src=tmp_path / "ntu.pkl", protocol="xsub")))
    assert report.packed == 1
    reasons = {rejected.id: rejected.reason for rejected in report.rejected}
    assert reasons["v1"] == "total_frames is 5, the keypoints have 4 frames"
    assert "not finite" in reasons["v2"]
    assert reasons["v4"] == "a picture 0 pixels wide and 0 high; both must be positive, or left out"


def test_padding_of_an_array_is_not_packed(tmp_path):
    data = np.zeros((2, 3, 10, 25, 2), np.float32)  # [N, C, T, V, M]
    data[0, :, :6, :, 0] = people(1, frames=6, keypoints=25, coords=3)[0].transpose(2, 0, 1)
    data[1] = 1
    np.save(tmp_path / "train_data.npy", data)
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps((["a", "b"], [1, 0])))
    source = read_source("skeleton", KindOptions(annotations=[f"train={tmp_path / 'train_data.npy'}"]))
    assert [(item.id, item.labels, item.split) for item in source.items] == [("a", (1,), "train"), ("b", (0,), "train")]
    found = [arrays_of(item.reader.read(item.path, conceal=False))[KEYPOINT] for item in source.items]
    np.testing.assert_array_equal(found[0], people(1, frames=6, keypoints=25, coords=3))
    assert found[1].shape == (2, 10, 25, 3)


def test_an_array_needs_its_labels(tmp_path):
    np.save(tmp_path / "train_data.npy", np.ones((2, 3, 4, 25, 1), np.float32))
    options = KindOptions(annotations=[f"train={tmp_path / 'train_data.npy'}"])
    with pytest.raises(DataError, match=r"no files of labels beside it: train_data_label\.pkl"):
        read_source("skeleton", options)
    np.save(tmp_path / "train_label.npy", np.array([0]))
    with pytest.raises(DataError, match="1 labels for 2 rows"):
        read_source("skeleton", options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train_label.pkl", pickle.dumps(7)),
        ("train_label.pkl", pickle.dumps(([1, 2], None))),
        ("train_label.txt", b"caf\xe9 tea"),
    ],
)
def test_a_file_that_is_no_list_of_labels_is_named(tmp_path, name, content):
    np.save(tmp_path / "train_data.npy", np.ones((2, 3, 4, 25, 1), np.float32))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: is no list of labels .*each row of train_data\.npy"):
        read_source("skeleton", KindOptions(annotations=[f"train={tmp_path / 'train_data.npy'}"]))


NO_ARRAYS = {
    "empty": b"",
    "cut": b"\x93NUMPY\x01\x00",
    "zip": b"PK\x03\x04",
    "header": b"\x93NUMPY\x01\x00\x05\x00{'a':",
}


@pytest.mark.parametrize("name", ["train_data.npy", "train_label.npy"])
@pytest.mark.parametrize("content", [*NO_ARRAYS.values(), "npz"], ids=[*NO_ARRAYS, "npz"])
def test_a_file_that_is_no_array_is_named(tmp_path, name, content):
    np.save(tmp_path / "train_data.npy", np.ones((2, 3, 4, 25, 1), np.float32))
    np.save(tmp_path / "train_label.npy", np.array([0, 1]))
    with (tmp_path / name).open("wb") as file:
        if content == "npz":
            np.savez(file, a=np.array([0, 1]), b=np.array([0, 1]))
        else:
            file.write(content)
    with pytest.raises(DataError, match=rf"{name}: no readable \.npy array"):
        read_source("skeleton", KindOptions(annotations=[f"train={tmp_path / 'train_data.npy'}"]))


def test_an_array_that_is_none_any_more_rejects_its_rows(tmp_path):
    np.save(tmp_path / "train_data.npy", np.ones((1, 3, 4, 25, 1), np.float32))
    np.save(tmp_path / "train_label.npy", np.array([0]))
    (item,) = read_source("skeleton", KindOptions(annotations=[f"train={tmp_path / 'train_data.npy'}"])).items
    (tmp_path / "train_data.npy").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"train_data\.npy: no readable \.npy array"):
        item.reader.read(item.path, conceal=False)


def test_msr_names_give_label_subject_and_split(tmp_path):
    for name in ("a01_s01_e01", "a02_s02_e01", "a02_s03_e02"):
        (tmp_path / f"{name}_skeleton3D.txt").write_text("1 2 3 1\n" * 20)
    options = KindOptions(src=tmp_path, split_rules=("train=subject % 2 == 1", "test"))
    source = read_source("skeleton", options)
    assert [(item.labels, item.split) for item in source.items] == [((0,), "train"), ((1,), "test"), ((1,), "train")]
    assert source.options["layout"] is None


def test_ntu_samples_without_skeleton_are_left_out_by_the_published_list(tmp_path):
    for name in ("S001C001P001R001A001", "S001C002P003R002A002"):
        (tmp_path / f"{name}.skeleton").write_text("1\n0\n")
    missing = tmp_path / "missing.lst"
    missing.write_text("S001C002P003R002A002\nS999C002P003R002A002\n")
    options = KindOptions(src=tmp_path, split_rules=("val=camera == 1", "train"), leave_out=missing)
    source = read_source("skeleton", options)
    assert [(item.labels, item.split) for item in source.items] == [((0,), "val")]
    assert source.skipped["name that is in --leave-out"] == 1


@pytest.mark.parametrize(
    ("rule", "train"),
    [
        ("train=subject in [1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38]", {1, 2}),
        ("train=camera in [2, 3]", {2, 3}),
        ("train=setup % 2 == 0", {3}),
    ],
)
def test_the_protocols_of_ntu_are_rules_over_the_names(tmp_path, rule, train):
    names = {1: "S001C001P001R001A001", 2: "S017C002P002R001A001", 3: "S002C003P003R002A060"}
    for name in names.values():
        (tmp_path / f"{name}.skeleton").write_text("0\n")
    source = read_source("skeleton", KindOptions(src=tmp_path, split_rules=(rule, "val"), num_classes=60))
    splits = {item.id.partition(".")[0]: item.split for item in source.items}
    assert {number for number, name in names.items() if splits[name] == "train"} == train


def test_a_folder_of_no_skeletons_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no \.skeleton, \.txt or \.npz files"):
        read_source("skeleton", KindOptions(src=tmp_path))
    with pytest.raises(DataError, match=r"neither a folder nor a \.pkl"):
        read_source("skeleton", KindOptions(src=tmp_path / "none"))


def test_options_without_effect_are_refused(pickled):
    with pytest.raises(ConfigError, match="--template: has no effect on a skeleton pickle"):
        read_source("skeleton", KindOptions(src=pickled(), template="img_%05d.jpg"))


def test_unpacked_skeletons_pack_again_to_the_same_bytes(pickled, packed, tmp_path):
    packed(read_source("skeleton", KindOptions(src=pickled(), protocol="xsub", fps=25)))
    first = PackedDataset.open(tmp_path / "out")
    unpack(first, tmp_path / "files", np.arange(len(first)))
    (listing, classes) = (tmp_path / "files" / name for name in ("annotations.csv", "classes.txt"))
    options = KindOptions(annotations=[str(listing)], classes=read_class_names(classes))
    packed(replace(read_source("skeleton", options), name=first.info.name), "again")
    second = PackedDataset.open(tmp_path / "again")
    assert [shard.sha256 for shard in second.info.shards] == [shard.sha256 for shard in first.info.shards]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "info.json").unlink(), r"a folder without info\.json, not written by vidflow unpack"),
        (lambda folder: (folder / "info.json").write_text("{}"), r"info\.json: says nothing about a sample of kind sk"),
        (
            lambda folder: (folder / "info.json").write_text('{"skeleton": {"layout": "x"}}'),
            r"(?s)info\.json: .*layout",
        ),
        (lambda folder: (folder / KEYPOINT).write_bytes(b"x"), r"keypoint\.npy: no readable \.npy"),
        (lambda folder: (folder / SCORE).unlink(), "No such file or directory"),
    ],
)
def test_unpacked_skeletons_that_were_damaged_are_rejected(pickled, packed, tmp_path, change, message):
    packed(read_source("skeleton", KindOptions(src=pickled(), protocol="xsub")))
    first = PackedDataset.open(tmp_path / "out")
    unpack(first, tmp_path / "files", np.arange(len(first)))
    change(tmp_path / "files" / "v2")
    report = packed(
        read_source("skeleton", KindOptions(annotations=[str(tmp_path / "files" / "annotations.csv")])), "b"
    )
    (rejected,) = report.rejected
    assert (rejected.id, report.packed) == ("v2", 2)
    assert re.search(message, rejected.reason)
