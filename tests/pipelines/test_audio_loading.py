"""Packed sound through the loader: both executors, videos with and without sound, damage, resuming, refusals."""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from damage import damage_sample
from tones import tone, write_sound

from vidflow.config.audio import AlignedSampling, AudioPipeline, SpecAugment, WindowSampling
from vidflow.config.sampling import ClipSampling
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, DecodeError
from vidflow.media.mel import mel_features
from vidflow.media.track import read_track
from vidflow.pipelines.executor import has_dali
from vidflow.pipelines.loader import build_loader

EXECUTORS = [
    "reference",
    pytest.param("dali", marks=pytest.mark.skipif(not has_dali(), reason="DALI is not installed")),
]
PIPELINE = AudioPipeline(
    length=24,
    sampling=WindowSampling(random=True, num_views=2),
    gain_db=6,
    masking=SpecAugment(time_width=4, frequency_width=8),
    mean=0.3,
    std=0.2,
)


def pack(source: Path, out: Path, *options: str) -> PackedDataset:
    command = [sys.executable, "-m", "vidflow", "shard", "--src", str(source), "--out", str(out), "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return PackedDataset.open(out)


@pytest.fixture(scope="session")
def tones_root(tmp_path_factory) -> Path:
    """16 sounds for training and 4 for tests in 4 classes of pitch; of several lengths, rates and formats."""
    root = tmp_path_factory.mktemp("tones")
    forms = [("wav", 16_000), ("flac", 8_000), ("wav", 44_100), ("mp3", 16_000)]
    for number in range(20):
        format, rate = forms[number // 4 % 4]
        sound = tone(300 * 2 ** (number % 4), seconds=0.3 + 0.05 * (number % 5), rate=rate)
        split = "train" if number < 16 else "val"
        write_sound(root / "src" / f"{number % 4}_{split}_{number}.{format}", sound, rate)
    names = ("--name-regex", r"(?P<label>\d)_(?P<part>\w+)_\d+", "--split-rule", "val=part == 'val'")
    pack(root / "src", root / "shards", "--kind", "audio", *names, "--split-rule", "train", "--max-count", "5")
    return root / "shards"


@pytest.fixture(scope="session")
def talkies(numbered_video, tmp_path_factory) -> PackedDataset:
    """A video with sound, and one without."""
    root = tmp_path_factory.mktemp("talkies")
    for name, seconds in (("loud", 2.0), ("silent", 0.0)):
        numbered_video(root / "src/train" / name / "a.mp4", num_frames=40, rate=20, audio_seconds=seconds)
    return pack(root / "src", root / "shards")


def loader(root, pipeline=PIPELINE, **options):
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2} | options
    return build_loader(PackedDataset.open(root), pipeline, **options)


@pytest.mark.skipif(not has_dali(), reason="DALI is not installed")
def test_both_executors_give_the_same_batches(tones_root):
    ours, theirs = (loader(tones_root, executor=name) for name in ("reference", "dali"))
    for one, other in zip(ours, theirs, strict=True):
        assert one.ids == other.ids
        assert one.inputs["mel"].shape == (4, 2, 1, 24, 80)
        assert torch.equal(one.inputs["mel_padding"], other.inputs["mel_padding"])
        # Bands above half of a raised rate hold rounding only.
        torch.testing.assert_close(one.inputs["mel"][..., :50], other.inputs["mel"][..., :50], rtol=0, atol=0.02)
    assert set(theirs.take_decoded_on_cpu()) == {"codec mp3float", "44100 Hz, which DALI lowers without a filter"}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_resumed_pass_gives_the_rest_to_the_last_bit(tones_root, executor):
    whole = list(loader(tones_root, executor=executor))
    first = loader(tones_root, executor=executor)
    iterator = iter(first)
    next(iterator)
    state = first.state_dict()
    iterator.close()
    again = loader(tones_root, executor=executor)
    again.load_state_dict(state)
    rest = list(again)
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[1:]]
    for one, other in zip(rest, whole[1:], strict=True):
        assert torch.equal(one.inputs["mel"], other.inputs["mel"])


@pytest.mark.parametrize("executor", EXECUTORS)
def test_damaged_sound_ends_the_pass_by_name_or_leaves_a_row_of_zeros(tones_root, tmp_path, executor):
    root = shutil.copytree(tones_root, tmp_path / "shards")
    index = int(PackedDataset.open(root).select("train")[6])
    name = damage_sample(root, index)
    with pytest.raises(DecodeError, match=name):
        list(loader(root, executor=executor))
    sound = {i: row for batch in loader(tones_root, executor=executor) for i, row in rows_of(batch)}
    found = list(loader(root, executor=executor, on_bad_sample="skip"))
    assert [skipped.id for batch in found for skipped in batch.skipped] == [name]
    for batch in found:
        for i, row in rows_of(batch):
            torch.testing.assert_close(row, torch.zeros_like(row) if i == index else sound[i], rtol=0, atol=1e-6)


def rows_of(batch):
    return zip(batch.indices.tolist(), batch.inputs["mel"], strict=True)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_sound_of_a_video_goes_with_its_frames_and_a_silent_one_is_padding(talkies, executor):
    pipeline = AudioPipeline(length=32, sampling=AlignedSampling(frames=ClipSampling(length=10)))
    (batch,) = build_loader(talkies, pipeline, split="train", batch_size=2, training=False, executor=executor)
    loud, silent = (batch.ids.index(f"train/{name}/a.mp4") for name in ("loud", "silent"))
    # Half a second from frame 15 of 20 a second on: from 0.75 s on, at 62.5 frames of features a second.
    data = (Path(str(talkies.storage.root)).parent / "src/train/loud/a.mp4").read_bytes()
    expected = mel_features(read_track(data, sample_rate=16_000))[47:78]
    np.testing.assert_allclose(batch.inputs["mel"][loud, 0, 0, :31], expected, atol=1e-5)
    assert batch.inputs["mel_padding"][loud, 0].tolist() == [False] * 31 + [True]
    assert not batch.inputs["mel"][loud, 0, 0, 31:].any()
    assert not batch.inputs["mel"][silent].any()
    assert batch.inputs["mel_padding"][silent].all()


@pytest.mark.parametrize("seconds", [0.5, -0.25])
def test_sound_that_starts_later_or_earlier_than_the_picture_stays_with_it(tmp_path, seconds):
    """A tone of one second, whose time stamps are shifted against those of 40 pictures at 20 a second."""
    path = tmp_path / "src/train/x/a.mkv"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as output:
        video, sound = output.add_stream("libx264", rate=20), output.add_stream("flac", rate=16_000)
        video.width = video.height = 32
        video.pix_fmt, sound.layout = "yuv420p", "mono"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 100, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + 10, Fraction(1, 20)  # pictures start at half a second
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray((tone(440, seconds=1)[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, round((0.5 + seconds) * 16_000), Fraction(1, 16_000)
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    data = pack(tmp_path / "src", tmp_path / "out")
    pipeline = AudioPipeline(length=125)
    (batch,) = build_loader(data, pipeline, split="train", batch_size=1, training=False, executor="reference")
    heard = np.flatnonzero(batch.inputs["mel"][0, 0, 0].max(dim=1).values > 0.3) / 62.5
    assert heard.min() == pytest.approx(max(seconds, 0), abs=0.04)
    assert heard.max() == pytest.approx(seconds + 1, abs=0.04)


def test_samples_without_sound_are_refused(tmp_path):
    (tmp_path / "src").mkdir()
    np.save(tmp_path / "src/0_a.npy", np.zeros((4, 3), np.float32))
    data = pack(
        tmp_path / "src",
        tmp_path / "out",
        "--kind",
        "feature",
        "--name-regex",
        r"(?P<label>\d)_\w+",
        "--split-rule",
        "train",
    )
    with pytest.raises(DataError, match="samples of kind feature, an audio pipeline reads audio and video"):
        build_loader(data, PIPELINE, split="train", batch_size=1, training=True)


def test_features_of_another_number_of_bands_are_refused(tmp_path):
    (tmp_path / "src").mkdir()
    np.save(tmp_path / "src/0_a.npy", np.zeros((4, 64), np.float32))
    data = pack(
        tmp_path / "src",
        tmp_path / "out",
        "--kind",
        "audio",
        "--name-regex",
        r"(?P<label>\d)_\w+",
        "--split-rule",
        "train",
    )
    with pytest.raises(DataError, match="features of 64 bands, the pipeline's have 80"):
        build_loader(data, PIPELINE, split="train", batch_size=1, training=True)
