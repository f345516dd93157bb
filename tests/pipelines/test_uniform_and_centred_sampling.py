"""Samplings over the whole video and around a moment: values of MMAction2 1.2.0, and the shapes that they promise."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from vidflow.config.sampling import BinSampling, KeyTimeSampling, Sampling, UniformSampling, UntrimmedSampling
from vidflow.pipelines.sampling import clip_shape, has_fixed_clips, sample_frames

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))


def sampling_of(case: dict, *, random: bool) -> Sampling | None:
    """Our config for a case of the reference's; None for other samplings, options that we leave out, and errors."""
    values, kind = case["inputs"], case["what"].removeprefix("TRAIN ").split()[0]
    if "error" in case["outputs"] or values.get("start_index"):
        return None
    length = values.get("clip_len")
    match kind:
        case "UniformSample":
            return UniformSampling(length=length, num_clips=values.get("num_clips", 1), random=random)
        case "UniformSampleFrames":
            seed = values.get("seed", 255)
            return BinSampling(length=length, num_clips=values["num_clips"], random=random, test_seed=seed)
        case "UntrimmedSampleFrames":
            return UntrimmedSampling(
                length=length, interval=values["frame_interval"], clip_interval=values["clip_interval"]
            )
        case "SampleAVAFrames":
            return KeyTimeSampling(length=length, interval=values["frame_interval"], random=random)
    return None


def length_and_key(case: dict) -> tuple[int, int | None]:
    """Frames of the video, and the frame of the key time where the case has one."""
    values = case["inputs"]
    num_frames = values.get("total_frames") or values["shot_info"][1]
    key = values["fps"] * (values["timestamp"] - values["timestamp_start"]) if "timestamp" in values else None
    return num_frames, key


CASES = json.loads((PARITY / "ops/sampling.json").read_text())
TRAIN = [case for case in CASES if case["what"].startswith("TRAIN") and sampling_of(case, random=True)]
TEST = [case for case in CASES if not case["what"].startswith("TRAIN") and sampling_of(case, random=False)]


def test_the_reference_covers_all_four_samplings():
    kinds = [type(sampling_of(case, random=False)) for case in TEST]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    assert counts == {UniformSampling: 36, BinSampling: 92, UntrimmedSampling: 19, KeyTimeSampling: 35}
    assert len(TRAIN) == 19


@pytest.mark.parametrize("case", TEST, ids=lambda case: case["what"])
def test_test_frames_equal_the_reference(case):
    num_frames, key = length_and_key(case)
    sampling = sampling_of(case, random=False)
    frames = sample_frames(num_frames, sampling, key_frame=key)
    assert frames.dtype == np.int64
    if has_fixed_clips(sampling):
        assert frames.shape == clip_shape(sampling)
    if "frame_inds" in case["outputs"]:
        assert frames.reshape(-1).tolist() == case["outputs"]["frame_inds"]
    else:
        assert zlib.crc32(frames.astype("<i4").tobytes()) == case["outputs"]["crc32_int32le"]


@pytest.mark.parametrize("case", TRAIN, ids=lambda case: case["what"])
def test_training_frames_cover_the_ranges_of_the_reference(case):
    num_frames, key = length_and_key(case)
    sampling = sampling_of(case, random=True)
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_frames(num_frames, sampling, rng, key_frame=key).reshape(-1) for _ in range(4000)])
    assert drawn.min(axis=0).tolist() == case["outputs"]["min"]
    assert drawn.max(axis=0).tolist() == case["outputs"]["max"]
    assert bool((np.diff(drawn) >= 0).all()) == case["outputs"]["always_nondecreasing"]


@pytest.mark.parametrize(
    "sampling",
    [
        UniformSampling(length=8, num_clips=4),
        UniformSampling(length=8, random=True),
        BinSampling(length=16, num_clips=10),
        BinSampling(length=16, num_clips=2, random=True),
        KeyTimeSampling(length=9, interval=3),
        KeyTimeSampling(length=8, interval=5, random=True),
    ],
    ids=lambda sampling: f"{sampling.kind} {sampling.random}",
)
def test_every_video_length_gives_the_promised_shape_inside_the_video(sampling):
    rng = np.random.default_rng(3)
    for num_frames in [*range(1, 80), 1000]:
        frames = sample_frames(num_frames, sampling, rng, key_frame=num_frames // 3)
        assert frames.shape == clip_shape(sampling)
        assert frames.min() >= 0
        assert frames.max() < num_frames


def test_a_video_too_short_for_a_distance_of_clips_still_gives_one_in_its_middle():
    frames = sample_frames(5, UntrimmedSampling(length=3, clip_interval=16))
    assert frames.tolist() == [[1, 2, 3]]


def test_tests_of_bins_are_the_same_every_time_and_leave_numpys_own_generator_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()
    sampling = BinSampling(length=8, num_clips=2)
    assert sample_frames(100, sampling).tolist() == sample_frames(100, sampling).tolist()
    assert np.random.get_state()[1].tolist() == before


def test_an_untrimmed_sampling_promises_no_shape():
    assert not has_fixed_clips(UntrimmedSampling())
    with pytest.raises(ValueError, match="as many clips as the video has room for"):
        clip_shape(UntrimmedSampling())


def test_a_key_time_sampling_without_its_frame_is_refused():
    with pytest.raises(ValueError, match="'key_time' sampling needs key_frame"):
        sample_frames(10, KeyTimeSampling(length=3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformSampling(length=8, num_clips=4, random=True), r"num_clips \(4\) must be 1 with random = true"),
        (lambda: UniformSampling(length=0), "greater than 0"),
        (lambda: BinSampling(length=8, test_seed=-1), "greater than or equal to 0"),
        (lambda: UntrimmedSampling(random=True), "False"),
        (lambda: KeyTimeSampling(length=8, target_fps=0), "greater than 0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()
