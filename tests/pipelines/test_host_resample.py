"""Resampling by OpenCV, against the reference."""

import numpy as np
import pytest
from pictures import frames_sample

from vidflow.config.pipeline import ClipPipeline, SegmentSampling, ThreeCrop
from vidflow.pipelines import host_resample, work
from vidflow.pipelines.effects import Effects
from vidflow.pipelines.executor import make_executor
from vidflow.pipelines.host_resample import can_resample, resampled_views, resamples_exactly
from vidflow.pipelines.plan import Plan, make_plan, sample_rng
from vidflow.pipelines.reading import read_samples
from vidflow.pipelines.reference import resample, resample_warped, view_matrix
from vidflow.pipelines.work import WorkItem

needs_exact_opencv = pytest.mark.skipif(not resamples_exactly(), reason="this OpenCV rounds to 1/32 pixel")


def plan_of(boxes, size, *, clips=(0,), warp=None, flow_length=0):
    return Plan(
        frames=np.arange(2 * (max(clips) + 1), dtype=np.int64),
        num_clips=max(clips) + 1,
        view_clips=np.array(clips, np.int64),
        boxes=np.array(boxes, np.float32),
        mirror=np.zeros(len(boxes), bool),
        size=size,
        effects=Effects(warp=warp),
        flow_length=flow_length,
    )


@pytest.fixture
def noise():
    """Where a shift by a fraction of a pixel shows most: uint8 [4, 60, 80, 3]."""
    return np.random.default_rng(1).integers(0, 256, (4, 60, 80, 3), np.uint8)


@needs_exact_opencv
@pytest.mark.parametrize("size", [(48, 64), (24, 24), (100, 130)], ids=["about as large", "smaller", "larger"])
@pytest.mark.parametrize(
    "box",
    [(0, 0, 80, 60), (10.3, 5.9, 61.7, 48.2), (11, 6, 62, 48), (0, 7, 48, 60), (33, 20, 38, 27), (79, 59, 80, 60),
     (0.25, 0, 3.5, 60)],
    ids=["whole", "between pixels", "of whole pixels", "at the frame's edge", "small", "one pixel", "narrow"],
)  # fmt: skip
def test_boxes_are_those_of_the_reference_to_one_grey_level(noise, box, size):
    (view,) = resampled_views(noise[:2], plan_of([box], size))
    expected = np.rint(resample(noise[:2], np.array(box, np.float32), size))
    assert view.shape == (2, *size, 3)
    assert np.abs(view - expected).max() <= 1


@needs_exact_opencv
def test_warped_frames_are_those_of_the_reference(noise):
    warp = np.array([[0.9, 0.2, 3.0], [-0.15, 1.1, 2.0]])
    plan = plan_of([(5, 5, 75, 55)], (40, 50), warp=warp)
    (view,) = resampled_views(noise[:2], plan)
    expected = np.rint(resample_warped(noise[:2], view_matrix(plan, 0), (40, 50)))
    assert np.abs(view - expected).max() <= 1
    assert (expected == host_resample.FILL).any()


def test_a_crop_of_the_output_s_size_is_only_cut_out(noise):
    (view,) = resampled_views(noise[:2], plan_of([(7, 3, 39, 27)], (24, 32)))
    assert (view == noise[:2, 3:27, 7:39]).all()


def test_each_view_shows_its_own_clip(noise):
    plan = plan_of([(0, 0, 32, 24), (8, 8, 40, 32)], (24, 32), clips=(1, 0))
    first, second = resampled_views(noise, plan)
    assert (first == noise[2:, :24, :32]).all()
    assert (second == noise[:2, 8:32, 8:40]).all()


def test_the_frames_stay_as_they_are(noise):
    before = noise.copy()
    resampled_views(noise[:2], plan_of([(1.5, 2.5, 60, 50)], (24, 32)))
    assert (noise == before).all()


def test_flow_is_left_to_the_graph():
    assert not can_resample(plan_of([(0, 0, 8, 8)], (8, 8), flow_length=5))


def test_an_opencv_that_is_not_exact_is_not_used(monkeypatch):
    monkeypatch.setattr(host_resample, "empty_pixels", lambda shape: np.zeros(shape, np.uint8))
    monkeypatch.setattr(host_resample._Warp, "__call__", lambda self, frame, out: None)
    resamples_exactly.cache_clear()
    try:
        assert not resamples_exactly()
    finally:
        monkeypatch.undo()
        resamples_exactly.cache_clear()


def test_dali_resamples_instead_and_gives_the_same(packed, monkeypatch):
    pipeline = ClipPipeline(sampling=SegmentSampling(num_segments=2), short_side=80, crop=ThreeCrop(), size=(64, 64))
    indices = packed.select("train")[:4]
    items = [
        WorkItem(record, make_plan(record, pipeline, sample_rng(0, 0, index)), data)
        for index, record, data in read_samples(packed, indices)
    ]
    with_opencv = make_executor(pipeline.normalize, "dali").run(items)
    monkeypatch.setattr(work, "can_resample", lambda plan: False)
    executor = make_executor(pipeline.normalize, "dali")
    assert executor.prepare(items[0])[0].shape[0] == 2
    levels = (executor.run(items) - with_opencv).abs() * np.float32(max(pipeline.normalize.std))
    assert levels.max() <= 1.01


def test_many_views_of_few_frames_count_for_the_memory_that_they_take():
    record, members = frames_sample(6)
    assert record.frames is not None
    one = plan_of([(0, 0, 8, 8)], (8, 8))
    many = plan_of([(0, 0, 8, 8)] * 30, (224, 224), clips=(0,) * 30)
    frame = record.frames.height * record.frames.width * 3
    assert WorkItem(record, one, members).num_bytes == 2 * frame
    assert WorkItem(record, many, members).num_bytes == 30 * 2 * 224 * 224 * 3
