"""Frame sampling: values of MMAction2 1.2.0, our differences from it, and bad input."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from vidflow.config.pipeline import ClipSampling, DenseSampling, Sampling, SegmentSampling
from vidflow.errors import DataError
from vidflow.pipelines.sampling import clip_shape, positions, sample_frames

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))
UNSUPPORTED = ("target_fps", "keep_tail_frames", "temporal_jitter")


def sampling_of(case: dict, *, random: bool) -> Sampling | None:
    """Our config for a case of the reference's; None where the case shows an option that we leave out."""
    values, kind = case["inputs"], case["what"].removeprefix("TRAIN ").split()[0]
    if "error" in case["outputs"] or values.get("start_index") or any(values.get(name) for name in UNSUPPORTED):
        return None
    if kind == "DenseSampleFrames" and values["clip_len"] == 1:
        return DenseSampling(
            num_segments=values["num_clips"],
            window=values["sample_range"],
            num_starts=values.get("num_sample_positions", 10),
            random=random,
        )
    if kind != "SampleFrames":
        return None
    twice = values.get("twice_sample", False)
    if values["clip_len"] == 1:
        return SegmentSampling(num_segments=values["num_clips"], twice=twice, random=random)
    return ClipSampling(
        length=values["clip_len"],
        interval=values["frame_interval"],
        num_clips=values["num_clips"],
        out_of_bound=values.get("out_of_bound_opt", "loop"),
        twice=twice,
        random=random,
    )


def runs_past_the_end(case: dict) -> bool:
    """Doubled clip sampling of a video longer than a clip, where starts of the reference run past the end."""
    values = case["inputs"]
    span = (values["clip_len"] - 1) * values["frame_interval"] + 1
    return bool(values.get("twice_sample")) and values["clip_len"] > 1 and values["total_frames"] > span


CASES = json.loads((PARITY / "ops/sampling.json").read_text())
TRAIN = [case for case in CASES if case["what"].startswith("TRAIN") and sampling_of(case, random=True)]
TEST = [
    case
    for case in CASES
    if not case["what"].startswith("TRAIN") and sampling_of(case, random=False) and not runs_past_the_end(case)
]


def test_the_reference_covers_all_three_samplings():
    kinds = {(type(sampling_of(case, random=False)), "twice" in case["what"]) for case in TEST}
    assert kinds == {
        (SegmentSampling, False),
        (SegmentSampling, True),
        (ClipSampling, False),
        (ClipSampling, True),
        (DenseSampling, False),
    }
    assert len(TEST) > 150
    assert len(TRAIN) > 50


@pytest.mark.parametrize("case", TEST, ids=lambda case: case["what"])
def test_test_frames_equal_the_reference(case):
    sampling = sampling_of(case, random=False)
    frames = sample_frames(case["inputs"]["total_frames"], sampling)
    assert frames.dtype == np.int64
    assert frames.shape == clip_shape(sampling)
    expected = case["outputs"]
    if "frame_inds" in expected:
        assert frames.reshape(-1).tolist() == expected["frame_inds"]
    else:
        assert frames.size == expected["n"]
        assert zlib.crc32(frames.astype("<i4").tobytes()) == expected["crc32_int32le"]


@pytest.mark.parametrize("case", TRAIN, ids=lambda case: case["what"])
def test_training_frames_cover_the_ranges_of_the_reference(case):
    sampling = sampling_of(case, random=True)
    num_frames = case["inputs"]["total_frames"]
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_frames(num_frames, sampling, rng).reshape(-1) for _ in range(3000)])
    low, high = np.array(case["outputs"]["min"]), np.array(case["outputs"]["max"])
    if sampling.kind == "dense" and num_frames > sampling.window:
        high = high + 1  # the reference never draws the last start
    if sampling.kind == "segments" and not case["outputs"]["always_nondecreasing"]:
        assert low[-1] == high[-1] == 0  # the reference wraps a frame beyond the end to the first one
        low[-1] = high[-1] = num_frames - 1
    assert (drawn.min(axis=0) == low).all()
    assert (drawn.max(axis=0) == high).all()


@pytest.mark.parametrize("num_frames", [1, 2, 5, 63, 64, 65, 100, 300])
@pytest.mark.parametrize("num_clips", [1, 2, 10])
@pytest.mark.parametrize("out_of_bound", ["loop", "repeat_last"])
def test_doubled_clips_are_spread_over_the_video_and_never_begin_beyond_it(num_frames, num_clips, out_of_bound):
    doubled = ClipSampling(length=8, interval=8, num_clips=num_clips, twice=True, out_of_bound=out_of_bound)
    as_many = ClipSampling(length=8, interval=8, num_clips=2 * num_clips, out_of_bound=out_of_bound)
    frames = sample_frames(num_frames, doubled)
    assert frames.tolist() == sample_frames(num_frames, as_many).tolist()
    if num_frames >= 57:
        assert (np.diff(frames, axis=1) == 8).all()
        assert frames[0, 0] == 0
        assert frames[-1, -1] == num_frames - 1


@pytest.mark.parametrize("num_frames", [1, 5])
def test_short_videos_loop_or_repeat_their_last_frame(num_frames):
    loop = sample_frames(num_frames, ClipSampling(length=8, out_of_bound="loop"))
    repeat = sample_frames(num_frames, ClipSampling(length=8, out_of_bound="repeat_last"))
    assert loop.tolist() == ([[0, 1, 2, 3, 4, 0, 1, 2]] if num_frames == 5 else [[0] * 8])
    assert repeat.tolist() == ([[0, 1, 2, 3, 4, 4, 4, 4]] if num_frames == 5 else [[0] * 8])


ALL_KINDS = [
    SegmentSampling(num_segments=8),
    SegmentSampling(num_segments=25, twice=True),
    ClipSampling(length=8, interval=8, num_clips=3),
    ClipSampling(length=16, interval=4, num_clips=5, twice=True, out_of_bound="repeat_last"),
    DenseSampling(num_segments=8, window=64, num_starts=7),
]


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("sampling", ALL_KINDS, ids=lambda sampling: sampling.kind)
def test_every_video_length_gives_the_promised_shape_inside_the_video(sampling, random):
    sampling = sampling.model_copy(update={"random": random})
    rng = np.random.default_rng(3)
    for num_frames in [*range(1, 140), 1000, 123457]:
        frames = sample_frames(num_frames, sampling, rng)
        assert frames.shape == clip_shape(sampling)
        assert frames.min() >= 0
        assert frames.max() < num_frames


@pytest.mark.parametrize("num_frames", [65, 66])
def test_dense_training_draws_every_window_of_the_video(num_frames):
    rng = np.random.default_rng(0)
    sampling = DenseSampling(num_segments=8, window=64, random=True)
    starts = {int(sample_frames(num_frames, sampling, rng)[0, 0]) for _ in range(200)}
    assert starts == set(range(num_frames - 64 + 1))


@pytest.mark.parametrize("num_frames", [1, 2, 5, 7, 8, 9, 15, 16, 17, 40])
@pytest.mark.parametrize("random", [False, True])
def test_segment_frames_stay_in_order(num_frames, random):
    frames = sample_frames(num_frames, SegmentSampling(num_segments=16, random=random), np.random.default_rng(0))
    assert (np.diff(frames) >= 0).all()


def test_segment_training_is_uniform_within_a_segment():
    rng = np.random.default_rng(1)
    sampling = SegmentSampling(num_segments=2, random=True)
    drawn = np.stack([sample_frames(20, sampling, rng)[0] for _ in range(5000)])
    counts = np.stack([np.bincount(drawn[:, 0], minlength=10), np.bincount(drawn[:, 1] - 10, minlength=10)])
    assert abs(counts - 500).max() < 5 * np.sqrt(500 * 0.9)


def test_doubled_segment_training_makes_two_different_draws():
    frames = sample_frames(800, SegmentSampling(random=True, twice=True), np.random.default_rng(0))
    assert frames.shape == (2, 8)
    assert (frames[0] // 100 == np.arange(8)).all()
    assert (frames[1] // 100 == np.arange(8)).all()
    assert (frames[0] != frames[1]).any()


def test_tests_do_not_touch_the_generator():
    rng = np.random.default_rng(5)
    for sampling in ALL_KINDS:
        sample_frames(100, sampling, rng)
    assert rng.random() == np.random.default_rng(5).random()


def test_random_sampling_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="'dense' sampling needs rng"):
        sample_frames(10, DenseSampling(random=True))


@pytest.mark.parametrize("num_frames", [0, -3])
def test_a_video_without_frames_is_refused(num_frames):
    with pytest.raises(ValueError, match=rf"num_frames \({num_frames}\)"):
        sample_frames(num_frames, SegmentSampling())


def test_a_dense_window_shorter_than_its_frames_is_refused():
    with pytest.raises(ValidationError, match=r"window \(4\) must be at least num_segments \(8\)"):
        DenseSampling(num_segments=8, window=4)


@pytest.mark.parametrize(
    "sampling", [ClipSampling(length=8, interval=2), DenseSampling(num_segments=8, window=16, random=True)]
)
def test_a_video_shorter_than_the_clip_is_refused_where_that_is_wanted(sampling):
    refusing = sampling.model_copy(update={"out_of_bound": "error"})
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r'the video has 9 frames and the clip spans 15; .* where = "num_frames >= 15"'):
        sample_frames(9, refusing, rng)
    assert sample_frames(16, refusing, rng).tolist() == sample_frames(16, sampling, np.random.default_rng(0)).tolist()


@pytest.mark.parametrize("num_frames", [1, 5])
def test_positions_beyond_a_short_video_are_told_from_its_frames(num_frames):
    places = positions(num_frames, ClipSampling(length=8))
    assert (places >= num_frames).tolist() == [[False] * num_frames + [True] * (8 - num_frames)]
