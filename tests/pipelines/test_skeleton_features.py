"""Joints, bones and their motion: against MMAction2's values, and where keypoints are missing."""

import numpy as np
import pytest
from skeleton_cases import array_of, assert_same, cases

from vidflow.pipelines.skeleton_features import features_of
from vidflow.pipelines.skeleton_people import present_skeletons
from vidflow.skeletons.layouts import LAYOUTS

NAMES = {"j": "joint", "b": "bone", "jm": "joint_motion", "bm": "bone_motion"}
ALL = tuple(NAMES.values())


@pytest.mark.parametrize("case", cases("skeleton.json", "GenSkeFeat"), ids=lambda case: case["what"])
def test_features_are_those_of_the_reference(case):
    values = case["inputs"]
    points = array_of(values["keypoint"])
    scores = array_of(values["keypoint_score"]) if "keypoint_score" in values else None
    found = features_of(
        present_skeletons(points, scores),
        np.arange(points.shape[1]),
        [NAMES[name] for name in values["feats"]],
        LAYOUTS[values["dataset"]].bones,
        scores=scores is not None,
    )
    assert_same(found, case["outputs"]["keypoint"])


def features(points, frames, names, *, scores=None, with_scores=False):
    return features_of(
        present_skeletons(points, scores), np.array(frames), names, LAYOUTS["coco"].bones, scores=with_scores
    )


def test_motion_is_between_neighbouring_frames_of_the_sample_and_not_of_the_clip():
    points = array_of({"u": "motion", "shape": [1, 9, 17, 2]})
    found = features(points, [0, 4, 8, 4], ["joint_motion"])
    np.testing.assert_allclose(found[:, 0], points[:, 1] - points[:, 0])
    np.testing.assert_allclose(found[:, 1], points[:, 5] - points[:, 4])
    assert (found[:, 2] == 0).all()
    assert np.array_equal(found[:, 1], found[:, 3])


def test_chosen_frames_give_what_all_frames_give():
    points = array_of({"u": "chosen", "shape": [2, 7, 17, 2]})
    whole, chosen = features(points, range(7), ALL), features(points, [3, 6, 0, 3], ALL)
    assert np.array_equal(chosen, whole[:, [3, 6, 0, 3]])


def test_a_missing_keypoint_makes_no_bone_and_no_motion():
    points = array_of({"u": "missing", "shape": [1, 3, 17, 2]})
    points[0, 1, 5] = 0  # the left shoulder, from which the elbow's bone leads
    found = features(points, range(3), ["bone", "joint_motion", "bone_motion"])
    bone, motion, bone_motion = found[..., :2], found[..., 2:4], found[..., 4:]
    assert (bone[0, 1, [5, 7]] == 0).all()
    assert (motion[0, :2, 5] == 0).all()
    assert (bone_motion[0, :2, [5, 7]] == 0).all()
    assert (bone[0, 0, [5, 7]] != 0).all()
    assert (motion[0, :2, 7] != 0).all()


def test_a_single_frame_has_no_motion():
    points = array_of({"u": "single", "shape": [1, 1, 17, 2]})
    assert (features(points, [0, 0], ["joint_motion", "bone_motion"]) == 0).all()


def test_scores_of_what_is_made_of_two_keypoints_are_their_mean():
    points = array_of({"u": "scores", "shape": [1, 2, 17, 2]})
    scores = np.zeros((1, 2, 17), np.float32)
    scores[0, 0, 7], scores[0, 1, 7], scores[0, 0, 5] = 0.8, 0.4, 0.2
    found = features(points, [0, 1], ALL, scores=scores, with_scores=True)
    assert found.shape == (1, 2, 17, 12)
    np.testing.assert_allclose(found[0, 0, 7, [2, 5, 8, 11]], [0.8, 0.5, 0.6, 0.35], atol=1e-6)
    np.testing.assert_allclose(found[0, 1, 7, [8, 11]], 0)
