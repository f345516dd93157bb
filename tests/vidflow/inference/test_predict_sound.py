"""Prediction on sound files and on the sound of videos gives what testing gives on the packed set."""

import math
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from small_run import small_run
from tones import write_floats

from vidflow.cli.main import main
from vidflow.demo import encode_clip
from vidflow.errors import ConfigError
from vidflow.inference import FilePrediction, Predictor
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.profiles import choose_profile
from vidflow.shards.sources.by_kind import KindOptions, read_source

RATE = 16_000
TONES = {"low": 220.0, "high": 1760.0}


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """int16 [N]."""
    times = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.02, len(times))
    return (8000 * (np.sin(2 * math.pi * hertz * times) + noise)).clip(-32768, 32767).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def write_sound(path: Path, samples: np.ndarray, *, codec: str, video: bool = False) -> None:
    """A sound file of any codec, or a video of grey frames with that sound."""
    with av.open(path, "w") as file:
        picture = file.add_stream("mpeg4", rate=10) if video else None
        sound = file.add_stream(codec, rate=RATE, layout="mono")
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            for _ in range(int(10 * len(samples) / RATE)):
                grey = np.full((48, 64, 3), 90, np.uint8)
                file.mux(picture.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            file.mux(picture.encode())
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        file.mux(sound.encode(frame))
        file.mux(sound.encode())


@dataclass(frozen=True)
class SoundRun:
    run: Path
    files: Path
    tested: dict[str, np.ndarray]
    """Id -> scores that testing gives on the packed set."""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> SoundRun:
    """A run of one epoch."""
    root = tmp_path_factory.mktemp("sounds")
    files = root / "files"
    for split, count in (("train", 6), ("val", 4)):
        for name, hertz in TONES.items():
            for number in range(count):
                samples = tone(hertz, 0.5 + 0.2 * (number % 3), number)
                write_wav(files / split / name / f"{number}.wav", samples)
    source = read_source("audio", KindOptions(src=files))
    pack(source, root / "packed", PackOptions(profile=choose_profile("copy")), workers=1)
    pipeline = {"kind": "audio", "length": 48, "mean": 0.3, "std": 0.25}
    run, tested = small_run(root, pipeline, {"name": "audio-tiny"}, lr=0.05)
    return SoundRun(run, files, tested)


@pytest.fixture(scope="module")
def predictor(sounds) -> Predictor:
    return Predictor(sounds.run, num_threads=2)


def scores_of(prediction: FilePrediction) -> np.ndarray:
    assert prediction.error is None, prediction.error
    return np.array([found.score for found in sorted(prediction.top, key=lambda found: found.label)])


def test_files_get_the_scores_that_testing_gives_their_packed_copies(sounds, predictor):
    found = predictor([sounds.files / "val"])
    assert len(found) == len(sounds.tested) == 8
    for prediction in found:
        expected = sounds.tested[Path(prediction.path).relative_to(sounds.files).as_posix()]
        np.testing.assert_allclose(scores_of(prediction), expected, atol=1e-5)
        assert prediction.duration == pytest.approx(0.7, abs=0.21)
        assert prediction.num_frames is None
    assert np.ptp(list(sounds.tested.values()), axis=0).max() > 1e-2


def test_the_same_sound_in_other_files_gives_nearly_the_same(predictor, tmp_path):
    samples = tone(440, 0.8, 0)
    write_wav(tmp_path / "a.wav", samples)
    write_sound(tmp_path / "b.flac", samples, codec="flac")
    write_sound(tmp_path / "c.mov", samples, codec="pcm_s16le", video=True)
    wav, flac, video = (scores_of(prediction) for prediction in predictor([tmp_path]))
    np.testing.assert_allclose(flac, wav, atol=1e-5)
    np.testing.assert_allclose(video, wav, atol=1e-3)


def test_bad_files_are_reported_and_stop_no_other(sounds, predictor, tmp_path):
    good = sounds.files / "val/low/0.wav"
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.mp3").write_bytes(b"")
    encode_clip(tmp_path / "silent.mp4", np.zeros((10, 48, 48, 3), np.uint8), 10)
    write_floats(tmp_path / "nan.wav", np.append(np.zeros(RATE, np.float32), np.float32("nan")))
    files = ["text.wav", "empty.mp3", "silent.mp4", "none.flac", "nan.wav"]
    found = predictor([good, *(tmp_path / name for name in files), good])
    assert scores_of(found[0]).tolist() == pytest.approx(scores_of(found[-1]).tolist(), abs=1e-6)
    for name, prediction in zip(files, found[1:-1], strict=True):
        assert str(tmp_path / name) in prediction.error
    assert found[3].error.endswith("silent.mp4: no sound stream")
    assert "nan.wav: holds samples that are no sound, the first at 1.000 s is nan" in found[5].error


def test_views_that_go_with_frames_follow_the_times_of_the_video(sounds, tmp_path):
    """The first half is low, the second high: a clip of the first frames hears the one, of the last ones the other."""
    samples = np.concatenate([tone(TONES["low"], 2, 0), tone(TONES["high"], 2, 0)])
    write_sound(tmp_path / "a.mov", samples, codec="pcm_s16le", video=True)
    for number, seconds in (("low", 0.0), ("high", 2.0)):
        part = samples[int(seconds * RATE) :][: 2 * RATE]
        write_wav(tmp_path / f"{number}.wav", part)
    aligned = "data.val.sampling={kind='frames', fps=10, frames={kind='clips', length=4, num_clips=2}}"
    video, low, high = Predictor(sounds.run, overrides=[aligned])(
        [tmp_path / name for name in ("a.mov", "low.wav", "high.wav")]
    )
    lowest, highest = sorted([scores_of(low)[0], scores_of(high)[0]])
    assert lowest < scores_of(video)[0] < highest
    assert video.num_frames == 40


def test_drawing_sound_is_refused(sounds, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["predict", str(sounds.files), "--run", str(sounds.run), "--draw", str(tmp_path / "out.mp4")])
    assert end.value.code == 2
    assert "of sound there is nothing to draw" in capsys.readouterr().err


def test_a_sampling_that_needs_boxes_is_refused(sounds):
    frames = "data.val.sampling={kind='frames', frames={kind='key_time', length=4}}"
    with pytest.raises(ConfigError, match="files have no boxes"):
        Predictor(sounds.run, overrides=[frames])
