"""Sound tracks and mel features of videos, and that they pack."""

import json
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidflow.cli.main import main
from vidflow.errors import ConfigError, DataError, DecodeError
from vidflow.media.mel import num_mel_frames
from vidflow.media.sound import decode_audio, probe_audio
from vidflow.media.track import read_track, write_track
from vidflow.members import mel_array, stream_bytes
from vidflow.schema import SampleRecord


@pytest.fixture
def wav(tmp_path):
    """``wav("a.wav", samples, rate)`` writes int16 [channels, samples]."""

    def write(name: str, samples: np.ndarray, rate: int = 16000) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        layout = {1: "mono", 2: "stereo", 6: "5.1", 16: "hexadecagonal"}[len(samples)]
        with av.open(str(path), "w", format="wav") as container:
            stream = container.add_stream("pcm_s16le", rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


def noise(channels: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-32768, 32767, (channels, count), np.int16, endpoint=True)


@pytest.fixture
def talkies(tmp_path, numbered_video):
    """Four class folders with a video of 2 s of sound each, and one silent video."""
    root = tmp_path / "talkies"
    for name in ("train/a/1.mp4", "train/b/2.webm", "val/a/3.mp4", "val/b/4.mp4"):
        options = {"codec": "libvpx-vp9", "options": {}} if name.endswith("webm") else {}
        numbered_video(root / name, 6, height=48, width=64, audio_seconds=2.0, **options)
    numbered_video(root / "train/a/silent.mp4", 6, height=48, width=64)
    return root


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_sound_of_16_bits_stays_bit_for_bit(format, channels, wav, tmp_path):
    samples = noise(channels, 5000)
    track = write_track(wav("a.wav", samples, 44100), tmp_path / "b", format=format)
    assert (track.sample_rate, track.num_channels, track.num_samples) == (44100, channels, 5000)
    assert probe_audio(tmp_path / "b").container == format
    np.testing.assert_array_equal(np.rint(decode_audio(tmp_path / "b") * 32768).astype(np.int16), samples)


def test_more_channels_than_flac_holds_are_refused_and_wav_takes_them(wav, tmp_path):
    samples = noise(16, 500)
    source = wav("a.wav", samples)
    with pytest.raises(DataError, match=r"a.wav: 16 channels at 16000 Hz cannot be written as flac"):
        write_track(source, tmp_path / "b", format="flac")
    write_track(source, tmp_path / "c", format="wav")
    np.testing.assert_array_equal(np.rint(decode_audio(tmp_path / "c") * 32768).astype(np.int16), samples)


def test_the_same_sound_gives_the_same_bytes(wav, tmp_path):
    for name in "bc":
        write_track(wav("a.wav", noise(2, 5000)), tmp_path / name, format="flac")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_one_channel_is_the_mean_of_several_and_does_not_clip(wav, tmp_path):
    samples = np.full((2, 1000), 32000, np.int16)
    samples[1, 500:] = -32000
    write_track(wav("a.wav", samples), tmp_path / "b", format="wav", mono=True)
    found = decode_audio(tmp_path / "b")
    assert found.shape == (1, 1000)
    np.testing.assert_array_equal(found[0] * 32768, np.repeat([32000, 0], 500))


def test_another_rate_keeps_length_and_pitch(wav):
    seconds = np.arange(44100) / 44100
    tone = (8000 * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)[None]
    found = read_track(wav("a.wav", tone, 44100), sample_rate=16000)
    assert abs(found.size - 16000) <= 1
    expected = 8000 / 32768 * np.sin(2 * np.pi * 440 * np.arange(found.size) / 16000)
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=2e-3)


def test_tracks_of_videos_are_written_as_they_sound(talkies, tool, tmp_path, capsys):
    tool("extract", "audio", "--src", talkies, "--out", tmp_path / "out", "--workers", 2, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["found"], report["done"], report["failed"]) == (5, 4, 1)
    (failure,) = report["failures"]
    assert (failure["id"], failure["reason"]) == ("train/a/silent.mp4", "no sound stream")
    for name in ("train/a/1", "train/b/2", "val/b/4"):
        info = probe_audio(tmp_path / f"out/{name}.wav")
        assert (info.sample_rate, info.num_channels, info.codec) == (48000, 2, "pcm_s16le")
        assert info.duration == pytest.approx(2.0, abs=0.05)
        samples = decode_audio(tmp_path / f"out/{name}.wav")[0, 10000:80000]
        spectrum = np.abs(np.fft.rfft(samples))
        assert spectrum.argmax() * 48000 / samples.size == pytest.approx(0.05 / 2 / np.pi * 48000, rel=0.01)


def test_silent_videos_can_be_skipped(talkies, tool, tmp_path, capsys):
    words = ("--skip-silent", "--format", "flac", "--sample-rate", 16000, "--mono", "--json")
    for done, kept in ((4, 0), (0, 4)):
        tool("extract", "audio", "--src", talkies, "--out", tmp_path / "out", *words)
        report = json.loads(capsys.readouterr().out)
        counts = [report[name] for name in ("found", "done", "kept", "failed", "skipped")]
        assert counts == [5, done, kept, 0, 1]
    assert probe_audio(tmp_path / "out/val/a/3.flac").sample_rate == 16000
    assert not (tmp_path / "out/failed.jsonl").exists()


def test_damaged_sound_fails_and_leaves_no_file(wav, tool, tmp_path):
    wav("src/good.wav", noise(1, 4000))
    flac = tmp_path / "src/bad.flac"
    write_track(tmp_path / "src/good.wav", flac, format="flac")
    data = bytearray(flac.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    flac.write_bytes(data)
    tool("extract", "audio", "--src", tmp_path / "src", "--out", tmp_path / "out")
    (line,) = (tmp_path / "out/failed.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "bad.flac"
    assert "damaged" in json.loads(line)["reason"]
    assert not (tmp_path / "out/bad.wav").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("audio", "--sample-rate", 10), "--sample-rate 10: must lie in"),
        (("mel", "--fft-size", 511), "--fft-size 511: must be even"),
        (("mel", "--hop-size", 300), "--hop-size 300: must lie in"),
    ],
)
def test_options_that_do_not_fit_are_refused(words, message, talkies, tool, tmp_path):
    with pytest.raises(ConfigError, match=message):
        tool("extract", *words, "--src", talkies, "--out", tmp_path / "out")


def test_files_without_sound_or_that_are_none_are_refused_by_name(tmp_path, odd_media):
    with pytest.raises(DecodeError, match=r"base.mp4: no sound stream"):
        write_track(odd_media["base.mp4"], tmp_path / "a", format="wav")
    with pytest.raises(DecodeError, match=r"text.mp4: cannot be opened as sound"):
        read_track(odd_media["text.mp4"], sample_rate=16000)


def test_mel_features_are_made_packed_verified_and_read_back(talkies, tool, read_back, tmp_path, capsys):
    mel, shards = tmp_path / "mel", tmp_path / "shards"
    tool("extract", "mel", "--src", talkies, "--out", mel, "--skip-silent")
    features = np.load(mel / "train/b/2.npy")
    assert (features.dtype, features.shape[1]) == (np.float32, 80)
    samples = read_track(talkies / "train/b/2.webm", sample_rate=16000)
    assert len(features) == num_mel_frames(samples.size)
    tool("shard", "--kind", "audio", "--src", mel, "--out", shards)
    capsys.readouterr()
    tool("verify", shards)
    tool("inspect", shards, "--json")
    shown = capsys.readouterr().out
    report = json.loads(shown[shown.index("{") :])
    assert report["containers"] == {"mel.npy": 4}
    assert report["num_mel_frames"]["max"] == max(len(np.load(path)) for path in mel.rglob("*.npy"))
    packed = read_back(shards)
    assert len(packed) == 4
    for sample in packed:
        record = SampleRecord(**sample["json"])
        assert (record.kind, record.audio.num_mels, record.audio.sample_rate) == ("audio", 80, None)
        np.testing.assert_array_equal(mel_array(record, sample["fields"]), np.load(mel / record.id))
        with pytest.raises(DecodeError, match="has mel features and no sound stream"):
            stream_bytes(record, sample["fields"])
    tool("unpack", shards, tmp_path / "files")
    for name in ("train/a/1.npy", "val/b/4.npy"):
        assert (tmp_path / "files" / name).read_bytes() == (mel / name).read_bytes()


def test_the_track_of_a_video_becomes_the_sample(talkies, tool, read_back, tmp_path, capsys):
    tool("shard", "--kind", "audio", "--src", talkies, "--out", tmp_path / "shards", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["packed"], report["rejected_reasons"]) == (4, {"probe: no sound stream": 1})
    tool("verify", tmp_path / "shards")
    for sample in read_back(tmp_path / "shards"):
        record = SampleRecord(**sample["json"])
        assert (record.audio.container, record.audio.sample_rate) == ("flac", 48000)
        write_track(talkies / record.id, tmp_path / "track", format="wav")
        np.testing.assert_array_equal(
            decode_audio(stream_bytes(record, sample["fields"])), decode_audio(tmp_path / "track")
        )
        with pytest.raises(DecodeError, match="has sound as flac and no mel features"):
            mel_array(record, sample["fields"])


def test_mel_features_beside_sound_are_refused(talkies, tool, tmp_path):
    np.save(talkies / "train/a/1.npy", np.zeros((3, 80), np.float32))
    with pytest.raises(DataError, match=r"train/a/1.npy holds mel features and train/a/1.mp4 sound"):
        tool("shard", "--kind", "audio", "--src", talkies, "--out", tmp_path / "shards")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(80, np.float32), r"an array of float32 \[80\]; mel features are floats"),
        (np.zeros((0, 80), np.float32), r"an array of float32 \[0, 80\]"),
        (np.zeros((4, 80), np.int16), "an array of int16"),
        (np.full((4, 80), np.nan), "320 of 320 values are not finite"),
    ],
)
def test_arrays_that_are_no_mel_features_are_rejected(array, reason, tool, tmp_path):
    for name in ("train/a", "val/a"):
        (tmp_path / "src" / name).mkdir(parents=True)
    np.save(tmp_path / "src/train/a/good.npy", np.zeros((4, 80)))
    np.save(tmp_path / "src/val/a/bad.npy", array)
    tool("shard", "--kind", "audio", "--src", tmp_path / "src", "--out", tmp_path / "shards")
    (line,) = (tmp_path / "shards/rejected.jsonl").read_text().splitlines()
    assert re.search(reason, json.loads(line)["reason"])


def test_a_damaged_mel_member_fails_verification(talkies, tool, tmp_path):
    tool("extract", "mel", "--src", talkies, "--out", tmp_path / "mel", "--skip-silent")
    tool("shard", "--kind", "audio", "--src", tmp_path / "mel", "--out", tmp_path / "shards")
    shard = tmp_path / "shards/train-000000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data.replace(b"(", b"[", 1))
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(tmp_path / "shards")])
    assert stopped.value.code == 8
