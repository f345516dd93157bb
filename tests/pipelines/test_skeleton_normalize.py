"""Skeletons without the camera: against MMAction2's values, and where keypoints are missing."""

import numpy as np
import pytest
from skeleton_cases import array_of, assert_same, cases

from vidflow.config.skeleton import BodyNormalize, ScreenNormalize
from vidflow.errors import DataError
from vidflow.pipelines.skeleton_normalize import BODY_AXES, body_normalized, screen_normalized, turning
from vidflow.pipelines.skeleton_people import present_skeletons
from vidflow.skeletons.layouts import LAYOUTS, layout_from_edges

NTU = LAYOUTS["nturgb+d"]
BODY = cases("skeleton.json", "PreNormalize3D")


@pytest.mark.parametrize("case", cases("skeleton.json", "PreNormalize2D"), ids=lambda case: case["what"])
def test_pixels_are_those_of_the_reference(case):
    values = case["inputs"]
    size = None if isinstance(values["img_shape"], str) else tuple(values["img_shape"])
    found = screen_normalized(
        present_skeletons(array_of(values["keypoint"]), None), ScreenNormalize(missing="moved"), size
    )
    assert_same(found.points, case["outputs"]["keypoint"])


@pytest.mark.parametrize("case", BODY, ids=lambda case: case["what"])
def test_bodies_are_those_of_the_reference(case):
    values = case["inputs"]
    spec = values["keypoint"]
    points = np.zeros((2, 4, 25, 3), np.float32) if isinstance(spec, str) else array_of(spec, values["then"])
    normalize = BodyNormalize(
        # The reference takes the last keypoint of other layouts, and NTU's axes for all.
        center=1 if points.shape[2] == 25 else points.shape[2] - 1,
        align_spine=values.get("align_spine", True),
        align_shoulders=values.get("align_shoulder", True),
        spine=(0, 1),
        shoulders=(8, 4),
    )
    found = body_normalized(present_skeletons(points, None), normalize, NTU)
    assert_same(found.points, case["outputs"]["keypoint"], tolerance=5e-6)


def test_missing_pixels_stay_at_zero_unless_asked_otherwise():
    points = np.array([[[[0, 0], [960, 540], [1920, 0]]]], np.float32)
    kept = screen_normalized(present_skeletons(points, None), ScreenNormalize(), (1080, 1920))
    moved = screen_normalized(present_skeletons(points, None), ScreenNormalize(missing="moved"), (1080, 1920))
    assert kept.points[0, 0].tolist() == [[0, 0], [0, 0], [1, -1]]
    assert kept.present[0, 0].tolist() == [False, True, True]
    assert moved.points[0, 0].tolist() == [[-1, -1], [0, 0], [1, -1]]


def test_a_body_whose_centre_is_missing_at_first_is_measured_in_the_first_frame_that_has_it():
    points = array_of({"u": "centre", "shape": [1, 4, 25, 3]})
    points[0, 0, 1] = 0
    found = body_normalized(
        present_skeletons(points, None), BodyNormalize(align_spine=False, align_shoulders=False), NTU
    )
    np.testing.assert_allclose(found.points[0, 1:, 2], points[0, 1:, 2] - points[0, 1, 1], atol=1e-6)
    assert (found.points[0, 0, 1] == 0).all()
    np.testing.assert_allclose(found.points[0, 0, 2], points[0, 0, 2] - points[0, 1, 1], atol=1e-6)


def test_the_body_stands_upright_and_faces_forward_in_its_first_frame():
    points = array_of({"u": "upright", "shape": [1, 3, 25, 3]})
    body = body_normalized(present_skeletons(points, None), BodyNormalize(), NTU).points[0, 0]
    spine, shoulders = body[1] - body[0], body[8] - body[4]
    assert np.allclose(body[1], 0)
    # Turning the shoulders afterwards moves the spine, unless they are at right angles.
    assert np.allclose(shoulders[1:], 0, atol=1e-5)
    assert shoulders[0] > 0
    only_spine = body_normalized(present_skeletons(points, None), BodyNormalize(align_shoulders=False), NTU).points
    spine = only_spine[0, 0, 1] - only_spine[0, 0, 0]
    assert np.allclose(spine[:2], 0, atol=1e-5)
    assert spine[2] > 0


def test_of_three_people_the_one_who_is_there_most_comes_first_and_the_others_keep_their_order():
    points = array_of({"u": "three", "shape": [3, 5, 25, 3]})
    points[0, :3] = 0
    points[1, 2:] = 0
    normalize = BodyNormalize(align_center=False, align_spine=False, align_shoulders=False)
    found = body_normalized(present_skeletons(points, None), normalize, NTU)
    assert np.array_equal(found.points, points[[2, 0, 1]])


def test_order_and_frames_stay_where_it_is_asked():
    points = array_of({"u": "order", "shape": [2, 5, 25, 3]})
    points[0, :3] = 0
    normalize = BodyNormalize(align_center=False, align_spine=False, align_shoulders=False, order_people=False)
    assert np.array_equal(body_normalized(present_skeletons(points, None), normalize, NTU).points, points)


def test_every_known_axis_is_of_its_layout():
    for name, (center, spine, shoulders) in BODY_AXES.items():
        assert max(center, *spine, *shoulders) < LAYOUTS[name].num_keypoints
        assert shoulders[0] in LAYOUTS[name].right
        assert shoulders[1] in LAYOUTS[name].left


def test_axes_that_nobody_knows_are_asked_for():
    layout = layout_from_edges(3, [[0, 1], [1, 2]])
    skeletons = present_skeletons(np.ones((1, 1, 3, 3), np.float32), None)
    with pytest.raises(DataError, match=r"center, spine, shoulders .* layout 'custom'; give normalize\.center"):
        body_normalized(skeletons, BodyNormalize(), layout)
    only_center = BodyNormalize(center=1, align_spine=False, align_shoulders=False)
    assert (body_normalized(skeletons, only_center, None).points == 0).all()


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"center": 30}, r"normalize\.center: keypoint 30 does not exist; there are 0 to 24"),
        ({"spine": (0, 25)}, r"normalize\.spine: keypoint 25 does not exist"),
        ({"shoulders": (25, 4)}, r"normalize\.shoulders: keypoint 25 does not exist"),
    ],
)
def test_axes_of_keypoints_that_the_skeleton_lacks_are_refused(axes, message):
    skeletons = present_skeletons(np.ones((1, 1, 25, 3), np.float32), None)
    with pytest.raises(DataError, match=message):
        body_normalized(skeletons, BodyNormalize(**axes), NTU)
    unused = {f"align_{name}": False for name in axes}
    body_normalized(skeletons, BodyNormalize(**axes, **unused), NTU)


@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.0, 0.0, -3.0)])
def test_a_vector_on_the_axis_or_of_no_length_turns_nothing(vector):
    assert np.array_equal(turning(np.array(vector), np.array([0.0, 0.0, 1.0])), np.eye(3))
