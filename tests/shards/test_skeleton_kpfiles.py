"""Skeletons whose bodies lie in keypoint files beside the list are put together as MMAction2 does in training."""

import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest

from vidflow.errors import DataError
from vidflow.members import KEYPOINT, SCORE, from_npy
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_kpfiles import KeypointFile, bodies_by_frame

# Values recorded from DecompressPose of MMAction2 1.2.0, squeeze=True; its arrays are float16.
BODIES = np.round(
    (np.random.default_rng(zlib.crc32(b"sk.dec")).random((7, 3, 3), np.float32) * 2 - 1) * np.float32(50)
    + np.float32(60),
    1,
)
FRAMES = [0, 0, 2, 2, 2, 5, 5]


@pytest.mark.parametrize(
    ("max_people", "score", "total", "some"),
    [
        (
            10,
            [[30.70312, 57.8125, 108.1875], [35.40625, 29.20312, 97.5], [0.0, 75.3125, 0.0]],
            2245.148,
            [109.125, 50.90625, 72.6875, 73.875, 86.0, 36.8125, 75.3125, 30.79688, 103.0],
        ),
        (
            2,
            [[35.40625, 75.3125, 108.1875], [30.70312, 57.8125, 97.5]],
            1905.383,
            [20.0, 11.5, 19.70312, 34.90625, 26.5, 17.59375, 75.3125, 30.79688, 103.0],
        ),
    ],
)
def test_people_come_as_the_reference_has_them(max_people, score, total, some):
    keypoints, scores = bodies_by_frame(BODIES, np.array(FRAMES), max_people)
    np.testing.assert_allclose(scores[..., 0], score, atol=0.04)
    assert keypoints.sum(dtype=np.float64) == pytest.approx(total, abs=0.3)
    np.testing.assert_allclose(keypoints.reshape(-1)[: 2 * len(some) : 2], some, atol=0.04)


def test_the_type_of_the_file_is_kept():
    keypoints, scores = bodies_by_frame(BODIES.astype(np.float16), np.array(FRAMES))
    assert (keypoints.dtype, scores.dtype) == (np.float16, np.float16)


@pytest.fixture
def kinetics(tmp_path):
    """``kinetics(**changes)``: a list of two samples with a keypoint file each; changes are of the second's content."""

    def write(content: object = None, **changes: object) -> Path:
        entry = {"label": 0, "img_shape": (240, 320), "total_frames": 9, "frame_inds": np.array(FRAMES, np.int16)}
        annotations = [{**entry, "frame_dir": "a"}, {**entry, "frame_dir": "b", "label": 1, **changes}]
        path = tmp_path / "k400_2d.pkl"
        path.write_bytes(pickle.dumps({"split": {"train": ["a", "b"]}, "annotations": annotations}))
        (tmp_path / "kpfiles" / "deep").mkdir(parents=True, exist_ok=True)
        body = {"keypoint": np.repeat(BODIES[:, :1], 17, axis=1)}
        (tmp_path / "kpfiles" / "a.pkl").write_bytes(pickle.dumps(body))
        (tmp_path / "kpfiles" / "deep" / "b.pkl").write_bytes(pickle.dumps(body if content is None else content))
        return path

    return write


def test_a_list_finds_its_keypoint_files_beside_it(kinetics, packed, read_back, tmp_path):
    report = packed(read_source("skeleton", KindOptions(src=kinetics(), max_people=2)))
    assert (report.packed, report.rejected) == (2, ())
    for sample in read_back(tmp_path / "out"):
        assert sample["json"]["skeleton"]["num_people"] == 2
        assert (sample["json"]["skeleton"]["width"], sample["json"]["skeleton"]["height"]) == (320, 240)
        assert from_npy(sample["fields"][KEYPOINT], "").shape == (2, 3, 17, 2)
        assert from_npy(sample["fields"][SCORE], "")[0, :, 0].tolist() == pytest.approx([35.4, 75.3, 108.2], abs=0.06)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"b": {}}, r"has nothing for b; an array 'keypoint' \[N, K, 3\] is needed"),
        ({"b": {"keypoint": np.ones((7, 17, 2))}}, r"has \(7, 17, 2\) for b"),
        ({"b": {"keypoint": np.ones((6, 17, 3))}}, "6 bodies for 7 frame numbers in the list"),
        ({"b": {"keypoint": np.full((7, 17, 3), "x")}}, r"has <U1 for b; numbers \[N, K, 3\] are needed"),
        ([1, 2], "holds list, a dictionary is needed"),
    ],
)
def test_a_keypoint_file_that_does_not_fit_rejects_its_sample_alone(kinetics, packed, content, message):
    report = packed(read_source("skeleton", KindOptions(src=kinetics(content))))
    assert report.packed == 1
    (rejected,) = report.rejected
    assert rejected.id == "b"
    with pytest.raises(DataError, match=message):
        raise DataError(rejected.reason)


def test_keypoint_files_that_are_missing_are_all_named(kinetics, tmp_path):
    path = kinetics(raw_file="somewhere/part_7.pkl")
    with pytest.raises(DataError, match=r"(?s)keypoint files are missing below .*kpfiles.*\[1\]: part_7\.pkl"):
        read_source("skeleton", KindOptions(src=path))
    (tmp_path / "kpfiles").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"kpfiles: no such folder; the list has no keypoints in it"):
        read_source("skeleton", KindOptions(src=path))


@pytest.mark.parametrize("frame_inds", [5, ["x"], [[0], [1, 2]]])
def test_frame_numbers_that_are_no_row_are_named_with_their_entry(kinetics, frame_inds):
    with pytest.raises(DataError, match=r"k400_2d\.pkl\[1\]: frame_inds is .*, not the frame of each body"):
        read_source("skeleton", KindOptions(src=kinetics(frame_inds=frame_inds)))


def test_two_keypoint_files_of_one_name_are_refused(kinetics, tmp_path):
    path = kinetics()
    (tmp_path / "kpfiles" / "b.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.pkl have one name; leave one of them"):
        read_source("skeleton", KindOptions(src=path))


def test_a_keypoint_file_that_would_run_code_runs_nothing(tmp_path):
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    path = tmp_path / "b.pkl"
    path.write_bytes(pickle.dumps({"keypoint": Evil()}))
    with pytest.raises(DataError, match=r"touch|pathlib"):
        KeypointFile("b", np.array(FRAMES), None, SkeletonPolicy()).read(str(path), conceal=False)
    assert not marker.exists()
