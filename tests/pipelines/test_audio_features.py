"""Features of sound by NumPy and by DALI's graph: against MMAction2 1.2.0, against each other, and bad input."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from tones import tone, write_floats, write_sound

from vidflow.config.audio import AudioPipeline, MelSettings, WindowSampling
from vidflow.errors import ConfigError, DataError, DecodeError
from vidflow.media.mel import mel_features
from vidflow.media.sound import decode_audio, probe_audio
from vidflow.media.track import read_track
from vidflow.members import to_npy
from vidflow.pipelines.audio_features import cut_views, finish, sound_samples
from vidflow.pipelines.audio_inputs import AudioMaker, make_audio_maker
from vidflow.pipelines.audio_plan import AudioPlan
from vidflow.pipelines.audio_resample import raise_rate
from vidflow.pipelines.executor import has_dali
from vidflow.pipelines.plan import sample_rng
from vidflow.schema import AudioInfo, SampleRecord

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))
CASES = [
    case
    for case in json.loads((PARITY / "ops/audio.json").read_text())
    if case["what"].startswith("mel feature ") and "wave" in case["inputs"]
]
CPU = torch.device("cpu")
EXECUTORS = [
    "reference",
    pytest.param("dali", marks=pytest.mark.skipif(not has_dali(), reason="DALI is not installed")),
]
ATOL = 1e-5
"""Of features in [0, 1]: single precision, next to the least that counts as sound."""
needs_dali = pytest.mark.skipif(not has_dali(), reason="DALI is not installed")


def record_of(path: Path) -> SampleRecord:
    return SampleRecord(key="5", id=path.name, split="train", kind="audio", labels=(0,), audio=probe_audio(path))


def mel_of(path: Path, pipeline: AudioPipeline, executor: str, record=None, data=None):
    """[V, T, F] of one file, and the maker."""
    record = record or record_of(path)
    maker = make_audio_maker(pipeline, device=CPU, executor=executor)
    members = {record.audio.container: path.read_bytes()} if data is None else data
    item = maker.item(record, members, [sample_rng(0, 0, 0)])
    return maker.assemble([item], [maker.prepare(item)])["mel"][0, :, 0].numpy(), maker


def reference_wave(rule: dict) -> np.ndarray:
    if "u" in rule:
        drawn = np.random.default_rng(zlib.crc32(rule["u"].encode())).random(rule["shape"], dtype=np.float32) * 2 - 1
        return drawn * np.float32(rule["scale"]) + np.float32(rule["offset"])
    if rule["rule"].startswith("zeros"):
        return np.zeros(3000, np.float32)
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 16000)).astype(np.float32)


@needs_dali
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_the_graph_gives_the_features_of_the_reference(case):
    from vidflow.pipelines.audio_dali import wav_file
    from vidflow.pipelines.audio_graph import build_audio_graph

    inputs, expected = case["inputs"], case["outputs"]
    mel = MelSettings(fft_size=inputs["fft_size"], hop_size=inputs["hop_size"])
    length = expected["shape"][0]
    graph = build_audio_graph(mel, num_views=1, length=length, device_id=None, batch_size=1, num_threads=1)
    graph.feed_input("sound", [np.frombuffer(wav_file(reference_wave(inputs["wave"]), 16_000), np.uint8)])
    graph.feed_input("starts", [np.array([mel.hop_size - mel.fft_size], np.int32)])
    found = np.asarray(graph.run()[0].at(0))[0]
    assert list(found.shape) == expected["shape"]
    for row, values in expected["rows"].items():
        np.testing.assert_allclose(found[int(row)], values, atol=ATOL)
    assert found.sum(dtype=np.float64) == pytest.approx(expected["sum"], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_the_features_rate_gives_the_offline_features(tmp_path, executor, name, channels):
    sound = np.stack([tone(440), tone(1234, loudness=0.1)])[:channels]
    path = write_sound(tmp_path / name, sound)
    expected = mel_features(read_track(path, sample_rate=16_000))
    found, maker = mel_of(path, AudioPipeline(length=len(expected)), executor)
    assert found.shape == (1, len(expected), 80)
    np.testing.assert_allclose(found[0], expected, atol=ATOL)
    assert not maker.num_decoded_on_cpu


@needs_dali
@pytest.mark.parametrize(("rate", "tolerance"), [(8_000, 1e-3), (11_025, 0.02)])
def test_both_executors_raise_a_rate_alike(tmp_path, rate, tolerance):
    noise = np.random.default_rng(0).normal(size=rate // 2) * 0.1
    path = write_sound(tmp_path / "a.wav", noise, rate)
    pipeline = AudioPipeline(length=40, sampling=WindowSampling(num_views=2))
    (ours, _), (theirs, maker) = (mel_of(path, pipeline, executor) for executor in ("reference", "dali"))
    assert ours.shape == (2, 40, 80)
    below = slice(0, 50)  # bands that the lower rate has; above them only rounding is left
    np.testing.assert_allclose(theirs[..., below], ours[..., below], atol=tolerance)
    assert not maker.num_decoded_on_cpu


@pytest.mark.parametrize("rate", [8_000, 11_025])
def test_a_raised_rate_keeps_a_tone_and_its_length(rate):
    made = raise_rate(tone(1000, seconds=1, rate=rate), rate=rate, new_rate=16_000)
    assert made.shape == (16_000,)
    # Behind the end of the sound it is silent, so the last samples know less than the others.
    np.testing.assert_allclose(made[50:-50], tone(1000, seconds=1)[50:-50], atol=2e-3)


def test_lowering_a_rate_is_refused():
    with pytest.raises(ValueError, match=r"new_rate \(8000\) is lower than rate \(16000\)"):
        raise_rate(np.zeros(10, np.float32), rate=16_000, new_rate=8_000)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_the_lower_rate_cannot_hold_does_not_come_back_as_another_tone(tmp_path, executor):
    path = write_sound(tmp_path / "a.wav", tone(1000, rate=44_100) + tone(12_000, rate=44_100), 44_100)
    found, maker = mel_of(path, AudioPipeline(length=20), executor)
    expected = mel_features(read_track(path, sample_rate=16_000))
    start = (len(expected) - 20) // 2
    np.testing.assert_allclose(found[0], expected[start : start + 20], atol=ATOL)
    # 16 kHz - 12 kHz = 4 kHz: 60 dB below the tone that is really there.
    assert found[0, :, 55:62].max() < found[0].max() - 0.6
    if executor == "dali":
        assert maker.num_decoded_on_cpu == {"44100 Hz, which DALI lowers without a filter": 1}


@needs_dali
def test_mp3_is_decoded_before_the_graph_and_counted(tmp_path):
    path = write_sound(tmp_path / "a.mp3", tone(440))
    (ours, _), (theirs, maker) = (mel_of(path, AudioPipeline(length=30), name) for name in ("reference", "dali"))
    np.testing.assert_allclose(theirs, ours, atol=ATOL)
    assert maker.num_decoded_on_cpu == {"codec mp3float": 1} or maker.num_decoded_on_cpu == {"codec mp3": 1}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("damage", ["cut", "junk"])
def test_a_damaged_stream_is_refused_by_the_samples_name(tmp_path, executor, damage):
    path = write_sound(tmp_path / "a.wav", tone(440))
    record, data = record_of(path), path.read_bytes()
    data = data[: len(data) // 2] if damage == "cut" else b"junk" * 1000
    with pytest.raises(DecodeError, match=r"sample 5 \(a.wav\)"):
        mel_of(path, AudioPipeline(length=30), executor, record, {"wav": data})


@pytest.mark.parametrize("executor", EXECUTORS)
def test_one_damaged_stream_of_a_batch_is_found(tmp_path, executor):
    path = write_sound(tmp_path / "a.wav", tone(440))
    record, good = record_of(path), path.read_bytes()
    other = record.model_copy(update={"key": "6"})
    maker = make_audio_maker(AudioPipeline(length=30), device=CPU, executor=executor)

    def run(records_and_data):
        items = [maker.item(r, {"wav": data}, [sample_rng(0, 0, 0)]) for r, data in records_and_data]
        return maker.assemble(items, [maker.prepare(item) for item in items])["mel"]

    with pytest.raises(DecodeError, match=r"sample 6 \(a.wav\)"):
        run([(record, good), (other, good[:60] + b"\xff" * 5)])
    assert run([(record, good), (other, good)]).shape == (2, 1, 1, 30, 80)  # and it works on afterwards


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e15])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_packed_float_that_is_no_sound_is_refused_by_the_samples_name(tmp_path, executor, value, rate):
    samples = tone(440, rate=rate)
    good = write_floats(tmp_path / "a.wav", samples, rate)
    samples[rate // 4] = value
    bad = write_floats(tmp_path / "b.wav", samples, rate).read_bytes()
    with pytest.raises(DecodeError, match=r"sample 5 \(a.wav\): .*the first at 0.250 s is "):
        mel_of(good, AudioPipeline(length=30), executor, record_of(good), {"wav": bad})


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("loudness", [3.0, 2.0**31])
def test_floats_that_leave_the_usual_range_give_the_features_of_quieter_ones(tmp_path, executor, loudness):
    quiet, loud = (
        write_floats(tmp_path / f"{factor:g}.wav", tone(440) * np.float32(factor)) for factor in (1, loudness)
    )
    found, maker = mel_of(loud, AudioPipeline(length=30), executor)
    np.testing.assert_allclose(found, mel_of(quiet, AudioPipeline(length=30), executor)[0], atol=ATOL)
    assert not maker.num_decoded_on_cpu


@needs_dali
def test_a_wav_that_does_not_tell_its_length_is_read_by_ffmpeg_and_counted(tmp_path):
    """Programs that write to a pipe leave the length at 0, and DALI then reads nothing."""
    path = write_sound(tmp_path / "a.wav", tone(440))
    plain = path.read_bytes()
    start = plain.index(b"data") + 4
    piped = plain[:start] + bytes(4) + plain[start + 4 :]
    record = record_of(path).model_copy(update={"audio": probe_audio(piped)})
    assert record.audio.num_samples == 8000
    expected, _ = mel_of(path, AudioPipeline(length=30), "dali")
    found, maker = mel_of(path, AudioPipeline(length=30), "dali", record, {"wav": piped})
    np.testing.assert_allclose(found, expected, atol=ATOL)
    assert maker.num_decoded_on_cpu == {"read otherwise by DALI": 1}


@needs_dali
def test_codecs_that_only_ffmpeg_knows_are_counted(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(440))
    record = record_of(path)
    odd = record.model_copy(update={"audio": record.audio.model_copy(update={"codec": "adpcm_ima_wav"})})
    _, maker = mel_of(path, AudioPipeline(length=30), "dali", odd)
    assert maker.num_decoded_on_cpu == {"codec adpcm_ima_wav": 1}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_packed_features_are_cut_as_those_of_a_stream(tmp_path, executor):
    path = write_sound(tmp_path / "a.wav", tone(440))
    features = mel_features(decode_audio(path)[0])
    info = AudioInfo(container="mel.npy", num_mel_frames=len(features), num_mels=80)
    packed = SampleRecord(key="8", id="a", split="train", kind="audio", labels=(0,), audio=info)
    pipeline = AudioPipeline(length=20, sampling=WindowSampling(num_views=2), mean=0.3, std=0.2)
    stored, _ = mel_of(path, pipeline, executor, packed, {"mel.npy": to_npy(features)})
    streamed, _ = mel_of(path, pipeline, executor)
    np.testing.assert_allclose(stored, streamed, atol=ATOL / 0.2)
    with pytest.raises(DataError, match=r"sample 8 \(a\): has features of 80 bands, the pipeline's have 64"):
        mel_of(path, AudioPipeline(mel={"num_mels": 64}), executor, packed, {"mel.npy": to_npy(features)})
    with pytest.raises(DecodeError, match=r"sample 8 \(a\), mel.npy: has values that are not finite"):
        mel_of(path, pipeline, executor, packed, {"mel.npy": to_npy(np.full_like(features, np.nan))})


@pytest.mark.parametrize("executor", EXECUTORS)
def test_other_settings_reach_the_features(tmp_path, executor):
    path = write_sound(tmp_path / "a.wav", tone(440, rate=8000), 8000)
    settings = {"sample_rate": 8000, "fft_size": 256, "hop_size": 80, "num_mels": 40, "highest_hz": 3800.0}
    found, _ = mel_of(path, AudioPipeline(mel=settings, length=50), executor)
    expected = mel_features(decode_audio(path)[0], lowest_hz=125.0, **settings)
    start = (len(expected) - 50) // 2
    np.testing.assert_allclose(found[0], expected[start : start + 50], atol=ATOL)


def test_views_reach_beyond_both_ends_in_zeros():
    features = np.arange(1, 11, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    plan = AudioPlan(starts=np.array([-2, 6, 4]), stops=np.array([4, 10, 6]), length=6)
    views = cut_views(features, plan)[:, :, 0]
    assert views.tolist() == [[0, 0, 1, 2, 3, 4], [7, 8, 9, 10, 0, 0], [5, 6, 0, 0, 0, 0]]


def test_gain_leaves_silence_alone_and_masks_hold_the_mean():
    plan = AudioPlan(
        starts=np.array([0]),
        stops=np.array([4]),
        length=5,
        gain_db=10.0,
        time_masks=np.array([[1, 2]]),
        frequency_masks=np.array([[2, 3]]),
    )
    views = torch.full((1, 1, 5, 4), 0.5)
    views[0, 0, 0] = torch.tensor([0.0, 0.95, 0.5, 0.2])
    out = finish(views, [plan], mean=0.1, std=2.0)[0, 0, 0]
    want = torch.full((5, 4), 0.6)
    want[0] = torch.tensor([0.0, 1.0, 0.6, 0.3])
    want[4] = 0.0  # behind the sound
    want = (want - 0.1) / 2
    want[1], want[:, 2] = 0.0, 0.0
    torch.testing.assert_close(out, want)


def test_sound_of_another_length_than_packed_is_told():
    samples = b"RIFF"
    record = SampleRecord(
        key="5",
        id="a.wav",
        split="train",
        kind="audio",
        labels=(0,),
        audio=AudioInfo(
            container="wav", codec="pcm_s16le", sample_rate=16_000, num_channels=1, num_samples=10, duration=10 / 16_000
        ),
    )
    with pytest.raises(DecodeError, match=r"sample 5 \(a.wav\): "):
        sound_samples(record, samples, 16_000)


def test_there_is_no_gpu_decoder_of_sound():
    with pytest.raises(ConfigError, match="decode = 'gpu': there is no decoder of sound on a GPU"):
        make_audio_maker(AudioPipeline(), device=CPU, decode="gpu")
    assert type(make_audio_maker(AudioPipeline(), device=CPU, executor="reference")) is AudioMaker
