"""Optical flow: its coding in grey values, and which algorithms there are."""

import cv2
import numpy as np
import pytest

from vidflow.errors import ConfigError, DataError, MissingExtraError
from vidflow.media.flow import decode_flow, encode_flow, flow_function


def test_the_coding_is_that_of_dense_flow():
    # 255 (v - L) / (H - L), rounded to even at halves, by hand for a bound of 20.
    values = np.array([-20.001, -20, -10, -1, 0, 1, 10, 20, 20.001], np.float32)
    assert encode_flow(values, 20).tolist() == [0, 0, 64, 121, 128, 134, 191, 255, 255]
    assert encode_flow(values, 20).dtype == np.uint8


def test_decoding_is_exact_to_half_a_grey_level():
    values = np.linspace(-15, 15, 1001, dtype=np.float32)
    np.testing.assert_allclose(decode_flow(encode_flow(values, 15), 15), values, atol=15 / 255 + 1e-5)


def test_tvl1_without_contrib_says_what_to_install():
    if hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV has the contrib modules")
    with pytest.raises(MissingExtraError, match="pip install opencv-contrib-python"):
        flow_function("tvl1")


@pytest.mark.parametrize("algorithm", ["dis", "farneback", "tvl1"])
def test_a_known_motion_is_found_and_no_pair_leaves_a_trace_in_the_next(algorithm):
    if algorithm == "tvl1" and not hasattr(cv2, "optflow"):
        pytest.skip("needs opencv-contrib-python")
    texture = cv2.GaussianBlur(np.random.default_rng(0).random((80, 100)).astype(np.float32), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    first, second = texture[8:72, 8:90], texture[8:72, 6:88]
    compute = flow_function(algorithm)
    flow = compute(first, second)
    np.testing.assert_allclose(np.median(flow[16:-16, 16:-16], axis=(0, 1)), [2, 0], atol=0.1)
    compute(second, texture[4:68, 8:90])
    np.testing.assert_array_equal(compute(first, second), flow)


def test_an_unknown_algorithm_names_the_known_ones():
    with pytest.raises(ConfigError, match="--algorithm brox: choose one of dis, tvl1, farneback"):
        flow_function("brox")


def test_pictures_that_an_algorithm_cannot_take_are_named():
    with pytest.raises(DataError, match="no flow by dis for pictures of 64x48 pixels"):
        flow_function("dis")(np.zeros((48, 64), np.uint8), np.zeros((40, 64), np.uint8))


def test_pictures_that_are_too_small_are_refused_by_name():
    with pytest.raises(DataError, match=r"no flow by dis for pictures of 8x8 pixels"):
        flow_function("dis")(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
