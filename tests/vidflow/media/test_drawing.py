"""Skeletons and words on pictures: where the ink goes, and where it does not."""

import numpy as np
import pytest

from vidflow.media.drawing import COLORS, draw_skeletons, draw_words, on_screen, writable


def blank(height: int = 100, width: int = 120) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def inked(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Box around all that was drawn: left, top, right, bottom."""
    rows, columns = np.nonzero(picture.any(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_keypoints_and_limbs_are_drawn_where_they_are():
    picture = blank()
    draw_skeletons(picture, np.array([[[20, 30], [80, 30]]], np.float32), [(0, 1)])
    left, top, right, bottom = inked(picture)
    assert abs(left - 20) <= 5
    assert abs(right - 80) <= 5
    assert abs(top - 30) <= 5
    assert abs(bottom - 30) <= 5
    assert picture[30, 50].tolist() == list(COLORS[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_keypoints_of_any_type_are_drawn(dtype):
    picture = blank()
    draw_skeletons(picture, np.array([[[20, 30], [80, 30]]], dtype), [(0, 1)])
    assert picture[30, 50].tolist() == list(COLORS[0])


def test_people_have_colours_of_their_own():
    picture = blank()
    draw_skeletons(picture, np.array([[[20, 20]], [[80, 60]]], np.float32), [])
    assert picture[20, 20].tolist() == list(COLORS[0])
    assert picture[60, 80].tolist() == list(COLORS[1])


def test_missing_and_doubtful_keypoints_and_their_limbs_are_left_out():
    points = np.array([[[20, 30], [0, 0], [80, 30]]], np.float32)
    picture = blank()
    draw_skeletons(picture, points, [(0, 1), (1, 2)])
    assert not picture[30, 40:60].any()
    assert not picture[:10, :10].any()
    picture = blank()
    scores = np.array([[0.9, 0.9, 0.1]], np.float32)
    draw_skeletons(picture, points, [(0, 2)], scores=scores, min_score=0.3)
    assert inked(picture)[2] < 40


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e9, -1e9])
def test_odd_places_draw_nothing(odd):
    picture = blank()
    draw_skeletons(picture, np.array([[[odd, 10], [50, odd]]], np.float32), [(0, 1)])
    assert not picture.any()


def test_a_limb_may_reach_out_of_the_picture():
    picture = blank()
    draw_skeletons(picture, np.array([[[-50, 30], [60, 30]]], np.float32), [(0, 1)])
    assert picture[30, 0].any()


def test_words_stand_in_the_upper_left_corner_on_a_darker_ground():
    picture = np.full((200, 400, 3), 150, np.uint8)
    draw_words(picture, ["waving 0.90", "kicking 0.05"])
    assert picture.max() == 255
    assert picture[0, 0].tolist() == [50, 50, 50]
    assert (picture[150:] == 150).all()
    assert (picture[:, 300:] == 150).all()


def test_long_words_are_made_to_fit():
    picture = blank(240, 100)
    draw_words(picture, ["a class with a name that is much longer than the picture is wide"])
    white = np.nonzero(picture.max(axis=2) > 100)
    assert len(white[1])
    assert white[1].max() < 98


def test_without_words_nothing_changes():
    picture = np.full((20, 20, 3), 7, np.uint8)
    draw_words(picture, [])
    assert (picture == 7).all()


def test_the_font_has_ascii_only():
    assert writable("brush_teeth (2)")
    assert not writable("刷牙")
    assert not writable("a\nb")


def test_depth_cameras_see_people_upright_and_whole_in_one_scale():
    # Head above feet in metres, y upwards; the second frame is half as high and 1 m to the right.
    people = np.array([[[[0, 1.0, 3], [0, -1.0, 3]], [[1, 0.5, 3], [1, -0.5, 3]]]], np.float32)
    placed = on_screen(people, size=100, margin=0.1)
    np.testing.assert_allclose(placed[0, 0], [[30, 10], [30, 90]], atol=1e-4)
    np.testing.assert_allclose(placed[0, 1], [[70, 30], [70, 70]], atol=1e-4)


def test_missing_keypoints_stay_missing_on_screen():
    people = np.array([[[[0, 0], [10, 20]], [[5, 5], [0, 0]]]], np.float32)
    placed = on_screen(people, size=100)
    assert placed.any(axis=-1).tolist() == [[[False, True], [True, False]]]
    assert not on_screen(np.zeros((1, 2, 3, 3), np.float32)).any()
