"""A packed set of tiny clips, a config for it, and runs in this process or in two."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from vidflow import manifest
from vidflow.config.experiment import Experiment
from vidflow.config.loading import load_config
from vidflow.dataset import DatasetInfo, ShardInfo, SplitInfo
from vidflow.demo import encode_clip
from vidflow.media.probe import probe_video
from vidflow.schema import Location, SampleRecord

REPOSITORY = Path(__file__).parents[3]
CLASSES = ("dark", "middle", "bright")


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def pack(
    root: Path,
    labels: dict[str, list[tuple[int, ...]]],
    *,
    classes: tuple[str, ...] = CLASSES,
    multi_label: bool = False,
) -> Path:
    """A packed set of 4-frame 32x32 clips whose grey level tells the first label."""
    root.mkdir(parents=True)
    rows, shards, splits, key = [], [], {}, 0
    for split, all_labels in labels.items():
        name = f"{split}-000000.tar"
        tar = io.BytesIO()
        frames = size = 0
        for number, values in enumerate(all_labels):
            rng = np.random.default_rng([key, 7])
            level = 40 + 85 * (values[0] % 3 if values else 1)
            pixels = np.clip(level + rng.normal(0, 25, (4, 32, 32, 1)), 0, 255).astype(np.uint8).repeat(3, axis=3)
            path = root / "clip.mp4"
            encode_clip(path, pixels, 8)
            data = path.read_bytes()
            video = probe_video(data, container="mp4")
            record = SampleRecord(
                key=f"{key:06d}", id=f"{split}/{number:03d}.mp4", split=split, labels=values, video=video
            )
            offset = tar.tell()
            for extension, content in (("mp4", data), ("json", record.model_dump_json().encode())):
                tar.write(_header(f"{record.key}.{extension}", len(content)) + content + bytes(-len(content) % 512))
            length = tar.tell() - offset
            rows.append(
                manifest.to_row(
                    record,
                    Location(shard=name, offset=offset, length=length, data_offset=offset + 512, data_length=len(data)),
                )
            )
            frames, size, key = frames + 4, size + len(data), key + 1
            path.unlink()
        content = tar.getvalue() + bytes(1024)
        (root / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append(ShardInfo(name=name, split=split, num_samples=len(all_labels), size=len(content), sha256=digest))
        splits[split] = SplitInfo(
            num_samples=len(all_labels), num_frames=frames, duration=frames / 8, size=shards[-1].size
        )
    pq.write_table(manifest.to_table(rows), root / manifest.FILE_NAME)
    info = DatasetInfo(name="grey", classes=classes, multi_label=multi_label, splits=splits, shards=tuple(shards))
    (root / "dataset.json").write_text(info.model_dump_json())
    return root


@pytest.fixture(scope="session")
def make_packed() -> Callable[..., Path]:
    return pack


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 training and 10 validation clips of three classes."""
    root = tmp_path_factory.mktemp("packed") / "grey"
    return pack(root, {"train": [(i % 3,) for i in range(26)], "val": [(i % 3,) for i in range(10)]})


CONFIG = """
name = "tiny"
seed = 3
deterministic = true
[data]
root = {root}
executor = "reference"
num_threads = 1
[data.train]
short_side = "none"
size = 32
sampling = {{ kind = "segments", num_segments = 2, random = true }}
crop = {{ kind = "random_resized", area = [0.5, 1.0] }}
[data.val]
short_side = "none"
size = 32
sampling = {{ kind = "segments", num_segments = 2 }}
crop = {{ kind = "full" }}
[model]
name = "tsn-tiny"
[optim]
name = "SGD"
lr = 0.05
options = {{ momentum = 0.9 }}
clip_norm = 20.0
accumulate = 2
[schedule]
kind = "multi_step"
milestones = [2]
warmup_steps = 3
[train]
epochs = 3
batch_size = 4
log_every = 1
"""


@pytest.fixture
def config_file(packed: Path, tmp_path: Path) -> Path:
    """A config of three epochs for ``packed``; the run goes below ``tmp_path/runs``."""
    path = tmp_path / "tiny.toml"
    path.write_text(f"output = {json.dumps(str(tmp_path / 'runs'))}\n" + CONFIG.format(root=json.dumps(str(packed))))
    return path


@pytest.fixture
def make_config(config_file: Path) -> Callable[..., Experiment]:
    """The config of ``config_file`` with overrides."""
    return lambda *overrides: load_config(str(config_file), overrides)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def launch() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of experiments/ under accelerate launch with some processes on the CPU."""

    def run(script: str, *args: str, processes: int = 2, expect: int = 0) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
        ]
        command += (
            ["--multi_gpu", "--num_processes", str(processes), "--main_process_port", "0"]
            if processes > 1
            else ["--num_processes", "1", "--cpu"]
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [*command, str(REPOSITORY / "experiments" / script), *args],
            capture_output=True,
            text=True,
            timeout=240,
            env=environment,
            check=False,
        )
        if expect == 0:
            assert done.returncode == 0, done.stderr[-4000:]
        else:
            assert done.returncode != 0
        return done

    return run


PROBE_MODULE = '''
"""Models that misbehave when VIDFLOW_PROBE says so: "KIND:CALL[:RANK]" acts at the CALL-th loss."""

import os
import signal

import torch
from torch import nn

from vidflow.models import build_model
from vidflow.predictions import ClassPredictions


def act(calls, loss):
    kind, _, rest = os.environ.get("VIDFLOW_PROBE", "").partition(":")
    call, _, rank = rest.partition(":")
    if not kind or calls != int(call) or (rank and rank != os.environ.get("RANK", "0")):
        return loss
    if kind == "nan":
        return loss * float("nan")
    if kind == "nangrad":  # the value stays, the derivative is 0 * infinity
        return loss + torch.sqrt(loss * 0)
    os.kill(os.getpid(), getattr(signal, kind))
    return loss


class Probe(nn.Module):
    """tsn-tiny with dropout and batch norm."""

    def __init__(self, num_classes, multi_label):
        super().__init__()
        self.net = build_model("tsn-tiny", num_classes=num_classes, multi_label=multi_label)
        self.calls = 0

    def loss(self, batch):
        self.calls += 1
        return {name: act(self.calls, value) for name, value in self.net.loss(batch).items()}

    def predict(self, batch):
        return self.net.predict(batch)


class Linear(nn.Module):
    """A linear layer on the mean picture: the loss of a batch is a plain mean over its samples."""

    def __init__(self, num_classes, multi_label):
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, num_classes)

    def scores(self, batch):
        return self.fc(batch.clips.mean(dim=(1, 3)).flatten(1))

    def loss(self, batch):
        return {"loss": nn.functional.cross_entropy(self.scores(batch), batch.labels)}

    def predict(self, batch):
        return ClassPredictions(self.scores(batch).softmax(-1))
'''


@pytest.fixture
def probe_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ``probe_models:Probe`` and ``probe_models:Linear`` importable, here and in subprocesses."""
    folder = tmp_path / "importable"
    folder.mkdir()
    (folder / "probe_models.py").write_text(PROBE_MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delitem(sys.modules, "probe_models", raising=False)
