"""Real launches of two processes that talk over gloo."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from vidflow.engine.runs import RunFolder
from vidflow.engine.train import train

pytestmark = pytest.mark.slow
PROBE = ("--set", "model.name=probe_models:Probe")


def weights(output: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(output / name).weights("last"))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_stopped_run_of_two_processes_resumes_to_the_same_weights(
    launch, config_file, probe_models, tmp_path, monkeypatch
):
    common = (
        "--cfg",
        str(config_file),
        *PROBE,
        "--set",
        "train.epochs=2",
        "--set",
        "schedule.milestones=[1]",
        "--set",
        "train.batch_size=2",
        "--set",
    )
    launch("train.py", *common, "name=whole")
    # Only the second process gets the signal, in the second epoch (6 batches each): both must stop at one step.
    monkeypatch.setenv("VIDFLOW_PROBE", "SIGTERM:9:1")
    stopped = launch("train.py", *common, "name=stopped", expect=143)
    assert "the state is saved" in stopped.stderr
    assert RunFolder(tmp_path / "runs/stopped").saved_steps()[-1].name == "step-00000005"
    assert stopped.stderr.count("the state is saved") == 1
    monkeypatch.delenv("VIDFLOW_PROBE")
    shutil.copytree(tmp_path / "runs/stopped", tmp_path / "runs/alone")
    launch("train.py", *common, "name=stopped", "--resume")
    assert same(weights(tmp_path / "runs", "whole"), weights(tmp_path / "runs", "stopped"))
    # One process alone may go on too: of the second epoch, 2 x 4 batches of 2 samples are done, so 5 whole batches of
    # its 26 samples are left, in windows of 2, 2 and 1.
    finished = launch("train.py", *common, "name=alone", "--resume", processes=1)
    assert "resumes with 1 processes what 2 began" in finished.stderr
    log = [json.loads(line) for line in (tmp_path / "runs/alone/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["kind"] == "train"] == list(range(1, 9))
    assert [(line["epoch"], line["step"]) for line in log if line["kind"] == "val"] == [(1, 3), (2, 8)]


def test_a_loss_that_is_not_finite_on_one_process_ends_both(launch, config_file, probe_models, tmp_path, monkeypatch):
    monkeypatch.setenv("VIDFLOW_PROBE", "nan:8:1")
    start = time.monotonic()
    failed = launch("train.py", "--cfg", str(config_file), *PROBE, "--set", "train.batch_size=2", expect=7)
    assert time.monotonic() - start < 60
    assert "the loss is not finite after step 3" in failed.stderr
    assert "train/0" in failed.stderr
    assert all(value.isfinite().all() for value in weights(tmp_path / "runs", "tiny").values())


@pytest.mark.parametrize("batch", [*(pytest.param(size, marks=pytest.mark.long) for size in (1, 4)), 7])
def test_metrics_of_two_processes_are_those_of_one(launch, make_config, config_file, tmp_path, batch):
    if not (tmp_path / "runs/tiny").exists():
        train(make_config("train.epochs=3", "train.max_steps=4"))
    outputs = []
    for processes in (1, 2):
        dump = tmp_path / f"{processes}.parquet"
        done = launch(
            "test.py",
            "--run",
            str(tmp_path / "runs/tiny"),
            "--json",
            "--dump",
            str(dump),
            "--set",
            f"data.batch_size_eval={batch}",
            processes=processes,
        )
        outputs.append((json.loads(done.stdout), pq.read_table(dump).to_pydict()))
    (one, one_scores), (two, two_scores) = outputs
    assert one == two
    assert one["num_samples"] == 10
    assert one_scores["id"] == two_scores["id"] == [f"val/{i:03d}.mp4" for i in range(10)]
    torch.testing.assert_close(
        torch.tensor(one_scores["scores"]), torch.tensor(two_scores["scores"]), atol=1e-6, rtol=0
    )


def test_a_launcher_that_is_told_to_end_leaves_a_checkpoint(config_file, probe_models, tmp_path):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
        "experiments/train.py",
    ]
    process = subprocess.Popen(
        [
            *command,
            "--cfg",
            str(config_file),
            "--set",
            "train.epochs=100000",
            "--set",
            "train.val_every=0",
            "--set",
            "train.batch_size=2",
        ],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "runs/tiny/log.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the state is saved" in errors
    saved = RunFolder(tmp_path / "runs/tiny").saved_steps()[-1]
    last_logged = json.loads(log.read_text().splitlines()[-1])["step"]
    assert int(saved.name[5:]) == last_logged


def test_asking_cpu_launch_for_several_processes_says_how_to(config_file):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "experiments/train.py",
        "--cfg",
        str(config_file),
    ]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode != 0
    assert "--multi_gpu --num_processes N" in done.stderr
