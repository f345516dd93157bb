"""The audio pipeline's table: what it holds by default, and what is refused."""

import pytest
from pydantic import TypeAdapter, ValidationError

from vidflow.config.any_pipeline import Pipeline
from vidflow.config.audio import AlignedSampling, AudioPipeline, WindowSampling

ADAPTER = TypeAdapter(Pipeline)


def test_kind_audio_gives_an_audio_pipeline_with_the_published_features():
    pipeline = ADAPTER.validate_python({"kind": "audio"})
    assert isinstance(pipeline, AudioPipeline)
    assert pipeline.mel.model_dump() == {
        "sample_rate": 16000,
        "fft_size": 512,
        "hop_size": 256,
        "num_mels": 80,
        "lowest_hz": 125.0,
        "highest_hz": 7600.0,
    }
    assert (pipeline.length, pipeline.sampling, pipeline.mean, pipeline.std) == (128, WindowSampling(), 0.0, 1.0)


def test_frames_are_sampled_as_in_a_clip_pipeline():
    table = {"kind": "frames", "frames": {"kind": "segments", "num_segments": 3}}
    sampling = AudioPipeline.model_validate({"sampling": table}).sampling
    assert isinstance(sampling, AlignedSampling)
    assert (sampling.frames.num_segments, sampling.fps) == (3, 30.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"mel": {"hop_size": 300}}, r"fft_size \(512\) must be even, and hop_size \(300\) at most half"),
        ({"mel": {"sample_rate": 8000}}, r"highest_hz \(7600\) <= half of sample_rate \(8000\)"),
        ({"mel": {"lowest_hz": 7600}}, r"lowest_hz \(7600\) < highest_hz \(7600\)"),
        ({"length": 0}, "greater than 0"),
        ({"std": 0.0}, "greater than 0"),
        ({"sampling": {"kind": "frames"}}, "frames"),
        ({"sampling": {"kind": "frames", "frames": {"kind": "untrimmed"}}}, "untrimmed"),
        ({"masking": {"time_part": 1.5}}, "less than or equal to 1"),
        ({"flip_labels": {0: 1}}, "sound is never mirrored"),
        ({"crop": {"kind": "center"}}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_refused(table, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python({"kind": "audio", **table})
