"""A whole run on skeletons: three movements are learned from graphs and tested; an interrupted run ends the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from vidflow.config.loading import load_config
from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train

CONFIG = """
output = {output}
deterministic = true
[data]
root = {root}
val_split = "test"
test_split = "test"
num_threads = 1
[data.train]
kind = "skeleton"
sampling = {{ kind = "bins", length = 8, random = true }}
normalize = {{ kind = "screen" }}
features = ["joint", "joint_motion"]
num_people = 1
rotate = [10]
scale = 0.1
[data.val]
kind = "skeleton"
sampling = {{ kind = "bins", length = 8, num_clips = 2 }}
normalize = {{ kind = "screen" }}
features = ["joint", "joint_motion"]
num_people = 1
[model]
name = "stgcnpp-tiny"
options = {{ layout = "coco", in_channels = 6, width = 8, num_blocks = 2, wider_blocks = [2] }}
[optim]
name = "AdamW"
lr = 0.02
[schedule]
kind = "cosine"
by = "step"
[train]
epochs = 30
batch_size = 4
val_every = 30
"""


def movement(label: int, rng: np.random.Generator) -> np.ndarray:
    """[1, T, 17, 2] pixels of somebody whose wrists rise, spread, or rest."""
    frames = int(rng.integers(10, 20))
    body = np.random.default_rng(7).uniform(80, 120, (17, 2))
    points = body + rng.normal(0, 5, (1, 1, 1, 2)) + rng.normal(0, 1, (1, frames, 17, 2))
    path = np.linspace(0, 60, frames)
    points[0, :, 9:11, 1] -= path[:, None] * (label == 0)
    points[0, :, 9:11, 0] += path[:, None] * np.array([1, -1]) * (label == 1)
    return points.astype(np.float32)


@pytest.fixture(scope="session")
def movements(tmp_path_factory) -> Path:
    """24 training and 12 test samples of three classes."""
    root = tmp_path_factory.mktemp("movements")
    rng = np.random.default_rng(0)
    for number in range(36):
        split, label = "train" if number < 24 else "test", number % 3
        path = root / "src" / split / str(label) / f"{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, keypoint=movement(label, rng), size=np.array([200, 200]))
    command = [sys.executable, "-m", "vidflow", "shard", "--kind", "skeleton", "--src", str(root / "src"), "--quiet"]
    subprocess.run([*command, "--out", str(root / "shards")], check=True, timeout=120)
    return root / "shards"


def config_of(movements: Path, output: Path, *overrides: str):
    output.mkdir(parents=True, exist_ok=True)
    path = output / "moves.toml"
    path.write_text(CONFIG.format(output=json.dumps(str(output)), root=json.dumps(str(movements))))
    return load_config(str(path), overrides)


def test_three_movements_are_told_apart(movements, tmp_path):
    train(config_of(movements, tmp_path))
    run = RunFolder(tmp_path / "moves")
    report = evaluate_run(run, run.config(), dump=tmp_path / "scores.parquet")
    assert report.num_samples == 12
    assert report.metrics["top1"] >= 0.9
    assert np.isfinite(np.array(pq.read_table(tmp_path / "scores.parquet")["scores"].to_pylist())).all()


def test_a_run_that_was_interrupted_ends_with_the_same_weights(movements, tmp_path):
    short = ("train.epochs=2", "train.val_every=0")
    train(config_of(movements, tmp_path / "whole", *short))
    train(config_of(movements, tmp_path / "parts", *short, "train.max_steps=8"))
    train(config_of(movements, tmp_path / "parts", *short), resume=True)
    weights = [load_file(str(RunFolder(tmp_path / name / "moves").weights("last"))) for name in ("whole", "parts")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
