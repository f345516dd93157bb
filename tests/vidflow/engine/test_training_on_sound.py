"""A whole run on sound: four pitches are learned, tested and dumped; mixing takes features as it takes clips."""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from tones import tone, write_sound

from vidflow.config.loading import load_config
from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train


@pytest.fixture(scope="session")
def pitches(tmp_path_factory):
    """Noisy tones in four octaves: 24 for training, 12 for tests."""
    root = tmp_path_factory.mktemp("pitches")
    rng = np.random.default_rng(0)
    for number in range(36):
        sound = tone(250 * 2 ** (number % 4), seconds=0.2) + 0.05 * rng.normal(size=3200)
        write_sound(root / f"src/{number % 4}_{'train' if number < 24 else 'test'}_{number}.wav", sound)
    command = [sys.executable, "-m", "vidflow", "shard", "--kind", "audio", "--src", str(root / "src"), "--quiet"]
    command += ["--name-regex", r"(?P<label>\d)_(?P<part>\w+)_\d+", "--split-rule", "test=part == 'test'"]
    command += ["--split-rule", "train", "--out", str(root / "shards")]
    subprocess.run(command, check=True, timeout=120)
    return root / "shards"


def test_four_pitches_are_told_apart(pitches, tmp_path):
    settings = ["train.epochs=6", "train.batch_size=8", "train.val_every=6", "data.num_threads=1"]
    settings += ["data.train.length=16", "data.val.length=16", "data.train.mixing={mixup=0.2}"]
    config = load_config("digits.toml", [f"data.root={pitches}", f"output={tmp_path}", *settings])
    train(config)
    run = RunFolder(tmp_path / "digits")
    report = evaluate_run(run, run.config(), dump=tmp_path / "scores.parquet")
    assert report.num_samples == 12
    assert report.metrics["top1"] >= 0.9
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table["id"].to_pylist()[0].endswith(".wav")
    assert np.isfinite(np.array(table["scores"].to_pylist())).all()
