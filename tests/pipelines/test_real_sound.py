"""Real recordings: both executors give the offline features. Needs the folder VIDFLOW_MEDIA."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.config.audio import AudioPipeline
from vidflow.media.mel import mel_features
from vidflow.media.sound import probe_audio
from vidflow.media.track import read_track
from vidflow.pipelines.audio_inputs import make_audio_maker
from vidflow.pipelines.executor import has_dali
from vidflow.pipelines.plan import sample_rng
from vidflow.schema import SampleRecord

pytestmark = [
    pytest.mark.skipif("VIDFLOW_MEDIA" not in os.environ, reason="VIDFLOW_MEDIA names no folder of real media"),
    pytest.mark.skipif(not has_dali(), reason="DALI is not installed"),
]
FILES = [
    "audio/mmaction2_test.wav",
    "audio/torchcodec/sine_mono_s32.wav",
    "audio/torchcodec/nasa_13013.mp4.audio_44100.mp3",
    "audio/fsdd/recordings/7_jackson_0.wav",
]


@pytest.mark.parametrize("name", FILES)
def test_a_recording_has_the_offline_features_whatever_reads_it(name):
    path = Path(os.environ["VIDFLOW_MEDIA"]) / name
    info = probe_audio(path)
    record = SampleRecord(key="0", id=name, split="train", kind="audio", labels=(0,), audio=info)
    expected = mel_features(read_track(path, sample_rate=16_000))
    pipeline = AudioPipeline(length=len(expected))
    found = []
    for executor in ("reference", "dali"):
        maker = make_audio_maker(pipeline, device=torch.device("cpu"), executor=executor)
        item = maker.item(record, {info.container: path.read_bytes()}, [sample_rng(0, 0, 0)])
        found.append(maker.assemble([item], [maker.prepare(item)])["mel"][0, 0, 0].numpy())
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)
    lowered = info.sample_rate >= 16_000
    # FFmpeg and DALI raise rates by other filters; bands from 3.8 kHz on see it.
    bands = slice(0, 80 if lowered else 55)
    difference = np.abs(found[1] - expected)[:, bands]
    assert difference.max() < (1e-4 if lowered else 0.1)
    assert difference.mean() < (1e-5 if lowered else 1e-3)
