"""Operations on frames: against torchvision's definitions written out, and geometry against points."""

import cv2
import numpy as np
import pytest

from vidflow.pipelines.pixel_ops import (
    COLOR_OPS,
    FILL,
    GEOMETRIC_OPS,
    apply_color_ops,
    geometric_matrix,
    warp_frames,
)

STRENGTHS = {
    "brightness": 1.4,
    "contrast": 0.3,
    "saturation": 1.7,
    "sharpness": 1.9,
    "auto_contrast": 0,
    "equalize": 0,
    "invert": 0,
    "posterize": 3,
    "solarize": 100,
    "solarize_add": 60,
}


def frames(seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (2, 37, 41, 3), dtype=np.uint8)


def one(name: str, strength: float, frame: np.ndarray) -> np.ndarray:
    return apply_color_ops(frame[None], [(name, strength)])[0]


def test_every_operation_has_a_strength_here():
    assert set(STRENGTHS) == set(COLOR_OPS)


@pytest.mark.parametrize("name", STRENGTHS)
def test_operations_give_new_frames_and_treat_each_frame_for_itself(name):
    before = frames(low=40, high=200)
    kept = before.copy()
    after = apply_color_ops(before, [(name, STRENGTHS[name])])
    assert after.dtype == np.uint8
    assert (after != before).any()
    assert np.array_equal(before, kept)
    for frame, expected in zip(before, after, strict=True):
        assert np.array_equal(one(name, STRENGTHS[name], frame), expected)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "sharpness"])
def test_a_factor_of_one_changes_nothing(name):
    assert abs(one(name, 1.0, frames()[0]).astype(int) - frames()[0]).max() <= 1


def test_factors_blend_with_black_grey_and_the_mean_grey():
    frame = frames()[0].astype(np.float64)
    grey = frame @ [0.299, 0.587, 0.114]
    for name, strength, other in (
        ("brightness", 0.4, 0.0),
        ("contrast", 1.6, grey.mean()),
        ("saturation", 0.2, grey[..., None]),
    ):
        expected = np.clip(strength * frame + (1 - strength) * other, 0, 255)
        assert abs(one(name, strength, frames()[0]) - expected).max() <= 1, name


def test_sharpness_blends_with_a_smoothed_frame_and_leaves_the_border():
    frame = frames()[0]
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    window = np.lib.stride_tricks.sliding_window_view(frame, (3, 3), axis=(0, 1))
    smooth = np.einsum("hwcij,ij->hwc", window.astype(np.float64), kernel)
    sharp = one("sharpness", 1.5, frame)
    expected = np.clip(1.5 * frame[1:-1, 1:-1] - 0.5 * smooth, 0, 255)
    assert abs(sharp[1:-1, 1:-1] - expected).max() <= 1
    assert np.array_equal(sharp[0], frame[0])
    assert np.array_equal(sharp[:, -1], frame[:, -1])


def test_auto_contrast_stretches_each_channel_and_leaves_flat_ones():
    frame = frames(low=60, high=180)[0]
    frame[..., 2] = 77
    stretched = one("auto_contrast", 0, frame)
    assert stretched[..., :2].min(axis=(0, 1)).tolist() == [0, 0]
    assert stretched[..., :2].max(axis=(0, 1)).tolist() == [255, 255]
    assert (stretched[..., 2] == 77).all()


def test_equalize_is_pillows_rule():
    # Four levels of 128, 64, 32 and 32 pixels: step = (256 - 32) // 255 = 0, which leaves the picture as it is.
    small = np.repeat(np.repeat([10, 20, 30, 40], [128, 64, 32, 32]).reshape(16, 16, 1), 3, axis=2).astype(np.uint8)
    assert np.array_equal(one("equalize", 0, small), small)
    # 32 times as many pixels: step = (8192 - 1024) // 255 = 28; (pixels below + 14) // 28.
    large = np.tile(small, (4, 8, 1))
    levels = np.unique(one("equalize", 0, large)).tolist()
    assert levels == [0, (4096 + 14) // 28, (6144 + 14) // 28, min(255, (7168 + 14) // 28)]


def test_levels_are_inverted_cut_and_solarized():
    frame = np.array([[[0, 100, 255]]], np.uint8)
    assert one("invert", 0, frame).tolist() == [[[255, 155, 0]]]
    assert one("posterize", 2, frame).tolist() == [[[0, 64, 192]]]
    assert one("posterize", 0, frame).tolist() == [[[0, 0, 0]]]
    assert one("posterize", 8, frame).tolist() == [[[0, 100, 255]]]
    assert one("solarize", 100, frame).tolist() == [[[0, 155, 0]]]
    assert one("solarize", 256, frame).tolist() == [[[0, 100, 255]]]
    assert one("solarize_add", 60, frame).tolist() == [[[60, 160, 255]]]


def test_operations_run_in_their_order():
    frame = frames()[0]
    both = apply_color_ops(frame[None], [("invert", 0), ("rotate", 20), ("brightness", 0.5)])[0]
    assert np.array_equal(both, one("brightness", 0.5, one("invert", 0, frame)))


def test_geometry_alone_leaves_the_frames_untouched():
    before = frames()
    assert apply_color_ops(before, [("rotate", 20)]) is before


def test_an_unknown_operation_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="no operation 'blurr'; there are brightness, contrast"):
        apply_color_ops(frames(), [("blurr", 1)])


@pytest.mark.parametrize(
    ("op", "point", "source"),
    [
        (("rotate", 90), (100, 40), (110, 50)),  # a quarter to the left: what is above was right of the middle
        (("translate_x", 0.25), (60, 20), (10, 20)),
        (("translate_y", -0.1), (60, 20), (60, 30)),
        (("shear_x", 0.5), (100, 70), (110, 70)),
        (("shear_y", 0.5), (120, 50), (120, 60)),
    ],
)
def test_points_of_the_result_show_these_points_of_the_source(op, point, source):
    height, width = 100, 200
    matrix = geometric_matrix([op], height, width)
    np.testing.assert_allclose(matrix @ [*point, 1], source, atol=1e-9)


def test_operations_compose_as_if_done_one_after_the_other():
    picture = cv2.GaussianBlur(frames(3)[:1][0], (9, 9), 3)[None]
    ops = [("rotate", 15.0), ("translate_x", 0.1), ("shear_y", -0.2)]
    at_once = warp_frames(picture, geometric_matrix(ops, 37, 41))
    in_turn = picture
    for op in ops:
        in_turn = warp_frames(in_turn, geometric_matrix([op], 37, 41))
    inside = (slice(None), slice(10, -10), slice(10, -10))
    assert abs(at_once[inside].astype(int) - in_turn[inside]).max() <= 6  # three resamplings instead of one


def test_what_comes_into_view_is_grey():
    warped = warp_frames(frames(), geometric_matrix([("translate_x", 0.5)], 37, 41))
    assert (warped[:, :, :20] == FILL).all()


def test_no_geometric_operation_is_no_matrix():
    assert geometric_matrix([("invert", 0)], 10, 10) is None
    assert set(GEOMETRIC_OPS).isdisjoint(COLOR_OPS)
