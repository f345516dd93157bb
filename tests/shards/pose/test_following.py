"""Following people from frame to frame: a person keeps its row."""

import numpy as np
import pytest
from dot_people import FIGURE

from vidflow.shards.pose.estimator import People
from vidflow.shards.pose.following import Follower, keypoint_similarity, without_doubles


def people(*places: tuple[float, float], scores: tuple[float, ...] | None = None) -> People:
    """The figure at some places."""
    keypoints = np.array([FIGURE + place for place in places], np.float32).reshape(-1, 17, 2)
    given = np.ones(len(places)) if scores is None else np.asarray(scores)
    return People(keypoints, np.repeat(given[:, None], 17, axis=1).astype(np.float32))


def follow(frames: list[People], max_people: int = 4) -> tuple[np.ndarray, np.ndarray]:
    follower = Follower(max_people)
    for frame in frames:
        follower.add(frame)
    return follower.result()


def places(keypoints: np.ndarray) -> list[list[tuple[float, float] | None]]:
    """Where the figure of each row is in each frame."""
    corners = keypoints[:, :, 0] - FIGURE[0]
    seen = keypoints.any(axis=(2, 3))
    return [
        [tuple(corner) if here else None for corner, here in zip(row, row_seen, strict=True)]
        for row, row_seen in zip(corners.tolist(), seen.tolist(), strict=True)
    ]


def test_a_pose_is_like_itself_and_unlike_one_far_away():
    assert keypoint_similarity(FIGURE, FIGURE) == 1
    assert keypoint_similarity(FIGURE, np.add(FIGURE, [500, 0])) == pytest.approx(0, abs=1e-9)


def test_similarity_is_that_of_coco_over_keypoints_that_both_have():
    # Box 40 x 100, area 4000; nose 4 px off with sigma 0.026: exp(-16 / (2 * 4000 * 0.052^2)); the left eye is missing.
    other = FIGURE.copy()
    other[0] += [4, 0]
    other[1] = 0
    expected = (np.exp(-16 / (2 * 4000 * 0.052**2)) + 15) / 16
    assert keypoint_similarity(FIGURE, other) == pytest.approx(expected, rel=1e-6)
    nothing_common = np.zeros((17, 2), np.float32)
    assert keypoint_similarity(FIGURE, nothing_common) == 0


def test_rows_do_not_depend_on_the_order_within_a_frame():
    left, right = [(10 + 2 * t, 10) for t in range(6)], [(200 - 2 * t, 12) for t in range(6)]
    frames = [people(a, b) if t % 2 else people(b, a) for t, (a, b) in enumerate(zip(left, right, strict=True))]
    keypoints, scores = follow(frames)
    assert places(keypoints) == [right, left]  # in the order of the first frame
    assert (scores == 1).all()


def test_people_who_pass_each_other_keep_their_rows():
    # At different heights, so that no frame has them in one place.
    one, two = [(10 + 8 * t, 10) for t in range(20)], [(162 - 8 * t, 40) for t in range(20)]
    keypoints, _ = follow([people(a, b) for a, b in zip(one, two, strict=True)], max_people=2)
    assert places(keypoints) == [one, two]


def test_of_two_people_close_together_each_goes_on_as_the_nearest():
    left, right = [(10 + t, 10) for t in range(6)], [(18 + t, 10) for t in range(6)]
    frames = [people(a, b) if t % 2 else people(b, a) for t, (a, b) in enumerate(zip(left, right, strict=True))]
    assert places(follow(frames, max_people=2)[0]) == [right, left]


def test_two_people_in_one_place_are_told_apart_by_their_poses():
    upside_down = np.array([0, 100], np.float32) + FIGURE * np.array([1, -1], np.float32)
    both, scores = np.array([FIGURE, upside_down]), np.ones((2, 17), np.float32)
    keypoints, _ = follow([People(both[:: 1 if t % 2 else -1], scores) for t in range(4)], max_people=2)
    for frame in range(4):
        np.testing.assert_array_equal(keypoints[0, frame], upside_down)
        np.testing.assert_array_equal(keypoints[1, frame], FIGURE)


def test_someone_who_is_gone_for_a_while_comes_back_to_the_same_row_with_zeros_between():
    frames = [people((10, 10), (200, 10)), people((200, 12)), people(), people((10, 14), (200, 16))]
    keypoints, scores = follow(frames)
    assert places(keypoints) == [[(10, 10), None, None, (10, 14)], [(200, 10), (200, 12), None, (200, 16)]]
    assert not keypoints[0, 1].any()
    assert not scores[0, 1].any()


def test_one_fast_person_is_one_row_and_not_two():
    track = [(10 + 45 * t, 10) for t in range(6)]  # more than the width of the body per frame
    keypoints, _ = follow([people(place) for place in track], max_people=2)
    assert places(keypoints) == [track]


def test_a_leap_is_kept_where_no_further_row_is_free():
    keypoints, _ = follow([people((10, 10)), people((900, 10))], max_people=1)
    assert places(keypoints) == [[(10, 10), (900, 10)]]


def test_a_newcomer_gets_a_row_of_its_own_while_there_is_room():
    keypoints, _ = follow([people((10, 10)), people((300, 10)), people((10, 10), (300, 10))], max_people=2)
    assert places(keypoints) == [[(10, 10), None, (10, 10)], [None, (300, 10), (300, 10)]]


def test_of_too_many_people_in_a_frame_those_with_the_highest_scores_stay():
    crowd = people((10, 10), (200, 10), (400, 10), scores=(0.5, 0.9, 0.7))
    keypoints, scores = follow([crowd], max_people=2)
    assert places(keypoints) == [[(200, 10)], [(400, 10)]]
    np.testing.assert_allclose(scores[:, 0, 0], [0.9, 0.7])


def test_one_person_found_twice_counts_once_and_two_people_close_together_count_twice():
    assert len(without_doubles(people((10, 10), (11, 10), scores=(0.6, 0.8)), 5).scores) == 1
    assert len(without_doubles(people((10, 10), (18, 10)), 5).scores) == 2


def test_a_pose_without_keypoints_is_nobody():
    empty = People(np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32))
    keypoints, scores = follow([empty, people(), empty])
    assert keypoints.shape == (0, 3, 17, 2)
    assert scores.shape == (0, 3, 17)
