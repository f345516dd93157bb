"""Real data sets are packed to their published counts, and read back as their files are.

Needs the files: ``VIDFLOW_MEDIA=/path pytest tests/shards/test_real_kinds.py``; which ones, each test's path says.
"""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidflow import safe_pickle
from vidflow.dataset import PackedDataset
from vidflow.media.sound import decode_audio
from vidflow.members import feature_array, flow_arrays, frame_arrays, skeleton_arrays, stream_bytes
from vidflow.pipelines.reading import read_members
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.verification import verify_dataset


@pytest.fixture
def media() -> Path:
    root = os.environ.get("VIDFLOW_MEDIA")
    if not root:
        pytest.skip("VIDFLOW_MEDIA names no folder of real media")
    return Path(root)


@pytest.fixture
def packed_back(packed, tmp_path):
    """``packed_back("skeleton", options)``: id -> (record, members), and the number of samples of each split."""

    def run(kind: str, options: KindOptions):
        report = packed(read_source(kind, options))
        assert not report.rejected
        dataset = PackedDataset.open(tmp_path / "out")
        assert verify_dataset(dataset, workers=1).differences == ()
        found = {record.id: (record, members) for _, record, members in read_members(dataset, np.arange(len(dataset)))}
        return found, {name: split.num_samples for name, split in report.info.splits.items()}

    return run


def test_msr_action3d(media, packed_back):
    folder = media / "skeleton/MSRAction3D/real_world_coordinates"
    options = KindOptions(
        src=folder,
        only=folder / "files_used_in_cvpr12_paper.txt",
        split_rules=("train=subject % 2 == 1", "test"),
    )
    found, counts = packed_back("skeleton", options)
    assert counts == {"train": 284, "test": 273}
    for name, (record, members) in found.items():
        table = np.loadtxt(folder / name, dtype=np.float32).reshape(-1, 20, 4)
        keypoints, scores = skeleton_arrays(record, members)
        np.testing.assert_array_equal(keypoints[0], table[..., :3])
        np.testing.assert_array_equal(scores[0], table[..., 3])
        assert record.labels == (int(name[1:3]) - 1,)


def test_the_empty_sequence_of_msr_action3d_is_rejected(media, packed):
    folder = media / "skeleton/MSRAction3D/real_world_coordinates"
    options = KindOptions(src=folder, leave_out=folder / "files_used_in_cvpr12_paper.txt", split_rules=("all",))
    report = packed(read_source("skeleton", options))
    assert [rejected.id for rejected in report.rejected if "nobody" in rejected.reason].count(
        "a13_s09_e02_skeleton3D.txt"
    ) == 1


def test_the_published_list_of_ntu_samples_without_skeleton_is_taken(media, tmp_path):
    missing = media / "skeleton/mmaction2/NTU_RGBD_samples_with_missing_skeletons.txt"
    names = missing.read_text().split()
    assert len(names) == 302
    for name in (*names[:5], "S001C001P001R001A001"):
        (tmp_path / f"{name}.skeleton").write_text("0\n")
    options = KindOptions(src=tmp_path, split_rules=("val=camera == 1", "train"), leave_out=missing)
    source = read_source("skeleton", options)
    assert [(item.id, item.split) for item in source.items] == [("S001C001P001R001A001.skeleton", "val")]
    assert source.skipped["name that is in --leave-out"] == 5


def test_a_published_list_of_kinetics_skeletons_finds_its_keypoint_files(media, packed, tmp_path):
    """The list is real, its bodies are not published with it."""
    content = safe_pickle.load(media / "skeleton/mmaction2/pose_sample.pkl")
    (tmp_path / "k400_2d.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "kpfiles").mkdir()
    rng = np.random.default_rng(0)
    for entry in content["annotations"]:
        bodies = rng.random((len(entry["frame_inds"]), 17, 3)).astype(np.float16)
        (tmp_path / "kpfiles" / f"{entry['frame_dir']}.pkl").write_bytes(pickle.dumps({"keypoint": bodies}))
    options = KindOptions(src=tmp_path / "k400_2d.pkl", num_classes=400, max_people=10)
    report = packed(read_source("skeleton", options))
    assert (report.packed, report.rejected) == (100, ())
    dataset = PackedDataset.open(tmp_path / "out")
    assert verify_dataset(dataset, workers=1).differences == ()
    records = {record.id: record for record in (dataset.record(i) for i in range(len(dataset)))}
    for entry in content["annotations"]:
        record = records[entry["frame_dir"]]
        assert record.labels == (entry["label"],)
        assert record.skeleton.num_frames == len(set(entry["frame_inds"].tolist())) == entry["valid"][0.5]
        assert record.skeleton.num_people == min(10, max(np.bincount(entry["frame_inds"])))
        assert (record.skeleton.height, record.skeleton.width) == entry["img_shape"]


def test_free_spoken_digits(media, packed_back):
    folder = media / "audio/fsdd/recordings"
    regex = r"(?P<label>\d)_(?P<speaker>\w+)_(?P<rep>\d+)"
    options = KindOptions(src=folder, name_regex=regex, split_rules=("test=rep < 5", "train"))
    found, counts = packed_back("audio", options)
    assert counts == {"train": 600, "test": 300}
    for name, (record, members) in found.items():
        data = (folder / name).read_bytes()
        assert stream_bytes(record, members) == data
        assert record.labels == (int(name[0]),)
        # All files are plain: a header of 44 bytes and 16-bit samples.
        samples = np.frombuffer(data[44:], "<i2")[: record.audio.num_samples]
        np.testing.assert_array_equal(decode_audio(data)[0], samples / np.float32(32768))


def test_ucf101_features(media, packed_back):
    file = media / "features/ucf101_vgg16relu6_4cls_60clips_fp16.npz"
    found, counts = packed_back("feature", KindOptions(src=file))
    assert counts == {"train": 40, "test": 20}
    with np.load(file) as archive:
        values, names = archive["feature"], archive["video"].tolist()
    for name, value in zip(names, values, strict=True):
        array = feature_array(*found[name])
        assert array.dtype == np.float16
        np.testing.assert_array_equal(array, value)


def test_activitynet_features(media, packed_back):
    folder = media / "videos/mmaction2_tests_data/tests/data"
    options = KindOptions(
        src=folder / "activitynet_features", segments=(f"val={folder / 'annotations/action_test_anno.json'}",)
    )
    found, counts = packed_back("feature", options)
    assert counts == {"val": 2}
    for name, (record, members) in found.items():
        values = np.loadtxt(folder / "activitynet_features" / name, np.float32, delimiter=",", skiprows=1)
        np.testing.assert_array_equal(feature_array(record, members), values)
    segments = found["v_test1.csv"][0].segments
    assert [(segment.start, segment.end) for segment in segments] == [(0.3, 0.6)]


def test_raw_frames_with_flow(media, packed_back):
    folder = media / "videos/mmaction2_tests_data/tests/data"
    options = KindOptions(
        src=folder, annotations=(f"train={folder / 'annotations/rawframe_test_list.txt'}",), num_classes=128
    )
    found, counts = packed_back("frames", options)
    assert counts == {"train": 1}
    record, members = found["imgs"]
    assert (record.frames.num_frames, record.frames.num_flow, record.labels) == (5, 5, (127,))
    for number in range(5):
        picture = cv2.imread(str(folder / f"imgs/img_{number + 1:05d}.jpg"))[..., ::-1]
        np.testing.assert_array_equal(frame_arrays(record, members, [number])[0], picture)
        for channel, axis in enumerate("xy"):
            grey = cv2.imread(str(folder / f"imgs/{axis}_{number + 1:05d}.jpg"), cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(flow_arrays(record, members, [number])[0, ..., channel], grey)
