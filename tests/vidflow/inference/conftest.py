"""A run with fixed random weights over a small packed copy of the demo data: prediction needs no trained model."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from moving_figures import SkeletonRun, run_of_skeletons

from vidflow.config.experiment import Experiment
from vidflow.demo import CLASSES, write_demo_data
from vidflow.engine.checkpoint import save_weights
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.models import build_model
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.profiles import choose_profile
from vidflow.shards.sources.class_folders import read_class_folders


@dataclass(frozen=True)
class TrainedRun:
    """Where things lie."""

    path: Path
    data: Path
    """Packed."""
    clips: Path
    """The original files, val/<class>/*.mp4."""


def _pipeline(**changes: object) -> dict[str, object]:
    values = {
        "sampling": {"kind": "segments", "num_segments": 4},
        "short_side": None,
        "crop": {"kind": "center"},
        "size": 32,
    }
    return values | changes


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> TrainedRun:
    """The run's folder and its data."""
    root = tmp_path_factory.mktemp("predict")
    clips, data = root / "clips", root / "packed"
    write_demo_data(clips, num_clips=24, size=48)
    pack(read_class_folders(clips), data, PackOptions(profile=choose_profile("copy")), workers=1)
    config = Experiment.model_validate(
        {
            "name": "small",
            "output": str(root / "runs"),
            "data": {"root": str(data), "train": _pipeline(), "val": _pipeline(), "num_threads": 1},
            "model": {"name": "tsm-tiny"},
            "optim": {"name": "SGD", "lr": 0.1},
            "train": {"epochs": 1, "batch_size": 4},
        }
    )
    run = RunFolder(root / "runs" / "small")
    run.start(config, ClassList(CLASSES, multi_label=False))
    torch.manual_seed(3)
    model = build_model("tsm-tiny", num_classes=len(CLASSES))
    with torch.no_grad():
        # A fresh head gives nearly equal scores, in which a mistake could hide.
        for parameter in model.head.parameters():
            parameter.mul_(1000.0)
    save_weights(run.best_weights, model.state_dict(), {})
    return TrainedRun(run.path, data, clips)


@pytest.fixture(scope="session")
def skeletons(tmp_path_factory) -> SkeletonRun:
    """A run over skeletons of two-dimensional figures."""
    return run_of_skeletons(tmp_path_factory.mktemp("skeletons"))
