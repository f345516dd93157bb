"""MediaPipe as an estimator: its landmarks as COCO's keypoints, and, where it is installed, real people."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from vidflow.errors import ConfigError, MissingExtraError
from vidflow.shards.extraction.jobs import Job
from vidflow.shards.pose.archive import SkeletonArchive, read_archive
from vidflow.shards.pose.extracting import PoseOptions, extract_pose
from vidflow.shards.pose.mediapipe_pose import COCO_FROM_BLAZEPOSE, MediapipePose

# From MediaPipe's pose landmarker guide, landmarks 0 to 32.
LANDMARKS = [
    "nose", "left eye inner", "left eye", "left eye outer", "right eye inner", "right eye", "right eye outer",
    "left ear", "right ear", "mouth left", "mouth right", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left pinky", "right pinky", "left index", "right index",
    "left thumb", "right thumb", "left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle",
    "left heel", "right heel", "left foot index", "right foot index",
]  # fmt: skip
# From COCO's annotation files, categories[0].keypoints.
COCO = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
]  # fmt: skip


def test_landmarks_map_to_keypoints_of_the_same_name():
    assert len(LANDMARKS) == 33
    assert [LANDMARKS[i].replace(" ", "_") for i in COCO_FROM_BLAZEPOSE] == COCO


def test_a_missing_package_names_its_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vidflow\[pose\]'"):
        MediapipePose(model=None, max_people=1)


@pytest.fixture(scope="module")
def media() -> Path:
    pytest.importorskip("mediapipe", reason="needs MediaPipe: pip install 'vidflow[pose]'")
    if "VIDFLOW_MEDIA" not in os.environ:
        pytest.skip("needs a folder of real videos in VIDFLOW_MEDIA")
    return Path(os.environ["VIDFLOW_MEDIA"]) / "videos"


def poses(video: Path, folder: Path, max_people: int, name: str = "a.npz") -> SkeletonArchive:
    options = PoseOptions(estimator="mediapipe", max_people=max_people)
    extract_pose(Job(video.name, str(video), (name,)), (folder / name,), options)
    return read_archive(folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("max_people", [1, 2])
def test_one_person_doing_tai_chi_is_found_in_every_frame_and_stands_upright(media, tmp_path, max_people):
    found = poses(media / "stgcn_media/ta_chi.mp4", tmp_path, max_people)
    assert found.keypoints.shape == (1, 300, 17, 2)
    assert found.keypoints.any(axis=(2, 3)).all()
    heights = found.keypoints[0, :, :, 1]
    ankles, hips, nose = heights[:, 15:].mean(1), heights[:, 11:13].mean(1), heights[:, 0]
    assert (nose < hips).all()
    assert (hips < ankles).all()
    assert (np.median(found.scores) > 0.9).all()


@pytest.mark.slow
def test_two_people_beside_each_other_get_two_rows_that_do_not_swap(media, tmp_path):
    found = poses(media / "mmaction2_demo/demo_skeleton.mp4", tmp_path, 2)
    seen = found.keypoints.any(axis=(2, 3))
    assert seen[0].all()
    assert seen[1].sum() >= 36
    noses = found.keypoints[:, :, 0, 0]  # one stands on the right of the other throughout
    both = seen.all(axis=0)
    assert (noses[0, both] - noses[1, both] > 0).all()


@pytest.mark.slow
def test_the_same_video_gives_the_same_bytes(media, tmp_path):
    video = media / "mmaction2_demo/demo_skeleton.mp4"
    for name in ("a.npz", "b.npz"):
        poses(video, tmp_path, 2, name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_that_is_no_model_is_refused(tmp_path):
    pytest.importorskip("mediapipe", reason="needs MediaPipe: pip install 'vidflow[pose]'")
    (tmp_path / "model.task").write_bytes(b"no model")
    estimator = MediapipePose(model=str(tmp_path / "model.task"), max_people=1)
    with pytest.raises(ConfigError, match=r"model.task: MediaPipe cannot use it as a pose landmarker"):
        next(estimator.estimate(iter([])))
