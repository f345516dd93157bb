"""Files with one sample's skeletons each are read as their formats say, and refused where they are not whole."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from skeletons import arrays_of, people

from vidflow.errors import DataError
from vidflow.members import KEYPOINT, SCORE
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_files import MsrText, NtuText, OpenPoseJson

POLICY = SkeletonPolicy()


def msr_text(joints: np.ndarray) -> str:
    return "".join(" ".join(f"{value:.6f}" for value in row) + "\n" for row in joints.reshape(-1, 4))


def test_msr_text_holds_twenty_joints_per_frame(tmp_path):
    table = np.round(np.random.default_rng(0).normal(size=(3, 20, 4)), 6).astype(np.float32)
    path = tmp_path / "a01_s02_e03_skeleton3D.txt"
    path.write_bytes(msr_text(table).replace("\n", "\r\n").encode())
    contents = MsrText(SkeletonPolicy(layout="msr20")).read(str(path), conceal=False)
    np.testing.assert_allclose(arrays_of(contents)[KEYPOINT][0], table[..., :3], atol=1e-6)
    np.testing.assert_allclose(arrays_of(contents)[SCORE][0], table[..., 3], atol=1e-6)
    assert contents.info.layout == "msr20"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3 1\n" * 19, "19 lines, a multiple of 20 joints is needed"),
        ("", "0 lines"),
        ("1 2 3 1\n" * 19 + "1 2 3\n", ":20: 3 numbers, 4 are needed"),
        ("1 2 3 1\n" * 19 + "1 2 x 1\n", ":20: '1 2 x 1' is no row of numbers"),
        ("é", "not text"),
    ],
)
def test_msr_text_that_is_not_whole_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        MsrText(POLICY).read(str(path), conceal=False)


def ntu_text(frames: list[dict[str, np.ndarray]]) -> str:
    """Frames of body id -> joints [25, 3], as the format has them."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for name, joints in bodies.items():
            lines += [f"{name} 0 1 1 1 1 0 0.1 -0.2 2", str(len(joints))]
            lines += [" ".join(map(str, [*joint.tolist(), *[0.5] * 8, 2])) for joint in joints]
    return "\n".join(lines) + "\n"


def test_ntu_people_keep_their_place_when_others_come_and_go(tmp_path):
    joints = people(2, frames=3, keypoints=25, coords=3)
    first, second = "72057594037931101", "72057594037931102"  # differ below a double's precision
    frames = [{first: joints[0, 0]}, {second: joints[1, 1], first: joints[0, 1]}, {second: joints[1, 2]}]
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_text(ntu_text(frames))
    found = arrays_of(NtuText(POLICY).read(str(path), conceal=False))[KEYPOINT]
    joints[0, 2] = joints[1, 0] = 0
    np.testing.assert_array_equal(found, joints)


def test_an_ntu_file_without_bodies_holds_nobody(tmp_path):
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_text("2\n0\n0\n")
    with pytest.raises(DataError, match="nobody"):
        NtuText(POLICY).read(str(path), conceal=False)
    kept = NtuText(SkeletonPolicy(nobody="keep")).read(str(path), conceal=False)
    assert arrays_of(kept)[KEYPOINT].shape == (1, 2, 25, 3)


def test_a_cut_ntu_file_is_refused_at_every_line(tmp_path):
    path = tmp_path / "S001C001P001R001A001.skeleton"
    lines = ntu_text([{"7": people(1, keypoints=25, coords=3)[0, 0]}]).splitlines()
    for count in range(len(lines)):
        path.write_text("\n".join(lines[:count]) + "\n")
        with pytest.raises(DataError):
            NtuText(POLICY).read(str(path), conceal=False)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e7", "-1", "1.5"])
def test_what_is_no_number_of_frames_is_refused(tmp_path, number):
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_text(f"{number}\n")
    with pytest.raises(DataError, match=r"A001\.skeleton: \S+ cannot be a number of frames"):
        NtuText(POLICY).read(str(path), conceal=False)


@pytest.fixture
def openpose(tmp_path):
    """``openpose(data)``: a file of Kinetics-skeleton with these frames."""

    def write(data: object) -> str:
        path = tmp_path / "abc.json"
        path.write_text(json.dumps({"data": data, "label": "abseiling", "label_index": 0}))
        return str(path)

    return write


def body(value: float, score: float = 0.5) -> dict[str, list[float]]:
    return {"pose": [value] * 36, "score": [score] * 18}


def test_openpose_people_are_pixels_of_the_picture_they_were_found_in(openpose):
    path = openpose(
        [
            {"frame_index": 1, "skeleton": [body(0.5), body(0.25, 0.125)]},
            {"frame_index": 2, "skeleton": []},
            {"frame_index": 4, "skeleton": [body(0.75)]},
        ]
    )
    contents = OpenPoseJson(POLICY).read(path, conceal=False)
    found = arrays_of(contents)
    assert found[KEYPOINT].shape == (2, 4, 18, 2)
    assert found[KEYPOINT][:, :, 0].tolist() == [
        [[170, 128], [0, 0], [0, 0], [255, 192]],
        [[85, 64], [0, 0], [0, 0], [0, 0]],
    ]
    assert found[SCORE][:, :, 17].tolist() == [[0.5, 0, 0, 0.5], [0.125, 0, 0, 0]]
    assert (contents.info.layout, contents.info.width, contents.info.height) == ("openpose", 340, 256)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "holds nobody"),
        ([{"frame_index": 1, "skeleton": []}], "holds nobody"),
        ([{"frame_index": 1}], "KeyError"),
        (7, "TypeError"),
        ([{"frame_index": 0, "skeleton": [body(1)]}], "frame 0, person 0: .* frames count from 1"),
        ([{"frame_index": 1, "skeleton": [{"pose": [1] * 34, "score": [1] * 18}]}], "34 coordinates and 18 scores"),
        ([{"frame_index": math.inf, "skeleton": []}], r"abc\.json: frame_index: inf cannot be a number of frames"),
        ([{"frame_index": 10**13, "skeleton": [body(1)]}], r"frame_index: 1e\+13 cannot be a number of frames"),
        ([{"frame_index": 10**400, "skeleton": []}], "OverflowError"),
        ([{"frame_index": 2, "skeleton": [body(1) | {"pose": 5}]}], "frame 2, person 0: pose is no list of numbers"),
        ([{"frame_index": 1, "skeleton": [body(1) | {"pose": ["x"] * 36}]}], "person 0: pose is no list of numbers"),
        ([{"frame_index": 1, "skeleton": [body(1) | {"pose": [[1, 1]] * 18}]}], r"but of shape \[18, 2\]"),
        ([{"frame_index": 1, "skeleton": [body(1), body(1) | {"score": [[1], 1]}]}], "person 1: score is no list of"),
    ],
)
def test_openpose_files_that_do_not_fit_are_refused(openpose, data, message):
    with pytest.raises(DataError, match=message):
        OpenPoseJson(POLICY).read(openpose(data), conceal=False)


def test_an_openpose_file_that_is_cut_is_refused(openpose):
    path = Path(openpose([{"frame_index": 1, "skeleton": [body(1)]}]))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"abc\.json: no JSON with data, frame_index, skeleton, pose and score"):
        OpenPoseJson(POLICY).read(str(path), conceal=False)


def test_deep_nesting_is_refused_like_any_other_json(openpose):
    path = Path(openpose([]))
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"abc\.json: no JSON with data.*RecursionError"):
        OpenPoseJson(POLICY).read(str(path), conceal=False)


def test_files_that_do_not_fit_stop_no_other(openpose, packed, tmp_path):
    openpose([{"frame_index": 1, "skeleton": [{"pose": 5, "score": 5}]}])
    (tmp_path / "n.skeleton").write_text("nan\n")
    np.savez(tmp_path / "s.npz", keypoint=people(1), keypoint_score=np.full((1, 4, 17), "high"))
    (tmp_path / "a.txt").write_text("1 2 3 1\n" * 20)
    (tmp_path / "list.csv").write_text(
        "path,label,split\nabc.json,0,train\nn.skeleton,0,train\ns.npz,0,train\na.txt,0,train\n"
    )
    report = packed(read_source("skeleton", KindOptions(annotations=[str(tmp_path / "list.csv")])))
    assert report.packed == 1
    assert {rejected.id: rejected.reason for rejected in report.rejected} == {
        "abc.json": "frame 1, person 0: pose is no list of numbers, but of shape []",
        "n.skeleton": "nan cannot be a number of frames",
        "s.npz": "scores are <U4 [1, 4, 17]; numbers [M, T, K] are needed",
    }


def test_a_list_may_name_skeleton_files_of_every_format(openpose, tmp_path):
    openpose([{"frame_index": 1, "skeleton": [body(0.5)]}])
    (tmp_path / "a.txt").write_text("1 2 3 1\n" * 20)
    (tmp_path / "n.skeleton").write_text(ntu_text([{"7": people(1, keypoints=25, coords=3)[0, 0]}]))
    (tmp_path / "n.xyz").write_text("")
    (tmp_path / "list.csv").write_text(
        "path,label,split\nabc.json,0,train\na.txt,1,train\nn.skeleton,1,val\nn.xyz,0,val\n"
    )
    source = read_source("skeleton", KindOptions(annotations=[str(tmp_path / "list.csv")]))
    *found, strange = source.items
    layouts = [item.reader.read(item.path, conceal=False).info.layout for item in found]
    assert (layouts, source.task) == (["openpose", "msr20", "nturgb+d"], "skeleton")
    with pytest.raises(DataError, match=r"n\.xyz: no skeletons are read from \.xyz files, but from \.skeleton"):
        strange.reader.read(strange.path, conceal=False)
