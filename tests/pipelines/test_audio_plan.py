"""Plans of sound: windows, stretches that go with frames, masks; drawn from (seed, epoch, sample) alone."""

import numpy as np
import pytest

from vidflow.config.audio import AlignedSampling, AudioPipeline, SpecAugment, WindowSampling
from vidflow.config.pipeline import ClipPipeline
from vidflow.config.sampling import ClipSampling, KeyTimeSampling, SegmentSampling
from vidflow.errors import DataError
from vidflow.pipelines.audio_plan import (
    AudioPlan,
    draw_stretches,
    make_audio_plan,
    num_audio_views,
    num_feature_frames,
    window_starts,
)
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.schema import AudioInfo, FeatureInfo, SampleRecord, VideoInfo


def stream(num_samples=160_000, sample_rate=16_000):
    info = AudioInfo(
        container="wav",
        codec="pcm_s16le",
        sample_rate=sample_rate,
        num_channels=1,
        num_samples=num_samples,
        duration=num_samples / sample_rate,
    )
    return SampleRecord(key="7", id="a.wav", split="train", kind="audio", labels=(1,), audio=info)


def packed_mel(num_frames):
    info = AudioInfo(container="mel.npy", num_mel_frames=num_frames, num_mels=80)
    return SampleRecord(key="8", id="a", split="train", kind="audio", labels=(1,), audio=info)


def video(num_frames=250, fps=25.0):
    step = round(12800 / fps)
    info = VideoInfo(
        container="mp4",
        codec="h264",
        pixel_format="yuv420p",
        width=64,
        height=48,
        num_frames=num_frames,
        fps=fps,
        duration=num_frames / fps,
        time_base=(1, 12800),
        pts_start=0,
        pts_step=step,
        has_audio=True,
    )
    return SampleRecord(key="9", id="a.mp4", split="train", labels=(1,), video=info)


def draw(record, pipeline, *, seed=0, epoch=0, index=3):
    return make_audio_plan(record, pipeline, sample_rng(seed, epoch, index))


def test_a_second_of_sound_has_64_frames_at_any_rate():
    mel = AudioPipeline().mel
    assert num_feature_frames(stream(16_000), mel) == 64
    assert num_feature_frames(stream(8_000, 8_000), mel) == 64
    assert num_feature_frames(stream(44_100, 44_100), mel) == 64
    assert num_feature_frames(packed_mel(50), mel) == 50
    assert num_feature_frames(video(25), mel) == 64


def test_a_test_takes_the_middle_and_views_are_spread_over_the_whole():
    plan = draw(packed_mel(100), AudioPipeline(length=20))
    assert (plan.starts.tolist(), plan.stops.tolist()) == ([40], [60])
    plan = draw(packed_mel(100), AudioPipeline(length=20, sampling=WindowSampling(num_views=3)))
    assert (plan.starts.tolist(), plan.stops.tolist()) == ([0, 40, 80], [20, 60, 100])
    assert not plan.frame_padding.any()


def test_a_short_sound_lies_in_the_middle_of_a_test_view_and_anywhere_in_training():
    plan = draw(packed_mel(10), AudioPipeline(length=16))
    assert np.flatnonzero(~plan.frame_padding[0]).tolist() == list(range(3, 13))
    random = AudioPipeline(length=16, sampling=WindowSampling(random=True))
    starts = {int(draw(packed_mel(10), random, index=index).starts[0]) for index in range(200)}
    assert starts == set(range(-6, 1))


def test_training_windows_reach_both_ends():
    starts = [window_starts(30, length=20, num_views=1, rng=np.random.default_rng(i))[0] for i in range(300)]
    assert set(starts) == set(range(11))


def test_plans_follow_from_seed_epoch_and_sample_alone():
    pipeline = AudioPipeline(length=20, sampling=WindowSampling(random=True), gain_db=6, masking=SpecAugment())
    first, again = draw(packed_mel(300), pipeline), draw(packed_mel(300), pipeline)
    assert first.to_dict() == again.to_dict()
    others = [draw(packed_mel(300), pipeline, **change) for change in ({"seed": 1}, {"epoch": 1}, {"index": 4})]
    assert all(other.to_dict() != first.to_dict() for other in others)
    without = draw(packed_mel(300), AudioPipeline(length=20, sampling=WindowSampling(random=True)))
    assert without.starts.tolist() == first.starts.tolist()  # masks do not change the stretch


@pytest.mark.parametrize("frames", [ClipSampling(length=16, interval=4, random=True), SegmentSampling(random=True)])
def test_the_sound_of_a_video_is_that_of_the_frames_which_a_clip_pipeline_draws(frames):
    record = video()
    for index in range(20):
        clip = make_plan(record, ClipPipeline(sampling=frames), sample_rng(5, 2, index))
        pipeline = AudioPipeline(length=2000, sampling=AlignedSampling(frames=frames))
        plan = make_audio_plan(record, pipeline, sample_rng(5, 2, index))
        # 25 frames and 62.5 frames of features per second.
        assert abs(plan.starts[0] - clip.frames.min() * 2.5) <= 0.5
        assert abs(plan.stops[0] - (clip.frames.max() + 1) * 2.5) <= 0.5


def test_sound_without_pictures_counts_frames_at_the_pipelines_rate():
    pipeline = AudioPipeline(length=500, sampling=AlignedSampling(frames=ClipSampling(length=30), fps=30))
    plan = draw(stream(), pipeline)  # 10 s, 626 frames of features: the middle one of 10 seconds
    assert (plan.starts.tolist(), plan.stops.tolist()) == ([282], [344])
    assert plan.frame_padding[0].sum() == 500 - 62


def test_a_clock_of_the_sampling_counts_for_sound_as_for_videos():
    frames = ClipSampling(length=30, target_fps=10)
    plan = draw(stream(), AudioPipeline(length=500, sampling=AlignedSampling(frames=frames, fps=30)))
    assert plan.stops[0] - plan.starts[0] == 188  # 3 of 10 s


def test_a_sampling_that_refuses_short_videos_refuses_short_sound():
    frames = ClipSampling(length=300, out_of_bound="error")
    with pytest.raises(DataError, match=r"sample 7 \(a.wav\): the video has 30 frames and the clip spans 300"):
        draw(stream(16_000), AudioPipeline(sampling=AlignedSampling(frames=frames)))


def test_a_stretch_longer_than_the_view_loses_its_end():
    pipeline = AudioPipeline(length=50, sampling=AlignedSampling(frames=ClipSampling(length=30), fps=30))
    plan = draw(stream(), pipeline)
    assert (plan.starts.tolist(), plan.stops.tolist()) == ([282], [332])


def test_time_masks_lie_in_the_sound_and_all_masks_within_their_widths():
    masking = SpecAugment(num_time_masks=3, time_width=9, time_part=0.5, num_frequency_masks=2, frequency_width=27)
    pipeline = AudioPipeline(length=40, sampling=WindowSampling(random=True), masking=masking)
    widths = []
    for index in range(200):
        plan = draw(packed_mel(12), pipeline, index=index)
        sound = np.flatnonzero(~plan.frame_padding[0])
        assert (plan.time_masks.shape, plan.frequency_masks.shape) == ((3, 2), (2, 2))
        assert plan.time_masks.min() >= sound[0]
        assert plan.time_masks.max() <= sound[-1] + 1
        assert 0 <= plan.frequency_masks.min() <= plan.frequency_masks.max() <= 80
        widths.append(np.diff(np.concatenate([plan.time_masks, plan.frequency_masks]))[:, 0])
    widths = np.stack(widths)
    assert set(widths[:, :3].ravel()) == set(range(7))  # half of 12 frames
    assert (widths[:, 3:].min(), widths[:, 3:].max()) == (0, 27)


def test_stretches_of_nothing_are_empty():
    assert draw_stretches(0, count=2, longest=0, rng=np.random.default_rng(0)).tolist() == [[0, 0], [0, 0]]


def test_a_plan_survives_json_and_is_told_in_words():
    plan = draw(packed_mel(300), AudioPipeline(length=20, gain_db=6, masking=SpecAugment(time_width=5)))
    again = AudioPlan.from_dict(plan.to_dict())
    assert again.to_dict() == plan.to_dict()
    assert again.describe().splitlines()[:2] == [
        "1 views of 20 frames",
        "view 0: from frame 140, sound up to frame 160",
    ]
    assert "dB" in plan.describe()


def test_the_number_of_views_is_known_without_a_sample():
    assert num_audio_views(AudioPipeline(sampling=WindowSampling(num_views=5))) == 5
    assert num_audio_views(AudioPipeline(sampling=AlignedSampling(frames=ClipSampling(length=8, num_clips=10)))) == 10


def test_a_sample_without_sound_is_named():
    record = SampleRecord(
        key="3", id="b", split="train", kind="feature", feature=FeatureInfo(num_steps=3, num_features=4)
    )
    with pytest.raises(DataError, match=r"sample 3 \(b\): is of kind feature, which has no sound"):
        draw(record, AudioPipeline())


def test_key_times_are_for_videos_with_boxes():
    pipeline = AudioPipeline(sampling=AlignedSampling(frames=KeyTimeSampling(length=8)))
    with pytest.raises(DataError, match=r"sample 7 \(a.wav\): has no pictures, so no frame at a key time"):
        draw(stream(), pipeline)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": np.zeros(0, np.int64)}, r"views \(0\) and length \(8\) must be positive"),
        ({"stops": np.zeros(2, np.int64)}, r"stops is int64 \[2\]; starts is \[1\]"),
        ({"time_masks": np.zeros(2, np.int64)}, r"time_masks is int64 \[2\]"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    arrays = {"starts": np.zeros(1, np.int64), "stops": np.zeros(1, np.int64)} | change
    with pytest.raises(ValueError, match=message):
        AudioPlan(length=8, **arrays)
