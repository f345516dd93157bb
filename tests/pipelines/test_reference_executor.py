"""The reference executor against DALI on the CPU, OpenCV, and values of MMAction2 1.2.0."""

import json
import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidflow.config.pipeline import Normalize
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import execute_plan, resample

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))
PIXELS = [
    pytest.param(case, id=case["what"])
    for case in json.loads((PARITY / "ops/geometry.json").read_text())
    if case["what"].startswith("Resize pixels") and case["inputs"]["interpolation"] == "bilinear"
]
RAW = Normalize(mean=(0, 0, 0), std=(1, 1, 1))
HEIGHT, WIDTH = 53, 71

# Box and output size (h, w): whole and broken numbers, enlarged and shrunk, inside and touching each border.
VIEWS = [
    ((0, 0, 71, 53), (53, 71)),
    ((0, 0, 71, 53), (24, 31)),
    ((0, 0, 71, 53), (112, 150)),
    ((10, 5, 30, 25), (20, 20)),
    ((10, 5, 30, 25), (40, 40)),
    ((10, 5, 30, 25), (7, 11)),
    ((10.3, 5.7, 30.2, 25.9), (47, 33)),
    ((10.3, 5.7, 30.2, 25.9), (9, 8)),
    ((0, 0, 12.5, 7.25), (64, 64)),
    ((58.5, 45.75, 71, 53), (64, 64)),
    ((0, 20.2, 71, 20.9), (5, 13)),
    ((33.1, 0, 33.6, 53), (13, 5)),
    ((0.4, 0.2, 70.6, 52.9), (64, 64)),
    ((70, 52, 71, 53), (3, 3)),
]


def clip(num_frames: int = 2, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Noise frames, the hardest case for an interpolation: uint8 [T, H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def single_view(box, size, *, num_frames: int = 2, mirror: bool = False, color=None) -> Plan:
    return Plan(
        frames=np.arange(num_frames),
        num_clips=1,
        view_clips=np.array([0]),
        boxes=np.array([box], np.float32),
        mirror=np.array([mirror]),
        size=size,
        color=None if color is None else np.array(color, np.float32),
    )


def random_views(count: int) -> list[tuple[tuple[float, ...], tuple[int, int]]]:
    rng = np.random.default_rng(9)
    views = []
    for _ in range(count):
        (x1, x2), (y1, y2) = np.sort(rng.uniform(0, WIDTH, 2)), np.sort(rng.uniform(0, HEIGHT, 2))
        views.append(((x1, y1, x2 + 0.01, y2 + 0.01), (int(rng.integers(1, 120)), int(rng.integers(1, 120)))))
    return [((x1, y1, min(x2, WIDTH), min(y2, HEIGHT)), size) for (x1, y1, x2, y2), size in views]


def run_dali(frames: np.ndarray, plans: list[Plan], normalize: Normalize) -> list[np.ndarray]:
    """One-view plans on DALI's CPU backend, as one batch; float32 [3, T, h, w] each."""
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    from nvidia.dali import fn, pipeline_def, types

    def source(make):
        return fn.external_source(lambda: [make(plan) for plan in plans])

    @pipeline_def(batch_size=len(plans), num_threads=1, device_id=None)
    def graph():
        video = fn.external_source(lambda: [frames] * len(plans), layout="FHWC")
        video = fn.resize(
            video,
            size=source(lambda plan: np.array(plan.size, np.float32)),
            roi_start=source(lambda plan: plan.boxes[0, 1::-1].copy()),
            roi_end=source(lambda plan: plan.boxes[0, :1:-1].copy()),
            interp_type=types.INTERP_LINEAR,
            antialias=False,
        )
        if plans[0].color is not None:
            brightness, contrast, saturation, hue, centre = (source(lambda plan, i=i: plan.color[i]) for i in range(5))
            video = fn.hsv(video, hue=hue, saturation=saturation, dtype=types.FLOAT)
            video = fn.brightness_contrast(
                video, brightness=brightness, contrast=contrast, contrast_center=centre, dtype=types.UINT8
            )
        return fn.crop_mirror_normalize(
            video,
            mirror=source(lambda plan: np.int32(plan.mirror[0])),
            mean=list(normalize.mean),
            std=list(normalize.std),
            dtype=types.FLOAT,
            output_layout="CFHW",
        )

    pipe = graph()
    pipe.build()
    (output,) = pipe.run()
    return [np.array(output.at(i)) for i in range(len(plans))]


def test_pixels_equal_those_of_dali_within_one_grey_level():
    frames = clip()
    plans = [single_view(box, size, mirror=i % 3 == 1) for i, (box, size) in enumerate(VIEWS + random_views(30))]
    for plan, theirs in zip(plans, run_dali(frames, plans, RAW), strict=True):
        ours = execute_plan(frames, plan, RAW)[0]
        assert ours.shape == theirs.shape == (3, 2, *plan.size)
        difference = abs(ours - theirs)
        assert difference.max() <= 1, plan.describe()
        assert (difference > 0).mean() < 0.02  # only halves, which float32 rounds either way


def test_colours_and_normalisation_equal_those_of_dali_within_two_grey_levels():
    frames, normalize = clip(), Normalize()
    rng = np.random.default_rng(2)
    plans = [
        single_view(
            box, size, mirror=bool(i % 2), color=[*rng.uniform(0.5, 1.5, 3), rng.uniform(-40, 40), rng.uniform(90, 160)]
        )
        for i, (box, size) in enumerate(VIEWS + random_views(10))
    ]
    for plan, theirs in zip(plans, run_dali(frames, plans, normalize), strict=True):
        difference = abs(execute_plan(frames, plan, normalize)[0] - theirs)  # [3, T, h, w]
        difference *= np.reshape(normalize.std, (3, 1, 1, 1))
        # One level of the resampling may become two by the colours, in a few pixels.
        assert difference.max() <= 2.01, plan.describe()
        assert (difference > 1.01).mean() < 0.005


@pytest.mark.parametrize("size", [(53, 71), (20, 31), (27, 36), (106, 142), (99, 100), (1, 1)])
def test_full_frames_equal_opencv_within_one_grey_level(size):
    frames = clip()
    ours = execute_plan(frames, single_view((0, 0, WIDTH, HEIGHT), size), RAW)[0]  # [3, T, h, w]
    for frame, view in zip(frames, ours.transpose(1, 2, 3, 0), strict=True):
        theirs = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR)
        assert abs(view - theirs).max() <= 1


@pytest.mark.parametrize("case", PIXELS)
def test_resized_pixels_equal_the_reference_within_one_grey_level(case):
    rule = case["inputs"]["img"]
    values = np.random.default_rng(zlib.crc32(rule["u"].encode())).random(rule["shape"], dtype=np.float32) * 2 - 1
    image = np.floor(values * np.float32(rule["scale"]) + np.float32(rule["offset"])).astype(np.uint8)
    height, width = image.shape[:2]
    size = (case["inputs"]["size_wh"][1], case["inputs"]["size_wh"][0])
    ours = execute_plan(image[None], single_view((0, 0, width, height), size, num_frames=1), RAW)[0, :, 0]
    assert abs(ours.transpose(1, 2, 0) - np.array(case["outputs"]["img"])).max() <= 1


def test_a_box_of_whole_pixels_at_its_own_size_is_a_copy():
    frames = clip()
    view = execute_plan(frames, single_view((13, 7, 43, 27), (20, 30)), RAW)[0]
    assert np.array_equal(view.transpose(1, 2, 3, 0), frames[:, 7:27, 13:43])


def test_an_enlarged_box_reads_the_pixels_beside_it():
    frame = np.zeros((1, 1, 6, 3), np.uint8)
    frame[:, :, 1] = 100  # just left of the box
    assert resample(frame, np.array([2, 0, 4, 1]), (1, 4))[0, 0, :, 0].tolist() == [25, 0, 0, 0]


def test_each_view_shows_its_clip_through_its_box():
    frames = clip(num_frames=6)
    plan = Plan(
        frames=np.arange(6),
        num_clips=2,
        view_clips=np.array([1, 0, 1]),
        boxes=np.array([[0, 0, 10, 8], [20, 30, 30, 38], [20, 30, 30, 38]], np.float32),
        mirror=np.array([False, False, True]),
        size=(8, 10),
    )
    views = execute_plan(frames, plan, RAW)
    assert views.dtype == np.float32
    assert views.shape == (3, 3, 3, 8, 10)
    views = views.transpose(0, 2, 3, 4, 1)  # [V, 3, T, h, w] -> [V, T, h, w, 3]
    assert np.array_equal(views[0], frames[3:, :8, :10])
    assert np.array_equal(views[1], frames[:3, 30:38, 20:30])
    assert np.array_equal(views[2], frames[3:, 30:38, 20:30][:, :, ::-1])


def test_normalisation_is_per_channel():
    frames = np.full((1, 4, 4, 3), [10, 20, 30], np.uint8)
    normalize = Normalize(mean=(10, 10, 10), std=(1, 2, 4))
    view = execute_plan(frames, single_view((0, 0, 4, 4), (2, 2), num_frames=1), normalize)[0]
    assert view[:, 0, 0, 0].tolist() == [0, 5, 5]


def test_colours_are_clipped_to_grey_levels():
    frames = clip()
    bright = single_view((0, 0, 20, 20), (20, 20), color=[3, 1, 1, 0, 128])
    view = execute_plan(frames, bright, RAW)[0]
    assert view.max() == 255
    assert np.array_equal(view.transpose(1, 2, 3, 0), np.minimum(frames[:, :20, :20].astype(int) * 3, 255))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (clip(3), r"frames are uint8 \[3, 53, 71, 3\], the plan needs uint8 \[2, H, W, 3\]"),
        (clip().astype(np.float32), "frames are float32"),
        (clip()[..., :1], r"uint8 \[2, 53, 71, 1\]"),
        (clip()[0], r"uint8 \[53, 71, 3\]"),
        (clip(height=20), "reach beyond frames of 20 x 71 pixels"),
    ],
)
def test_frames_of_another_plan_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        execute_plan(frames, single_view((0, 0, WIDTH, HEIGHT), (4, 4)), RAW)
