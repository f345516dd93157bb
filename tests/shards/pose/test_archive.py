"""Skeletons in .npz files: what is written is read, and nothing else is."""

import pickle

import numpy as np
import pytest

from vidflow.errors import DataError
from vidflow.shards.pose.archive import SkeletonArchive, read_archive, write_archive

KEYPOINTS = np.arange(1, 2 * 4 * 17 * 2 + 1, dtype=np.float32).reshape(2, 4, 17, 2)
SCORES = np.full((2, 4, 17), 0.5, np.float32)
SECONDS = np.array([0.0, 0.1, 0.4, 0.5])


def test_an_archive_comes_back_as_it_was_and_with_the_same_bytes_every_time(tmp_path):
    archive = SkeletonArchive(KEYPOINTS, SCORES, SECONDS, (340, 256), "coco")
    write_archive(tmp_path / "a.npz", archive)
    write_archive(tmp_path / "b.npz", archive)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read_archive(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.keypoints, KEYPOINTS)
    np.testing.assert_array_equal(found.scores, SCORES)
    np.testing.assert_array_equal(found.seconds, SECONDS)
    assert (found.size, found.layout) == ((340, 256), "coco")
    assert found.fps == pytest.approx(6)  # three steps in half a second


def test_keypoints_alone_are_enough_and_then_no_rate_is_known(tmp_path):
    write_archive(tmp_path / "a.npz", SkeletonArchive(KEYPOINTS))
    found = read_archive(tmp_path / "a.npz")
    assert (found.scores, found.seconds, found.size, found.layout, found.fps) == (None, None, None, None, None)


def test_one_frame_has_no_rate(tmp_path):
    write_archive(tmp_path / "a.npz", SkeletonArchive(KEYPOINTS[:, :1], seconds=np.zeros(1)))
    assert read_archive(tmp_path / "a.npz").fps is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"keypoints": KEYPOINTS}, "holds keypoints; arrays of a skeleton are keypoint,"),
        ({"keypoint_score": SCORES}, "has no array keypoint, only keypoint_score"),
        ({"keypoint": KEYPOINTS, "seconds": SECONDS[:3]}, r"seconds are float64 \[3\] for 4 frames"),
        ({"keypoint": KEYPOINTS, "seconds": SECONDS[::-1]}, "strictly increasing"),
        ({"keypoint": KEYPOINTS, "seconds": SECONDS * np.nan}, "finite"),
        ({"keypoint": KEYPOINTS, "size": np.array([340, 0])}, r"size is int64 \[340, 0\]"),
        ({"keypoint": KEYPOINTS, "size": np.array([340.0, 256.0])}, "size is float64"),
        ({"keypoint": KEYPOINTS, "layout": np.array("coc")}, "layout is 'coc'; there are coco,"),
        ({"keypoint": KEYPOINTS, "layout": np.array(["coco"])}, r"layout is \['coco'\]"),
        ({"keypoint": np.array([{}], dtype=object)}, "no readable .npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=f"a.npz: .*{message}"):
        read_archive(tmp_path / "a.npz")


def test_a_file_that_is_damaged_or_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, SkeletonArchive(KEYPOINTS, SCORES))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[300] ^= 0xFF  # inside of the first array: the checksum tells
    np.save(tmp_path / "array.npy", KEYPOINTS)
    for data in (b"", b"text", whole[: len(whole) // 2], bytes(flipped), pickle.dumps([1]),
                 (tmp_path / "array.npy").read_bytes()):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a.npz: no readable .npz file"):
            read_archive(path)
