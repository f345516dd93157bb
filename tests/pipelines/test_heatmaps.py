"""Heatmaps against MMAction2's values, against a plain NumPy generator, and on keypoints that are not there."""

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slow_heatmaps import draw_sample

from vidflow.pipelines.heatmaps import draw_heatmaps, mirror_heatmaps
from vidflow.skeletons.layouts import LAYOUTS

VALUES = Path(__file__).parents[1] / "data/parity/ops/heatmaps.json"
CASES = [case for case in json.loads(VALUES.read_text()) if case["inputs"]]
COCO = LAYOUTS["coco"]


def _array(spec: Any) -> np.ndarray:
    if not isinstance(spec, dict):
        return np.asarray(spec, np.float32)
    uniform = np.random.default_rng(zlib.crc32(spec["u"].encode())).random(spec["shape"], dtype=np.float32) * 2 - 1
    return np.round(uniform * np.float32(spec["scale"]) + np.float32(spec["offset"]), spec["round"])


def _drawn(values: dict[str, Any]) -> np.ndarray:
    """What ours gives for a case's inputs, as [T, C, H, W]."""
    factor = values.get("scaling", 1.0)
    keypoints = _array(values["keypoint"]) * np.float32(factor)
    scores = values["keypoint_score"]
    heights = np.ones(keypoints.shape[:-1], np.float32) if scores is None else _array(scores)
    if not values.get("use_score", True):
        heights = np.ones_like(heights)
    limbs = [tuple(pair) for pair in values.get("skeletons", COCO.limbs)] if values.get("with_limb") else []
    with_keypoints = values.get("with_kp", True)
    height, width = (int(side * factor + 0.5) for side in values["img_shape"])
    maps = draw_heatmaps(
        torch.from_numpy(keypoints)[None],
        torch.from_numpy(heights)[None],
        size=(height, width),
        sigma=values.get("sigma", 0.6),
        with_keypoints=with_keypoints,
        limbs=limbs,
    )
    if values.get("double"):
        mirrored = mirror_heatmaps(maps, COCO.mirrored if with_keypoints else COCO.mirrored_limbs)
        maps = torch.cat([maps, mirrored], dim=2)
    return maps[0].transpose(0, 1).numpy()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_maps_equal_the_reference(case):
    expected, maps = case["outputs"], _drawn(case["inputs"])
    if case["inputs"].get("with_kp") and case["inputs"].get("with_limb"):
        # The reference leaves the channels of limbs empty and draws them into those of keypoints.
        maps = np.concatenate([np.maximum(maps[:, :17], maps[:, 17:]), np.zeros_like(maps[:, :17])], axis=1)
    assert list(maps.shape) == expected["shape"]
    for prefix, values in (("nz", maps), ("frame0_nz", maps[0])):
        if f"{prefix}_index" in expected:
            whole = np.zeros(values.size)
            whole[expected[f"{prefix}_index"]] = expected[f"{prefix}_value"]
            np.testing.assert_allclose(values.ravel(), whole, rtol=0, atol=1e-5)
    if "per_channel_sum" in expected:
        np.testing.assert_allclose(maps.sum(axis=(2, 3)), expected["per_channel_sum"], rtol=1e-5, atol=1e-4)
        assert maps.max() == pytest.approx(expected["max"], abs=1e-5)


def test_limbs_and_mirror_of_coco_are_the_references():
    (tables,) = (case["outputs"] for case in json.loads(VALUES.read_text()) if not case["inputs"])
    assert [list(limb) for limb in COCO.limbs] == tables["skeletons"]
    for left, right, mirrored in (
        (tables["left_kp"], tables["right_kp"], COCO.mirrored),
        (tables["left_limb"], tables["right_limb"], COCO.mirrored_limbs),
    ):
        assert [mirrored[number] for number in left] == right
        assert [mirrored[number] for number in right] == left
        assert all(mirrored[n] == n for n in set(range(17)) - {*left, *right})


def _people(rng: np.random.Generator, shape: tuple[int, ...], side: float) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [N, M, T, K, 2] in and around a picture, and scores, some of them 0."""
    keypoints = rng.uniform(-0.3 * side, 1.3 * side, (*shape, 2)).astype(np.float32)
    whole = rng.random(shape) < 0.2  # windows end exactly at pixels
    keypoints[whole] = np.round(keypoints[whole] * 5) / 5
    scores = rng.random(shape).astype(np.float32)
    scores[rng.random(shape) < 0.1] = 0
    return keypoints, scores


@pytest.mark.parametrize("sigma", [0.6, 0.35, 2.0])
@pytest.mark.parametrize(("with_keypoints", "limbs"), [(True, ()), (False, COCO.limbs), (True, COCO.limbs)])
def test_maps_equal_the_loops_for_any_keypoints(with_keypoints, limbs, sigma):
    keypoints, scores = _people(np.random.default_rng(0), (3, 2, 5, 17), 24.0)
    maps = draw_heatmaps(
        torch.from_numpy(keypoints),
        torch.from_numpy(scores),
        size=(20, 27),
        sigma=sigma,
        with_keypoints=with_keypoints,
        limbs=limbs,
    )
    for number in range(3):
        expected = draw_sample(
            keypoints[number], scores[number], (20, 27), sigma, with_keypoints=with_keypoints, limbs=limbs
        )
        np.testing.assert_allclose(maps[number].transpose(0, 1).numpy(), expected, rtol=0, atol=1e-5)
    assert maps.max() > 0.5


def test_long_limbs_come_in_several_pieces(monkeypatch):
    keypoints, scores = (torch.from_numpy(part) for part in _people(np.random.default_rng(1), (1, 3, 4, 17), 24.0))
    options: dict[str, Any] = {"size": (24, 24), "sigma": 0.6, "with_keypoints": False, "limbs": COCO.limbs}
    expected = draw_heatmaps(keypoints, scores, **options)
    monkeypatch.setattr("vidflow.pipelines.heatmaps._PIECE", 7)
    torch.testing.assert_close(draw_heatmaps(keypoints, scores, **options), expected, rtol=0, atol=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_keypoints_that_are_no_places_are_left_out_and_their_limbs_with_them(value):
    keypoints = torch.full((1, 1, 1, 3, 2), 4.0)
    keypoints[0, 0, 0, 1] = torch.tensor([9.0, 9.0])
    scores, limbs = torch.ones(1, 1, 1, 3), [(0, 1), (1, 2)]
    clean = draw_heatmaps(keypoints, scores, size=(12, 12), sigma=0.6, limbs=limbs)
    keypoints[0, 0, 0, 2, 1] = value
    maps = draw_heatmaps(keypoints, scores, size=(12, 12), sigma=0.6, limbs=limbs)
    assert torch.isfinite(maps).all()
    torch.testing.assert_close(maps[:, [0, 1, 3]], clean[:, [0, 1, 3]])
    assert maps[:, [2, 4]].abs().max() == 0


def test_scores_that_are_not_numbers_draw_nothing():
    maps = draw_heatmaps(torch.ones(1, 1, 1, 2, 2), torch.tensor([[[[np.nan, 1.0]]]]), size=(4, 4), sigma=0.6)
    assert maps[:, 0].abs().max() == 0
    assert maps[:, 1].max() == 1


def test_a_clip_without_people_is_empty():
    maps = draw_heatmaps(torch.zeros(2, 0, 3, 17, 2), torch.zeros(2, 0, 3, 17), size=(8, 8), sigma=0.6, limbs=[(0, 1)])
    assert list(maps.shape) == [2, 18, 3, 8, 8]
    assert maps.abs().max() == 0


def test_people_share_maps_by_their_maximum():
    keypoints = torch.tensor([[3.0, 3.0], [4.0, 3.0]]).reshape(1, 2, 1, 1, 2)
    scores = torch.tensor([0.5, 1.0]).reshape(1, 2, 1, 1)
    both = draw_heatmaps(keypoints, scores, size=(8, 8), sigma=1.0)
    alone = [draw_heatmaps(keypoints[:, [m]], scores[:, [m]], size=(8, 8), sigma=1.0) for m in range(2)]
    torch.testing.assert_close(both, torch.maximum(*alone))


def test_half_precision_keypoints_are_drawn_in_single():
    keypoints = torch.tensor([[[[[5.25, 6.5]]]]])
    single = draw_heatmaps(keypoints, torch.ones(1, 1, 1, 1), size=(12, 12), sigma=0.6)
    half = draw_heatmaps(keypoints.half(), torch.ones(1, 1, 1, 1).half(), size=(12, 12), sigma=0.6)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, single)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": torch.ones(1, 1, 1, 3, 3)}, r"keypoints must be \[N, M, T, K, 2\]"),
        ({"scores": torch.ones(1, 1, 1, 2)}, r"scores \[N, M, T, K\], not \[1, 1, 1, 3, 2\] and \[1, 1, 1, 2\]"),
        ({"limbs": [(0, 3)]}, r"limbs \[\(0, 3\)\] name keypoints outside \[0, 3\)"),
        ({"limbs": [(-1, 2)]}, r"outside \[0, 3\)"),
        ({"sigma": 0.0}, r"sigma \(0.0\)"),
        ({"sigma": float("nan")}, r"sigma \(nan\)"),
        ({"size": (0, 4)}, r"size \(\[0, 4\]\)"),
        ({"with_keypoints": False}, "nothing to draw"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    keypoints = change.pop("keypoints", torch.ones(1, 1, 1, 3, 2))
    scores = change.pop("scores", torch.ones(1, 1, 1, 3))
    with pytest.raises(ValueError, match=message):
        draw_heatmaps(keypoints, scores, **({"size": (4, 4), "sigma": 0.6} | change))


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """The least CPU time of this thread."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.slow
@pytest.mark.parametrize("limbs", [(), COCO.limbs], ids=["keypoints", "limbs"])
def test_a_clip_is_drawn_several_times_faster_than_in_loops(limbs):
    rng = np.random.default_rng(0)
    body = rng.normal(size=(1, 1, 17, 2)) * [7, 11] + [28, 28] + rng.normal(size=(2, 48, 17, 2))
    keypoints, scores = body.astype(np.float32), np.ones((2, 48, 17), np.float32)
    options: dict[str, Any] = {"with_keypoints": not limbs, "limbs": limbs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        points, heights = torch.from_numpy(keypoints)[None], torch.from_numpy(scores)[None]
        ours = _seconds(lambda: draw_heatmaps(points, heights, size=(56, 56), sigma=0.6, **options), 20)
    finally:
        torch.set_num_threads(threads)
    loops = _seconds(lambda: draw_sample(keypoints, scores, (56, 56), 0.6, **options), 3)
    # 10 to 14 on a quiet machine.
    assert loops > 5 * ours
