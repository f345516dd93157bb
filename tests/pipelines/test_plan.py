"""Plans: drawn from (seed, epoch, index) alone, checked, moved to labels, stored and printed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vidflow.config.pipeline import (
    ClipPipeline,
    ClipSampling,
    ColorJitter,
    DenseSampling,
    FullFrame,
    MultiScaleCrop,
    RandomResizedCrop,
    SegmentSampling,
    TenCrop,
    ThreeCrop,
)
from vidflow.errors import DataError
from vidflow.pipelines.plan import Plan, make_plan, num_views, sample_rng
from vidflow.schema import SampleRecord, VideoInfo

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))
REFERENCE = {case["what"]: case for case in json.loads((PARITY / "ops/geometry.json").read_text())}
TRAIN = ClipPipeline(
    sampling=SegmentSampling(random=True),
    crop=MultiScaleCrop(positions=13),
    flip=0.5,
    color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=20),
)
DENSE_TEN = ClipPipeline(sampling=DenseSampling(num_starts=10), crop=TenCrop())


def record(num_frames: int = 300, height: int = 256, width: int = 340) -> SampleRecord:
    video = VideoInfo(
        container="mp4",
        codec="h264",
        pixel_format="yuv420p",
        width=width,
        height=height,
        num_frames=num_frames,
        fps=30,
        duration=num_frames / 30,
        time_base=(1, 30),
        pts_start=0,
        pts_step=1,
    )
    return SampleRecord(key="000007", id="train/wave/a b.mp4", split="train", labels=(3,), video=video)


def plan(**changes) -> Plan:
    """A small valid plan: two clips of two frames, each seen through one box."""
    values = {
        "frames": np.array([0, 1, 5, 6]),
        "num_clips": 2,
        "view_clips": np.array([0, 1]),
        "boxes": np.array([[0, 0, 10, 20], [5, 5, 10, 10]], np.float32),
        "mirror": np.array([False, True]),
        "size": (40, 30),
    }
    return Plan(**(values | changes))


def test_the_same_seed_epoch_and_index_draw_the_same_plan():
    first, second = (make_plan(record(), TRAIN, sample_rng(11, 3, 42)).to_dict() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("other", [(12, 3, 42), (11, 4, 42), (11, 3, 43), (11, 42, 3)])
def test_another_seed_epoch_or_index_draws_another_plan(other):
    assert (
        make_plan(record(), TRAIN, sample_rng(11, 3, 42)).to_dict()
        != make_plan(record(), TRAIN, sample_rng(*other)).to_dict()
    )


def test_no_two_triples_share_a_generator():
    large = 2**32
    triples = [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (1, 0, 0),
        (large, 0, 0),
        (large + 1, 0, 0),
        (1, 1, 0),
        (0, 1, 1),
        (5, 1, 0),
        (5 + large, 0, 0),
    ]
    assert len({int(sample_rng(*triple).integers(2**62)) for triple in triples}) == len(triples)


@pytest.mark.parametrize("triple", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 2**32, 0), (0, 0, 2**32)])
def test_numbers_out_of_range_make_no_generator(triple):
    with pytest.raises(ValueError, match="must not be negative or too large"):
        sample_rng(*triple)


@pytest.mark.parametrize(
    "change",
    [
        {"color_jitter": None},
        {"flip": 0.0},
        {"crop": RandomResizedCrop()},
        {"sampling": ClipSampling(length=8, interval=4, random=True)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_one_concern_leaves_the_other_draws_alone(change):
    concern = {"color_jitter": "color", "flip": "mirror", "crop": "boxes", "sampling": "frames"}[next(iter(change))]
    changed = False
    for index in range(10):
        before = make_plan(record(), TRAIN, sample_rng(0, 0, index)).to_dict()
        after = make_plan(record(), TRAIN.model_copy(update=change), sample_rng(0, 0, index)).to_dict()
        changed |= before.pop(concern) != after.pop(concern)
        assert before == after
    assert changed


@pytest.mark.parametrize("num_frames", [1, 2, 7, 63, 300])
@pytest.mark.parametrize(
    "pipeline",
    [
        TRAIN,
        DENSE_TEN,
        ClipPipeline(),
        ClipPipeline(sampling=SegmentSampling(twice=True), crop=ThreeCrop(), size=256),
        ClipPipeline(sampling=ClipSampling(length=4, num_clips=3, random=True), crop=RandomResizedCrop(), flip=1),
    ],
    ids=["train", "dense-ten", "default", "twice-three", "random-clips"],
)
def test_views_come_clip_by_clip_and_their_number_does_not_depend_on_the_video(pipeline, num_frames):
    made = make_plan(record(num_frames, height=77, width=33), pipeline, sample_rng(0, 0, 0))
    crops = num_views(pipeline) // made.num_clips
    assert made.num_views == num_views(pipeline) == made.num_clips * crops
    assert made.view_clips.tolist() == [view // crops for view in range(made.num_views)]
    assert made.frames.max() < num_frames
    for clip in range(1, made.num_clips):  # all clips share the boxes and the mirroring
        assert (made.boxes[clip * crops :][:crops] == made.boxes[:crops]).all()
        assert (made.mirror[clip * crops :][:crops] == made.mirror[:crops]).all()


def test_ten_crops_of_ten_clips_mirror_every_second_view():
    made = make_plan(record(), DENSE_TEN, sample_rng(0, 0, 0))
    assert made.num_views == 100
    assert made.mirror.tolist() == [False, True] * 50


@pytest.mark.parametrize("flip", [0.0, 0.25, 1.0])
def test_mirroring_has_its_probability_and_takes_all_views(flip):
    pipeline = ClipPipeline(sampling=ClipSampling(length=2, num_clips=3), crop=ThreeCrop(), flip=flip)
    mirrors = np.stack([make_plan(record(), pipeline, sample_rng(0, 0, i)).mirror for i in range(400)])
    assert (mirrors == mirrors[:, :1]).all()
    assert abs(mirrors[:, 0].sum() - 400 * flip) <= 5 * np.sqrt(400 * flip * (1 - flip))


def test_a_test_plan_is_the_same_in_every_epoch():
    plans = [make_plan(record(), DENSE_TEN, sample_rng(seed, epoch, 0)).to_dict() for seed, epoch in [(0, 0), (5, 9)]]
    assert plans[0] == plans[1]


def test_a_sample_without_video_is_the_users_to_mend():
    with pytest.raises(DataError, match=r"train/wave/a b\.mp4: has no video"):
        make_plan(record().model_copy(update={"video": None}), TRAIN, sample_rng(0, 0, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": np.zeros((3, 4), np.float32)}, r"boxes is float32 \[3, 4\], not float32 \[2, 4\]"),
        ({"boxes": np.ones((2, 4))}, r"boxes is float64 \[2, 4\], not float32 \[2, 4\]"),
        ({"mirror": np.array([True])}, r"mirror is bool \[1\], not bool \[2\]"),
        ({"mirror": np.array([0, 1])}, r"mirror is int64 \[2\], not bool \[2\]"),
        ({"frames": np.zeros((2, 2), np.int64)}, r"frames is int64 \[2, 2\], not int64 \[2\]"),
        ({"frames": np.arange(4, dtype=np.int32)}, r"frames is int32"),
        ({"color": np.ones(3, np.float32)}, r"color is float32 \[3\], not float32 \[5\]"),
        ({"padding": np.zeros(3, bool)}, r"padding is bool \[3\], not bool \[4\]"),
        ({"frames": np.arange(5)}, r"frames \[5\] do not make 2 clips"),
        ({"frames": np.arange(0)}, r"frames \[0\] do not make 2 clips"),
        ({"num_clips": 0}, "do not make 0 clips"),
        ({"frames": np.array([0, 1, -2, 3])}, "must not be negative, not -2"),
        ({"view_clips": np.array([0, 2])}, r"view_clips \[0, 2\] must name some of the 2 clips"),
        ({"size": (0, 3)}, r"size must be positive, not \[0, 3\]"),
        ({"boxes": np.array([[0, 0, 1, 1], [3, 0, 3, 4]], np.float32)}, "x1 < x2"),
        ({"boxes": np.array([[0, 0, 1, 1], [-1, 0, 3, 4]], np.float32)}, "0 <= x1"),
        ({"boxes": np.array([[0, 0, 1, 1], [0, 0, np.nan, 4]], np.float32)}, "boxes must have"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_boxes_move_with_the_pixels_and_are_clipped():
    made = plan()
    moved = made.move_boxes(np.array([[0, 0, 10, 20], [5, 5, 10, 10], [-5, 10, 4, 30], [20, 30, 25, 35]]), 0)
    assert moved.dtype == np.float32
    # x counts 30 / 10 and y 40 / 20 output pixels per source pixel; the last box lies outside.
    assert moved.tolist() == [[0, 0, 30, 40], [15, 10, 30, 20], [0, 20, 12, 40], [30, 40, 30, 40]]


def test_boxes_of_a_mirrored_view_keep_left_before_right():
    moved = plan().move_boxes(np.array([[5, 5, 6, 10], [0, 0, 100, 100]]), 1)
    assert moved.tolist() == [[24, 0, 30, 40], [0, 0, 30, 40]]


def test_no_boxes_move_to_no_boxes():
    assert plan().move_boxes(np.zeros((0, 4)), 1).shape == (0, 4)


def test_boxes_move_as_in_the_reference_within_its_pixel_of_clipping():
    # Resize to short side 224, centre crop 200, mirror. The reference clips to the last pixel's centre, 199.
    case = REFERENCE["AVA boxes Resize -> CenterCrop 200 -> Flip"]
    pipeline = ClipPipeline(short_side=224, size=200, flip=1)
    made = make_plan(record(width=case["inputs"]["w"], height=case["inputs"]["h"]), pipeline, sample_rng(0, 0, 0))
    moved = made.move_boxes(np.array(case["inputs"]["gt_bboxes"]), 0)
    np.testing.assert_allclose(moved, case["outputs"]["gt_bboxes"], atol=1.001)
    inside = slice(4, 5)
    np.testing.assert_allclose(moved[inside], case["outputs"]["gt_bboxes"][inside], atol=0.01)


def test_keypoints_move_and_missing_ones_stay_missing():
    points = np.array([[[5, 5], [0, 0], [10, 7.5]], [[0, 5], [20, 30], [6, 10]]])
    moved = plan().move_keypoints(points, 1)
    assert moved.dtype == np.float32
    assert moved.tolist() == [[[30, 0], [0, 0], [0, 20]], [[60, 0], [-60, 200], [24, 40]]]


def test_moving_does_not_change_its_input():
    boxes, points = np.ones((1, 4)), np.ones((1, 2))
    plan().move_boxes(boxes, 1)
    plan().move_keypoints(points, 1)
    assert boxes.tolist() == [[1, 1, 1, 1]]
    assert points.tolist() == [[1, 1]]


def test_listed_labels_change_where_all_views_are_mirrored():
    mapping = {int(k): v for k, v in REFERENCE["Flip label map"]["inputs"]["flip_label_map"].items()}
    labels = tuple(REFERENCE["Flip label map"]["inputs"]["labels"])
    mirrored = plan(mirror=np.array([True, True]))
    assert mirrored.move_labels(labels, mapping) == tuple(REFERENCE["Flip label map"]["outputs"]["labels"])
    assert mirrored.move_labels((86, 87), {86: 87, 87: 86}) == (87, 86)
    assert plan(mirror=np.array([False, False])).move_labels(labels, mapping) == labels
    assert plan(mirror=np.array([False, True])).move_labels(labels, mapping) == labels


@pytest.mark.parametrize("pipeline", [TRAIN, DENSE_TEN, ClipPipeline(crop=FullFrame())])
def test_a_plan_survives_json(pipeline):
    made = make_plan(record(), pipeline, sample_rng(1, 2, 3))
    again = Plan.from_dict(json.loads(json.dumps(made.to_dict())))
    for name in ("frames", "view_clips", "boxes", "mirror", "color"):
        ours, theirs = getattr(made, name), getattr(again, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
    assert (again.num_clips, again.size) == (made.num_clips, made.size)


def test_a_description_names_frames_boxes_and_colours():
    text = plan(color=np.array([1.25, 1, 0.5, -10, 128], np.float32)).describe()
    assert text.splitlines() == [
        "2 views of 2 frames, 40 x 30 pixels",
        "clip 0: frames 0 1",
        "clip 1: frames 5 6",
        "view 0: clip 0, x 0.0 to 10.0, y 0.0 to 20.0",
        "view 1: clip 1, x 5.0 to 10.0, y 5.0 to 10.0, mirrored",
        "colour: brightness x1.25, contrast x1.00, saturation x0.50, hue -10.0 degrees",
    ]
