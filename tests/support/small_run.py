"""A run of one epoch over a packed set, and the scores that testing gives it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.torch import load_file

from vidflow.config.experiment import Experiment
from vidflow.engine.checkpoint import save_weights
from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train


def small_run(
    root: Path, pipeline: dict[str, Any], model: dict[str, Any], *, lr: float
) -> tuple[Path, dict[str, np.ndarray]]:
    """Train on ``root / "packed"``; gives the run's folder, and id -> scores of its validation samples."""
    config = Experiment.model_validate(
        {
            "name": "small",
            "output": str(root / "runs"),
            "data": {"root": str(root / "packed"), "train": pipeline, "val": pipeline, "num_threads": 1},
            "model": model,
            "optim": {"name": "SGD", "lr": lr},
            "train": {"epochs": 1, "batch_size": 4},
        }
    )
    train(config)
    run = RunFolder(root / "runs/small")
    # After so short a training scores are nearly equal, and a mistake could hide in them.
    weights = load_file(run.best_weights)
    weights["head.fc.weight"] *= 20
    save_weights(run.best_weights, weights, {})
    evaluate_run(run, run.config(), dump=root / "scores.parquet")
    rows = pq.read_table(root / "scores.parquet").to_pylist()
    return run.path, {row["id"]: np.array(row["scores"]) for row in rows}
