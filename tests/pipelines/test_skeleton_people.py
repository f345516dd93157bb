"""Any number of people, none in a frame, and coordinates that are no numbers."""

import numpy as np
import pytest
from skeleton_cases import array_of, assert_same, cases

from vidflow.pipelines.skeleton_people import choose_people, fill_people, present_skeletons


@pytest.mark.parametrize("case", cases("skeleton.json", "FormatGCNInput"), ids=lambda case: case["what"])
def test_people_are_filled_and_cut_as_in_the_reference(case):
    values = case["inputs"]
    points = array_of(values["keypoint"])
    if values["keypoint_score"] is not None:
        points = np.concatenate([points, array_of(values["keypoint_score"])[..., None]], axis=-1)
    count = values.get("num_person", 2)
    people = choose_people(present_skeletons(points, None), count, "first").points
    people = fill_people(people, count, values.get("mode", "zero"))
    people = people.reshape(count, values["num_clips"], -1, *points.shape[2:]).swapaxes(0, 1)
    assert_same(people, case["outputs"]["keypoint"])


def crowd() -> np.ndarray:
    """Five people: still; moving; there in one frame; moving much; never there."""
    points = np.ones((5, 6, 4, 3), np.float32)
    points[1] += np.arange(6)[:, None, None] * 0.1
    points[2, 1:] = 0
    points[3] += np.arange(6)[:, None, None]
    points[4] = 0
    return points


@pytest.mark.parametrize(
    ("by", "count", "expected"),
    [
        ("first", 2, [0, 1]),
        ("score", 2, [0, 1]),
        ("score", 4, [0, 1, 2, 3]),
        ("motion", 2, [1, 3]),
        ("motion", 1, [3]),
        ("motion", 9, [0, 1, 2, 3, 4]),
    ],
)
def test_people_are_chosen_and_keep_their_order(by, count, expected):
    points = crowd()
    assert np.array_equal(choose_people(present_skeletons(points, None), count, by).points, points[expected])


def test_scores_decide_where_there_are_some():
    points = np.ones((3, 2, 4, 2), np.float32)
    scores = np.array([0.1, 0.9, 0.5], np.float32)[:, None, None].repeat(2, 1).repeat(4, 2)
    chosen = choose_people(present_skeletons(points, scores), 2, "score")
    assert chosen.scores[:, 0, 0].tolist() == pytest.approx([0.9, 0.5])


def test_no_number_and_zero_are_missing_and_everything_else_is_there():
    points = np.ones((1, 1, 5, 2), np.float16)
    points[0, 0, 1, 0], points[0, 0, 2, 1], points[0, 0, 3], points[0, 0, 4, 0] = np.nan, np.inf, 0, 0
    found = present_skeletons(points, np.full((1, 1, 5), 0.5))
    assert found.points.dtype == found.scores.dtype == np.float32
    assert found.present[0, 0].tolist() == [True, False, False, False, True]
    assert found.points[0, 0].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0], [0, 1]]
    assert found.scores[0, 0].tolist() == [0.5, 0, 0, 0, 0.5]


def test_a_score_that_is_no_number_is_none():
    scores = np.array([[[np.nan, 0.5]]])
    assert present_skeletons(np.ones((1, 1, 2, 2)), scores).scores.tolist() == [[[0, 0.5]]]


def test_without_scores_keypoints_that_are_there_have_one():
    points = np.ones((1, 1, 2, 3), np.float64)
    points[0, 0, 1] = 0
    assert present_skeletons(points, None).scores.tolist() == [[[1, 0]]]


def test_the_packed_array_is_left_as_it_is():
    points = np.full((1, 1, 2, 2), np.nan, np.float32)
    present_skeletons(points, None)
    assert np.isnan(points).all()
