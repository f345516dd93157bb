"""A training process that is killed again and again ends with the weights and the log of one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidflow.engine.runs import RunFolder
from vidflow.engine.train import train

pytestmark = pytest.mark.slow
OVERRIDES = (
    "model.name=probe_models:Probe", "train.ema=0.9", "optim.name=AdamW", "optim.lr=0.01", "optim.options={}",
    "optim.accumulate=1", "train.checkpoint_every_steps=1",
)  # fmt: skip
UNTOLD = ("time", "clips_per_s", "data_wait")


def log_of(config) -> list[dict]:
    lines = (Path(config.output) / config.name / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in UNTOLD} for line in lines]


def num_lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_kills_at_random_moments_change_nothing(make_config, config_file, probe_models, seed):
    whole = make_config(*OVERRIDES, "name=whole")
    train(whole)
    config = make_config(*OVERRIDES, "name=killed")
    words = [word for text in (*OVERRIDES, "name=killed") for word in ("--set", text)]
    command = [sys.executable, "-m", "vidflow", "train", "--cfg", str(config_file), "--resume", *words]
    log = Path(config.output) / "killed/log.jsonl"
    chance = random.Random(seed)
    for _ in range(3):
        begin = num_lines(log)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        target, deadline = begin + chance.randint(1, 5), time.monotonic() + 90
        while num_lines(log) < target and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert RunFolder(log.parent).saved_steps()
    train(config, resume=True)
    first, second = (load_file(RunFolder(Path(c.output) / c.name).weights("last")) for c in (whole, config))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert log_of(config) == log_of(whole)
