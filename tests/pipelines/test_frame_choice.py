"""Frames by time stamps, key times and padding, on records of constant and variable frame rate."""

import numpy as np
import pytest
from pictures import frames_sample

from vidflow.config.pipeline import ClipPipeline
from vidflow.config.sampling import (
    BinSampling,
    ClipSampling,
    DenseSampling,
    KeyTimeSampling,
    SegmentSampling,
    UniformSampling,
)
from vidflow.errors import DataError
from vidflow.pipelines.frame_choice import choose_frames, choose_key_time
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.sampling import sample_frames
from vidflow.schema import SampleRecord, TimedBox, VideoInfo


def video(times: list[float], *, boxes: tuple[float, ...] = (), unit: int = 90000) -> SampleRecord:
    """A video whose frames begin at these times in seconds, in time stamps of 1 / unit; the last one lasts as long as
    the one before it."""
    stamps = [round(time * unit) for time in times]
    steps = set(np.diff(stamps).tolist())
    step = steps.pop() if len(steps) == 1 else None
    duration = (2 * stamps[-1] - stamps[-2]) / unit if len(stamps) > 1 else 0.04
    info = VideoInfo(
        container="mp4", codec="h264", pixel_format="yuv420p", width=64, height=48, num_frames=len(times), fps=25,
        duration=duration, time_base=(1, unit), pts_start=stamps[0], pts_step=step,
        pts=None if step else tuple(stamps), variable_frame_rate=step is None,
    )  # fmt: skip
    found = tuple(TimedBox(time=time, x1=0.1, y1=0.1, x2=0.5, y2=0.5, labels=(1,)) for time in boxes)
    return SampleRecord(key="000001", id="a.mp4", split="train", labels=(0,), video=info, boxes=found)


def steady(num_frames: int, fps: float) -> list[float]:
    return [i / fps for i in range(num_frames)]


def frames(record, sampling, rng=None, **options):
    return choose_frames(record, ClipPipeline(sampling=sampling, **options), rng or np.random.default_rng(0)).frames


@pytest.mark.parametrize(
    ("fps", "unit"),
    [
        *((fps, unit) for fps in (15, 24, 25, 30000 / 1001, 30, 60000 / 1001) for unit in (90000, 1000)),
        *((fps, units * fps) for fps in (15, 25, 30) for units in (1, 2)),
    ],
)
def test_the_samples_own_rate_as_the_target_changes_nothing(fps, unit):
    sampling = ClipSampling(length=8, interval=4, num_clips=3)
    for num_frames in (2, 7, 100, 301):
        record = video(steady(num_frames, fps), unit=unit)
        same = sampling.model_copy(update={"target_fps": fps})
        assert frames(record, same).tolist() == frames(record, sampling).tolist(), num_frames


@pytest.mark.parametrize("unit", [90000, 1000, 50, 25], ids=["mp4", "webm", "avi of fields", "avi of frames"])
def test_the_frame_on_screen_is_the_same_whatever_the_unit_of_the_time_stamps(unit):
    found = frames(video(steady(100, 25), unit=unit), UniformSampling(length=40, target_fps=10))
    begun = frames(video(steady(100, 25), unit=12800), UniformSampling(length=40, target_fps=10))
    assert found.tolist() == begun.tolist()
    clip = frames(video(steady(100, 25), unit=unit), ClipSampling(length=120, target_fps=30))
    assert clip[0].tolist() == [i * 25 // 30 for i in range(120)]


def test_half_the_rate_shows_every_second_frame():
    found = frames(video(steady(120, 60)), ClipSampling(length=8, interval=2, target_fps=30))
    assert np.diff(found).tolist() == [[4] * 7]


def test_a_higher_rate_than_the_videos_repeats_frames():
    found = frames(video(steady(50, 10)), ClipSampling(length=6, target_fps=20))
    assert np.diff(found).tolist() in ([[1, 0, 1, 0, 1]], [[0, 1, 0, 1, 0]])


def test_variable_rates_are_sampled_by_their_time_stamps():
    # Ten frames in the first second, then one each second: 5 s in all.
    times = [*steady(10, 10), 1.0, 2.0, 3.0, 4.0]
    found = frames(video(times), ClipSampling(length=5, interval=2, target_fps=2))
    assert found.tolist() == [[0, 10, 11, 12, 13]]  # at 0, 1, 2, 3 and 4 s
    by_frames = frames(video(times), ClipSampling(length=5, interval=2))
    assert by_frames.tolist() == [[2, 4, 6, 8, 10]]  # all within the first second


@pytest.mark.parametrize(
    "sampling",
    [
        SegmentSampling(num_segments=5, target_fps=10),
        DenseSampling(num_segments=5, window=10, num_starts=3, target_fps=10),
        UniformSampling(length=5, target_fps=10),
        BinSampling(length=5, target_fps=10),
    ],
    ids=lambda sampling: sampling.kind,
)
def test_every_sampling_counts_in_ticks_of_the_target_rate(sampling):
    record = video(steady(90, 30))
    ticks = sample_frames(30, sampling)
    assert frames(record, sampling).tolist() == (ticks * 3).tolist()


def test_single_pictures_have_the_rate_that_was_packed():
    record, _ = frames_sample(30, fps=30.0)
    assert np.diff(frames(record, ClipSampling(length=4, target_fps=10))).tolist() == [[3, 3, 3]]
    unknown, _ = frames_sample(30)
    with pytest.raises(DataError, match=r"sample 000003 \(walk/clip 3\): its frame rate is not known"):
        frames(unknown, ClipSampling(length=4, target_fps=10))


# -- short videos ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_frames", "policy", "expected", "num_padded"),
    [
        (5, "loop", [0, 1, 2, 3, 4, 0, 1, 2], 3),
        (5, "repeat_last", [0, 1, 2, 3, 4, 4, 4, 4], 3),
        (1, "loop", [0] * 8, 7),
        (1, "repeat_last", [0] * 8, 7),
        (8, "loop", list(range(8)), 0),
    ],
)
def test_short_videos_are_filled_up_and_the_filling_is_marked(num_frames, policy, expected, num_padded):
    pipeline = ClipPipeline(sampling=ClipSampling(length=8, out_of_bound=policy), crop={"kind": "three"}, size=32)
    plan = make_plan(video(steady(num_frames, 25) if num_frames > 1 else [0.0]), pipeline, sample_rng(0, 0, 0))
    assert plan.frames.tolist() == expected
    assert plan.frame_padding.shape == (3, 8)
    assert plan.frame_padding.tolist() == [[False] * (8 - num_padded) + [True] * num_padded] * 3


def test_a_sample_that_is_too_short_is_named_where_that_is_an_error():
    pipeline = ClipPipeline(sampling=ClipSampling(length=8, interval=4, out_of_bound="error"))
    with pytest.raises(DataError, match=r"sample 000001 \(a\.mp4\): the video has 20 frames and the clip spans 29"):
        make_plan(video(steady(20, 25)), pipeline, sample_rng(0, 0, 0))


# -- key times ---------------------------------------------------------------------------------------------------------


def test_the_clip_shows_the_key_time_in_its_middle():
    plan = make_plan(
        video(steady(250, 25), boxes=(4.0,)),
        ClipPipeline(sampling=KeyTimeSampling(length=8, interval=4)),
        sample_rng(0, 0, 0),
    )
    assert plan.key_time == 4.0
    assert plan.frames.tolist() == [84, 88, 92, 96, 100, 104, 108, 112]
    assert not plan.frame_padding.any()


def test_the_key_time_is_found_by_time_stamps():
    times = [*steady(10, 10), 1.0, 2.0, 3.0, 4.0]
    sampling = KeyTimeSampling(length=3)
    assert frames(video(times, boxes=(2.5,)), sampling).tolist() == [[10, 11, 12]]
    assert frames(video(times, boxes=(99.0,)), sampling).tolist() == [[12, 13, 13]]
    ticking = sampling.model_copy(update={"target_fps": 2.0})
    assert frames(video(times, boxes=(2.5,)), ticking).tolist() == [[11, 11, 12]]  # on screen at 2, 2.5 and 3 s


def test_a_key_time_near_the_end_repeats_the_last_frame_and_marks_it():
    choice = choose_frames(
        video(steady(50, 25), boxes=(1.96,)), ClipPipeline(sampling=KeyTimeSampling(length=5)), np.random.default_rng(0)
    )
    assert choice.frames.tolist() == [[47, 48, 49, 49, 49]]
    assert choice.padding.tolist() == [[False, False, False, True, True]]


def test_training_draws_any_key_time_and_tests_take_the_middle_one():
    record = video(steady(250, 25), boxes=(2.0, 2.0, 4.0, 6.0))
    rng = np.random.default_rng(0)
    assert {choose_key_time(record, rng) for _ in range(50)} == {2.0, 4.0, 6.0}
    assert choose_key_time(record, None) == 4.0


def test_a_sample_without_boxes_has_no_key_time():
    with pytest.raises(DataError, match=r"sample 000001 \(a\.mp4\): has no boxes, so no key time"):
        frames(video(steady(50, 25)), KeyTimeSampling(length=5))
