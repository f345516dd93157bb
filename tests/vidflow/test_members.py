"""Members are named by the record alone, arrays have one form on disk, and damage is named by sample and member."""

import io

import numpy as np
import pytest

from vidflow.errors import DecodeError
from vidflow.members import (
    feature_array,
    frame_arrays,
    from_npy,
    mel_array,
    present_keypoints,
    skeleton_arrays,
    stream_bytes,
    suffixes,
    to_npy,
)
from vidflow.schema import AudioInfo, FeatureInfo, FramesInfo, SampleRecord, SkeletonInfo, VideoInfo


def record(**info) -> SampleRecord:
    (kind,) = info
    return SampleRecord(key="000007", id="a", split="train", kind=kind, **info)


def skeleton(has_scores: bool) -> SampleRecord:
    values = {"layout": "coco", "num_people": 2, "num_frames": 3, "num_keypoints": 17, "num_coords": 2}
    return record(skeleton=SkeletonInfo(has_scores=has_scores, **values))


FEATURE = record(feature=FeatureInfo(num_steps=2, num_features=3))
MEL_INFO = AudioInfo(container="mel.npy", num_mel_frames=4, num_mels=80)


def test_each_kind_has_its_members(video_values):
    sound = {"codec": "flac", "sample_rate": 8, "num_channels": 1, "num_samples": 8, "duration": 1.0}
    frames = FramesInfo(container="png", num_frames=2, width=4, height=4, num_flow=1)
    assert suffixes(record(video=VideoInfo.model_validate(video_values))) == ("mp4",)
    assert suffixes(record(audio=AudioInfo(container="flac", **sound))) == ("flac",)
    assert suffixes(record(audio=MEL_INFO)) == ("mel.npy",)
    assert suffixes(skeleton(True)) == ("keypoint.npy", "keypoint_score.npy")
    assert suffixes(skeleton(False)) == ("keypoint.npy",)
    assert suffixes(FEATURE) == ("feature.npy",)
    assert suffixes(record(frames=frames)) == (
        *("rgb.00001.png", "rgb.00002.png"),
        *("flow_x.00001.jpg", "flow_y.00001.jpg"),
    )


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "<i4", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_equal_values_make_equal_bytes(dtype, order):
    values = np.arange(6).reshape(2, 3).astype(dtype, order=order)
    data = to_npy(values)
    assert data == to_npy(np.arange(6).reshape(2, 3).astype(np.dtype(dtype).newbyteorder("<")))
    np.testing.assert_array_equal(from_npy(data, ""), values)
    assert from_npy(data, "").dtype == np.dtype(dtype).newbyteorder("<")


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.zeros((0, 2), np.float32),
        np.arange(3),
        np.arange(12, dtype=np.float16).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(4, dtype=">f4"),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_are_read_as_numpy_reads_them(array):
    file = io.BytesIO()
    np.save(file, array)
    for data in (file.getvalue(), file.getvalue() + b"more"):
        found = from_npy(data, "x")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
        assert found.flags.writeable


@pytest.mark.parametrize("length", [0, 5, 9, 60, -1])
def test_a_cut_npy_member_is_refused(length):
    with pytest.raises(DecodeError, match=r"sample 000007 \(a\), feature.npy: no readable .npy array"):
        feature_array(FEATURE, {"feature.npy": to_npy(np.ones((2, 3)))[:length]})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"{'descr'", b"{('escr'"),  # an unclosed bracket
        (b"(2, 3), }", b"(2, 3), '"),  # an unclosed string
        (b"(2, 3)", b"(2, x)"),
        (b"(2, 3), }  ", b"(2, 9**99)}"),
        (b"(2, 3), }      ", b"(999999, 99999)"),
        (b"'<f8'", b"'\\0f8'"),
    ],
)
def test_a_damaged_header_is_refused_whatever_numpy_makes_of_it(old, new):
    data = to_npy(np.ones((2, 3)))
    assert old in data
    with pytest.raises(DecodeError, match=r"no readable \.npy array"):
        from_npy(data.replace(old, new), "x")


def test_a_member_of_another_shape_or_type_is_refused():
    with pytest.raises(DecodeError, match=r"has shape \[3, 2\], the record says \[2, 3\]"):
        feature_array(FEATURE, {"feature.npy": to_npy(np.ones((3, 2)))})
    data = to_npy(np.ones((2, 3))).replace(b"'<f8'", b"'<M8'")
    with pytest.raises(DecodeError, match=r"not of numbers|no readable"):
        feature_array(FEATURE, {"feature.npy": data})


def test_pickled_members_are_never_read():

    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DecodeError, match=r"no readable \.npy array"):
        from_npy(file.getvalue(), "x")


def test_missing_members_are_named():
    with pytest.raises(DecodeError, match=r"sample 000007 \(a\): has no member keypoint_score.npy, only keypoint.npy"):
        skeleton_arrays(skeleton(True), {"keypoint.npy": to_npy(np.ones((2, 3, 17, 2)))})


def test_a_keypoint_of_zeros_is_missing():
    keypoints = np.ones((1, 2, 3, 2))
    keypoints[0, 1, 2] = 0
    keypoints[0, 0, 0] = (0, 5)
    assert present_keypoints(keypoints).tolist() == [[[True, True, True], [True, True, False]]]


def test_a_damaged_picture_is_named():
    info = FramesInfo(container="jpg", num_frames=1, width=4, height=4)
    for data in (b"", b"no picture"):
        with pytest.raises(DecodeError, match=r"rgb.00001.jpg: does not decode, the record says 4x4"):
            frame_arrays(record(frames=info), {"rgb.00001.jpg": data}, [0])


def test_a_stream_is_the_member_of_the_container(video_values):
    video = record(video=VideoInfo.model_validate(video_values))
    assert stream_bytes(video, {"mp4": b"bytes"}) == b"bytes"


def test_mel_features_come_back_and_another_shape_is_refused():
    mel = np.random.default_rng(0).random((4, 80), np.float32)
    np.testing.assert_array_equal(mel_array(record(audio=MEL_INFO), {"mel.npy": to_npy(mel)}), mel)
    with pytest.raises(DecodeError, match=r"mel.npy: has shape \[80, 4\], the record says \[4, 80\]"):
        mel_array(record(audio=MEL_INFO), {"mel.npy": to_npy(mel.T)})
    with pytest.raises(DecodeError, match=r"has no member mel.npy"):
        mel_array(record(audio=MEL_INFO), {"flac": b""})
