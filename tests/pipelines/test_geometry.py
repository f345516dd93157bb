"""Crop geometry: values of MMAction2 1.2.0, our differences from it, and odd frames."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vidflow.config.pipeline import (
    CenterCrop,
    FullFrame,
    MultiScaleCrop,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    ThreeCrop,
)
from vidflow.pipelines.geometry import crop_boxes, crop_mirrors, is_random, multi_scale_sizes, num_crops, resized_size

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))
CASES = json.loads((PARITY / "ops/geometry.json").read_text())
FIXED = {"CenterCrop": CenterCrop(), "ThreeCrop": ThreeCrop(), "TenCrop": TenCrop()}
ALL_CROPS = [*FIXED.values(), FullFrame(), RandomCrop(), RandomResizedCrop(), MultiScaleCrop()]


def cases(start: str) -> list:
    return [pytest.param(case, id=case["what"]) for case in CASES if case["what"].startswith(start)]


def size_of(value: int | list[int]) -> tuple[int, int]:
    """Height and width from the reference's crop size: one number, or width and height."""
    return (value, value) if isinstance(value, int) else (value[1], value[0])


def draw(count: int, case: dict, crop, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """Boxes [count, 4] of a random crop on the case's frame."""
    rng = np.random.default_rng(0)
    height, width = case["inputs"].get("h", 256), case["inputs"].get("w", 340)
    return np.concatenate([crop_boxes(height, width, crop, size=size, rng=rng) for _ in range(count)])


@pytest.mark.parametrize("case", cases("Resize keep_ratio scale=(-1"))
def test_short_side_sizes_equal_the_reference(case):
    for width, height, out_width, out_height, *_ in case["outputs"]["rows"]:
        assert resized_size(height, width, case["inputs"]["scale"][1]) == (out_height, out_width)


@pytest.mark.parametrize("case", [c for name in FIXED for c in cases(f"{name} ") if "order" not in c.id])
def test_fixed_crops_equal_the_reference(case):
    values = case["inputs"]
    crop = FIXED[case["what"].split()[0]]
    boxes = crop_boxes(values["h"], values["w"], crop, size=size_of(values["crop_size"]))
    expected = np.array(case["outputs"]["crop_bbox"])
    if (expected < 0).any():  # the frame is smaller than the crop, which the reference does not check
        assert values == {"crop_size": 256, "w": 255, "h": 240, "n_imgs": 1}
        expected = np.array([[7, 0, 247, 240]])
    assert boxes.tolist() == expected.tolist()


def test_every_second_of_ten_crops_is_mirrored_and_no_other_crop():
    assert crop_mirrors(TenCrop()).tolist() == [False, True] * 5
    for crop in ALL_CROPS:
        assert crop_mirrors(crop).shape == (num_crops(crop),)
        assert crop_mirrors(crop).any() == (crop.kind == "ten")


@pytest.mark.parametrize("case", [c for c in cases("MultiScaleCrop") if "candidates" in c.values[0]["outputs"]])
def test_multi_scale_boxes_are_exactly_those_of_the_reference(case):
    values = case["inputs"]
    crop = MultiScaleCrop(
        scales=tuple(values["scales"]), max_gap=values["max_wh_scale_gap"], positions=values["num_fixed_crops"]
    )
    size = (values["input_size"],) * 2
    expected = {
        (x, y, x + candidate["size_wh"][0], y + candidate["size_wh"][1])
        for candidate in case["outputs"]["candidates"]
        for x, y in candidate["offsets_xy"]
    }
    assert {tuple(box) for box in draw(3000, case, crop, size).astype(int).tolist()} == expected
    sizes = multi_scale_sizes(values["h"], values["w"], size, scales=crop.scales, max_gap=crop.max_gap)
    assert {(w, h) for h, w in sizes} == {tuple(c["size_wh"]) for c in case["outputs"]["candidates"]}


@pytest.mark.parametrize("case", cases("MultiScaleCrop random_crop"))
def test_multi_scale_boxes_anywhere_reach_the_last_pixel(case):
    boxes = draw(10000, case, MultiScaleCrop(scales=tuple(case["inputs"]["scales"]), positions="random"))
    widths = boxes[:, 2] - boxes[:, 0]
    assert sorted(set(widths)) == case["outputs"]["widths"]
    for width, x_max in case["outputs"]["x_max_by_width"].items():
        assert boxes[widths == int(width), 0].max() == x_max


@pytest.mark.parametrize("case", cases("RandomResizedCrop"))
def test_random_resized_crops_have_the_moments_of_the_reference(case):
    values, expected = case["inputs"], case["outputs"]
    crop = RandomResizedCrop(area=tuple(values["area_range"]), aspect=tuple(values["aspect_ratio_range"]))
    count = 4000
    x1, y1, x2, y2 = draw(count, case, crop).astype(np.float64).T
    widths, heights = x2 - x1, y2 - y1
    area, aspect = widths * heights / (values["w"] * values["h"]), widths / heights
    assert min(x1.min(), y1.min()) >= 0
    assert x2.max() <= expected["x2_max"]
    assert y2.max() <= expected["y2_max"]

    def close(seen: np.ndarray, mean: float) -> bool:
        # Five standard errors of both means; the reference made 20000 draws.
        return abs(seen.mean() - mean) <= 5 * seen.std() * np.sqrt(1 / count + 1 / 20000) + 1e-6

    assert close(area, expected["area_mean"])
    assert close(aspect, expected["aspect_wh_mean"])
    assert close(np.log(aspect), expected["log_aspect_mean"])
    assert close(x1, expected["x1_mean"])
    assert close(y1, expected["y1_mean"])
    assert area.std() == pytest.approx(expected["area_std"], rel=0.06, abs=1e-9)
    quantiles = np.quantile(area, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, expected["area_quantiles_10_50_90"], atol=0.025)
    # Rounding to whole pixels moves the extremes a little.
    assert area.min() >= expected["area_min"] - 0.003
    assert area.max() <= expected["area_max"] + 0.005
    assert aspect.min() >= expected["aspect_min"] - 0.02
    assert aspect.max() <= expected["aspect_max"] + 0.03


@pytest.mark.parametrize("case", cases("RandomCrop"))
def test_random_crops_reach_one_pixel_further_than_the_reference(case):
    values, expected = case["inputs"], case["outputs"]
    boxes = draw(8000, case, RandomCrop(), size_of(values["size"]))
    assert boxes[:, :2].min(axis=0).tolist() == [expected["x_min"], expected["y_min"]]
    x_max, y_max = values["w"] - values["size"], values["h"] - values["size"]
    assert boxes[:, :2].max(axis=0).tolist() == [x_max, y_max]
    assert expected["x_max"] == max(x_max - 1, 0)
    assert expected["y_max"] == max(y_max - 1, 0)
    assert set((boxes[:, 2:] - boxes[:, :2]).ravel()) == {values["size"]}


def test_boxes_are_mapped_back_to_source_pixels():
    # 1920 x 1080 counts as 455 x 256; the centre crop of 224 there is x 115 to 339, y 16 to 240.
    box = crop_boxes(1080, 1920, CenterCrop(), size=(224, 224), short_side=256)[0]
    expected = np.array([115 * 1920 / 455, 16 * 1080 / 256, 339 * 1920 / 455, 240 * 1080 / 256])
    np.testing.assert_allclose(box, expected, rtol=1e-6)


def test_the_draws_do_not_depend_on_the_source_size_but_on_the_resized_one():
    large = crop_boxes(512, 680, RandomCrop(), size=(224, 224), short_side=256, rng=np.random.default_rng(2))
    small = crop_boxes(256, 340, RandomCrop(), size=(224, 224), short_side=256, rng=np.random.default_rng(2))
    assert large.tolist() == (2 * small).tolist()


def test_a_full_frame_is_the_whole_source():
    assert crop_boxes(721, 1283, FullFrame(), size=(64, 32), short_side=256).tolist() == [[0, 0, 1283, 721]]


FRAMES = [(1, 1), (2, 3), (3, 200), (200, 3), (100, 37), (223, 225), (1080, 1920), (1921, 1079), (8, 4000)]


@pytest.mark.parametrize("short_side", [None, 17, 256])
@pytest.mark.parametrize("size", [(224, 224), (112, 171), (300, 7)])
@pytest.mark.parametrize("crop", ALL_CROPS, ids=lambda crop: crop.kind)
def test_boxes_of_any_frame_lie_inside_it_and_are_not_empty(crop, size, short_side):
    rng = np.random.default_rng(0)
    for height, width in FRAMES:
        for _ in range(20 if is_random(crop) else 1):
            boxes = crop_boxes(height, width, crop, size=size, short_side=short_side, rng=rng)
            assert boxes.dtype == np.float32
            assert boxes.shape == (num_crops(crop), 4)
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] <= [width, height]).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize("crop", [CenterCrop(), TenCrop(), RandomCrop(), ThreeCrop()], ids=lambda crop: crop.kind)
@pytest.mark.parametrize("frame", [(100, 37), (37, 100), (60, 60), (1, 9)])
def test_a_box_larger_than_the_frame_shrinks_and_keeps_its_aspect(crop, frame):
    size = (112, 171)
    for x1, y1, x2, y2 in crop_boxes(*frame, crop, size=size, rng=np.random.default_rng(0)).astype(np.float64):
        assert (y2 - y1) / (x2 - x1) == pytest.approx(size[0] / size[1], rel=1e-5)
        assert y2 - y1 == pytest.approx(frame[0]) or x2 - x1 == pytest.approx(frame[1])


def test_three_boxes_span_the_short_side_whatever_the_output_size():
    boxes = crop_boxes(512, 680, ThreeCrop(), size=(224, 224), short_side=256)
    assert boxes.tolist() == crop_boxes(512, 680, ThreeCrop(), size=(256, 256), short_side=256).tolist()
    assert (boxes[:, 3] - boxes[:, 1] == 512).all()


def test_multi_scale_sides_never_snap_beyond_the_frame():
    assert multi_scale_sizes(222, 300, (224, 224), scales=(1.0,), max_gap=0) == [(222, 224)]
    assert multi_scale_sizes(100, 100, (224, 224), scales=(1.5,), max_gap=0) == [(100, 100)]


def test_an_area_that_never_fits_falls_back_to_the_largest_box_of_the_outputs_aspect():
    crop = RandomResizedCrop(area=(0.9, 1.0))
    box = crop_boxes(100, 1000, crop, size=(100, 200), rng=np.random.default_rng(0))[0]
    assert box.tolist() == [400, 0, 600, 100]


@pytest.mark.parametrize("crop", [c for c in ALL_CROPS if is_random(c)], ids=lambda crop: crop.kind)
def test_the_same_seed_draws_the_same_boxes_and_another_one_others(crop):
    boxes = [
        crop_boxes(256, 340, crop, size=(112, 112), rng=np.random.default_rng(seed)).tolist()
        for seed in [7, 7, *range(9)]
    ]
    assert boxes[0] == boxes[1]
    assert any(a != b for a, b in pairwise(boxes[1:]))


@pytest.mark.parametrize("crop", [c for c in ALL_CROPS if is_random(c)], ids=lambda crop: crop.kind)
def test_a_random_crop_without_a_generator_is_refused(crop):
    with pytest.raises(ValueError, match=f"{crop.kind!r} crop needs rng"):
        crop_boxes(256, 340, crop, size=(224, 224))


@pytest.mark.parametrize(("height", "width", "short_side"), [(0, 5, None), (5, -1, None), (5, 5, 0)])
def test_a_frame_or_short_side_that_is_not_positive_is_refused(height, width, short_side):
    with pytest.raises(ValueError, match="must be positive"):
        crop_boxes(height, width, CenterCrop(), size=(4, 4), short_side=short_side)
