"""Sound files are decoded to their end before they are packed, and kept byte for byte."""

import shutil

import av
import numpy as np
import pytest
from tones import write_floats

from vidflow.errors import DataError, DecodeError
from vidflow.media.sound import decode_audio, probe_audio
from vidflow.media.track import read_track
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.sound_files import SoundFile


@pytest.fixture
def sound(tmp_path):
    """``sound("a.wav", samples)`` writes int16 [channels, samples] at 8 kHz in the format of the name."""

    def write(name: str, samples: np.ndarray, rate: int = 8000):
        path = tmp_path / "sound" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        codec = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "ogg": "libopus"}[path.suffix[1:].lower()]
        layout = "mono" if len(samples) == 1 else "stereo"
        with av.open(str(path), "w", format=path.suffix[1:].lower()) as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout=layout)
            frame.sample_rate = rate
            resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=stream.frame_size or None)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return path

    return write


def tone(channels: int = 1, count: int = 4000) -> np.ndarray:
    return (8000 * np.sin(np.arange(channels * count) / 9)).astype(np.int16).reshape(channels, count)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_sound_comes_back_sample_for_sample(sound, name, channels):
    samples = tone(channels)
    path = sound(name, samples)
    info = probe_audio(path)
    assert (info.container, info.sample_rate, info.num_channels, info.num_samples) == (name[2:], 8000, channels, 4000)
    assert info.duration == 0.5
    np.testing.assert_array_equal(decode_audio(path), (samples / 32768).astype(np.float32))
    np.testing.assert_array_equal(decode_audio(path.read_bytes()), decode_audio(path))


def test_mp3_is_probed(sound):
    path = sound("a.mp3", tone(), rate=16000)
    info = probe_audio(path)
    assert (info.container, info.sample_rate, info.num_channels) == ("mp3", 16000, 1)
    assert decode_audio(path).shape == (1, info.num_samples)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.95])
def test_cut_sound_is_refused(sound, name, keep):
    path = sound(name, tone())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DecodeError, match=r"cut short|cannot be opened|damaged|no sound"):
        probe_audio(path)


def test_a_wav_that_was_written_to_a_pipe_is_read_to_its_end(sound):
    path = sound("a.wav", tone())
    data = bytearray(path.read_bytes())
    data[4:8] = data[data.index(b"data") + 4 : data.index(b"data") + 8] = b"\xff\xff\xff\xff"
    assert probe_audio(bytes(data)).num_samples == 4000


def test_another_format_under_a_sound_name_is_refused(sound, tmp_path):
    path = sound("a.ogg", tone(2, 40000), rate=48000)
    renamed = tmp_path / "a.wav"
    shutil.copy(path, renamed)
    with pytest.raises(DecodeError, match="format ogg; sound is packed as wav, flac or mp3"):
        probe_audio(renamed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("name", ["a.wav", "a.mkv"])
@pytest.mark.parametrize(("channels", "type"), [(1, np.float32), (2, np.float32), (2, np.float64)])
def test_floats_that_are_no_sound_are_refused_with_the_first_ones_time(tmp_path, value, name, channels, type):
    samples = (tone(channels, 8000) / 32768).astype(type)
    samples[-1, [6000, 7000]] = value
    path = write_floats(tmp_path / name, samples, 8000)
    for read in (lambda: SoundFile().read(str(path), conceal=False), lambda: read_track(path, sample_rate=8000)):
        with pytest.raises(DecodeError, match=rf"{name}: .*the first at 0.750 s is {value:g}".replace("+", r"\+")):
            read()


def test_a_float_that_is_infinite_in_single_precision_only_is_refused(tmp_path):
    path = write_floats(tmp_path / "a.wav", np.full((1, 800), 1e300), 8000)
    with pytest.raises(DecodeError, match=r"the first at 0.000 s is 1e\+300"):
        decode_audio(path)


@pytest.mark.parametrize("loudness", [3.0, 2.0**31])
def test_floats_that_leave_the_usual_range_are_sound(tmp_path, loudness):
    samples = np.float32(loudness) * (tone() / 8000).astype(np.float32)
    path = write_floats(tmp_path / "a.wav", samples, 8000)
    assert probe_audio(path).num_samples == 4000
    np.testing.assert_array_equal(decode_audio(path), samples)


def test_class_folders_of_sound_are_packed_byte_for_byte(sound, packed, read_back, tmp_path):
    for name in ("train/cat/a.wav", "train/dog/b.FLAC", "val/cat/c.wav"):
        sound(name, tone())
    (tmp_path / "sound/train/cat/notes.txt").write_text("not sound")
    broken = sound("val/dog/d.wav", tone())
    broken.write_bytes(broken.read_bytes()[:-7])
    write_floats(tmp_path / "sound/val/dog/e.wav", np.full(800, np.nan, np.float32), 8000)
    source = read_source("audio", KindOptions(src=tmp_path / "sound"))
    report = packed(source)
    assert (report.packed, report.info.num_rejected, report.info.task) == (3, 2, "audio")
    reasons = {rejected.id: rejected.reason for rejected in report.rejected}
    assert reasons["val/dog/d.wav"] == "cut short, 7 bytes of sound are missing"
    assert reasons["val/dog/e.wav"].startswith("holds samples that are no sound, the first at 0.000 s is nan; ")
    assert report.skipped == {"another kind of file": 1}
    for sample in read_back(tmp_path / "out"):
        record = sample["json"]
        suffix = record["audio"]["container"]
        assert sample["fields"][suffix] == (tmp_path / "sound" / record["id"]).read_bytes()


def test_names_give_label_and_split(sound, tmp_path):
    for name in ("7_jackson_4.wav", "0_george_5.wav", "readme.wav"):
        sound(name, tone(1, 400))
    regex = r"(?P<label>\d)_(?P<speaker>\w+)_(?P<rep>\d+)"
    options = KindOptions(src=tmp_path / "sound", name_regex=regex, split_rules=("test=rep < 5", "train"))
    source = read_source("audio", options)
    assert [(item.id, item.labels, item.split) for item in source.items] == [
        ("0_george_5.wav", (0,), "train"),
        ("7_jackson_4.wav", (7,), "test"),
    ]
    assert source.skipped == {"name that --name-regex does not match": 1}


def test_a_folder_without_sound_is_refused(tmp_path):
    (tmp_path / "train/a").mkdir(parents=True)
    source = read_source("audio", KindOptions(src=tmp_path))
    assert source.items == ()
    with pytest.raises(DataError, match="no such folder"):
        read_source("audio", KindOptions(src=tmp_path / "none"))
