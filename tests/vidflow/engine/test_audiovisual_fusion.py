"""Sound and pictures of the same shards: each model knows half of the class, and their fused scores all of it."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tones import tone

from vidflow.cli.main import main
from vidflow.config.loading import load_config
from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train


def write_talkie(path: Path, *, grey: int, hz: float, seed: int) -> None:
    """Half a second of noisy grey pictures and a tone."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        video, sound = output.add_stream("libx264", rate=16), output.add_stream("aac", rate=48000)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        for number in range(8):
            pixels = np.clip(grey + rng.normal(0, 20, (32, 32, 1)), 0, 255).astype(np.uint8).repeat(3, axis=2)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 16)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        samples = tone(hz, seconds=0.5, rate=48000) + 0.02 * rng.normal(size=24000).astype(np.float32)
        for start in range(0, 24000, 960):
            part = av.AudioFrame.from_ndarray(samples[None, start : start + 960].copy(), format="fltp", layout="mono")
            part.sample_rate, part.pts, part.time_base = 48000, start, Fraction(1, 48000)
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))


@pytest.fixture(scope="module")
def talkies(tmp_path_factory):
    """96 videos for training and 16 for tests: dark or bright, with a low or a high tone."""
    root = tmp_path_factory.mktemp("talkies")
    for number in range(112):
        bright, high = number % 2, number // 2 % 2
        split, name = ("train", "val")[number >= 96], f"{('dark', 'bright')[bright]} {('low', 'high')[high]}"
        path = root / "src" / split / name / f"{number}.mp4"
        write_talkie(path, grey=60 + 120 * bright, hz=(300, 2400)[high], seed=number)
    command = [sys.executable, "-m", "vidflow", "shard", "--quiet"]
    subprocess.run([*command, "--src", str(root / "src"), "--out", str(root / "shards")], check=True, timeout=120)
    return root / "shards"


SOUND = """
[model]
name = "audio-tiny"
[data.train]
kind = "audio"
length = 32
mean = 0.3
std = 0.25
[data.val]
kind = "audio"
length = 32
mean = 0.3
std = 0.25
"""
PICTURES = """
[model]
name = "tsn-tiny"
[data.train]
short_side = "none"
size = 32
crop = { kind = "full" }
sampling = { kind = "segments", num_segments = 2 }
[data.val]
short_side = "none"
size = 32
crop = { kind = "full" }
sampling = { kind = "segments", num_segments = 2 }
"""
TRAINING = """
[optim]
name = "AdamW"
lr = 3e-3
[schedule]
kind = "cosine"
by = "step"
[train]
epochs = 12
batch_size = 8
val_every = 12
checkpoint_every_epochs = 12
"""


def scores_of(name: str, text: str, root: Path, folder: Path) -> tuple[float, Path]:
    """Train and test a model: top-1, and the file of its scores."""
    (folder / f"{name}.toml").write_text(f"output = {json.dumps(str(folder))}\n{text}{TRAINING}")
    config = load_config(str(folder / f"{name}.toml"), [f"data.root={root}", "data.num_threads=1"])
    train(config)
    run, scores = RunFolder(folder / name), folder / f"{name}.parquet"
    return evaluate_run(run, run.config(), dump=scores).metrics["top1"], scores


@pytest.mark.long
def test_fused_scores_know_what_neither_model_knows(talkies, tmp_path, capsys):
    (heard, first), (seen, second) = (
        scores_of(name, settings, talkies, tmp_path) for name, settings in (("sound", SOUND), ("pictures", PICTURES))
    )
    assert heard <= 0.75
    assert seen <= 0.75
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["fuse", str(first), str(second), "--geometric", "--json"])
    report = capsys.readouterr().out
    assert not end.value.code, report
    assert json.loads(report)["metrics"]["top1"] >= 0.9
