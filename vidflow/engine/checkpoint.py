"""Checkpoints: weights and training state in safetensors and JSON, each checkpoint whole or not there at all."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidflow.engine.plain_state import flatten, restore
from vidflow.engine.runs import AVERAGED, MODEL, RunFolder, write_text
from vidflow.errors import StorageError, WeightsError
from vidflow.shards.files import naming_the_path, publish

FORMAT_VERSION = 2


@dataclass
class Progress:
    """Where a run stands. Epochs and steps count what is complete; where in an epoch, the loader knows."""

    epoch: int = 0
    step: int = 0
    """Optimizer steps made; those that a gradient scaler skipped do not count."""
    validated_step: int = -1
    """Step after which the last validation was made; -1 before the first."""
    best: float | None = None
    best_epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""
    best_metrics: dict[str, float] = field(default_factory=dict)
    num_skipped: int = 0
    """Samples of the current epoch that could not be read."""
    damage: list[str] = field(default_factory=list)
    """What was found wrong with shards as a whole, and told."""
    log_size: int | None = None
    """Bytes of the run's log.jsonl that tell what the checkpoint holds; None where the checkpoint is another run's."""

    def for_another_run(self) -> "Progress":
        """Where a run starts that takes over the weights: best weights and log stay behind."""
        return Progress(epoch=self.epoch, step=self.step, num_skipped=self.num_skipped)


def save_weights(path: Path, weights: dict[str, Tensor], about: dict[str, str]) -> None:
    """Write a safetensors file so that it is there whole or not at all.

    Args:
        about: notes for the file's header.

    Raises:
        StorageError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    # Clones: safetensors refuses tensors that share memory.
    _save({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, part, about)
    publish(part, path)


def _save(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    with naming_the_path(path):
        try:
            save_file(tensors, path, metadata=about)
        except SafetensorError as error:
            raise StorageError(
                f"{path}: cannot be written ({error}); make room there, and go on with --resume"
            ) from error
        with path.open("rb") as file:
            os.fsync(file.fileno())


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        WeightsError: it is none, or damaged.
    """
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error


def weights_header(path: Path) -> dict[str, str]:
    """The notes that ``save_weights`` left in the file's header."""
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def load_exactly(model: nn.Module, path: Path) -> None:
    """Load weights that were saved from the same model.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; the message lists them.
    """
    weights = read_weights(path)
    own = model.state_dict()
    problems = [f"missing {name}" for name in own if name not in weights]
    problems += [f"unexpected {name}" for name in weights if name not in own]
    problems += [
        f"{name} is {list(weights[name].shape)}, the model's is {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(
            f"{path}: does not fit the model: {'; '.join(problems[:5])}{more}; use the config it was trained with"
        )
    model.load_state_dict(weights)


def save_checkpoint(
    run: RunFolder, progress: Progress, model: nn.Module, state: dict[str, Any], *, averaged: nn.Module | None = None
) -> Path:
    """Write ``checkpoints/step-N``, to the disk, and then delete the older ones.

    Args:
        model: its weights become model.safetensors.
        state: optimizer, loader and the like; containers, plain values and tensors.
        averaged: the model with averaged weights, which become averaged.safetensors.

    Raises:
        StorageError: it cannot be written; the last checkpoint is as it was.
    """
    progress.log_size = run.log_size
    target = run.new_checkpoint(progress.step)
    part = target.with_name(target.name + ".part")
    older = [*run.saved_steps(), *run.checkpoints.glob("step-*.part")]
    with naming_the_path(part):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    notes = {"step": str(progress.step), "epoch": str(progress.epoch)}
    save_weights(part / MODEL, model.state_dict(), notes)
    if averaged is not None:
        save_weights(part / AVERAGED, averaged.state_dict(), notes)
    tensors: dict[str, Tensor] = {}
    tree = flatten(state, tensors, "state")
    _save(tensors, part / "training.safetensors")
    document = {"format_version": FORMAT_VERSION, "progress": asdict(progress), "state": tree}
    write_text(part / "training.json", json.dumps(document))
    publish(part, target)
    for folder in older:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def rewrite_progress(run: RunFolder, checkpoint: Path, progress: Progress) -> None:
    """Replace the progress in a saved checkpoint of the run, and leave weights and state as they are."""
    progress.log_size = run.log_size
    path = checkpoint / "training.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    write_text(path, json.dumps(document | {"progress": asdict(progress)}))


def check_checkpoint(checkpoint: Path) -> None:
    """See that a folder is a checkpoint's.

    Raises:
        WeightsError: it is none.
    """
    if not (checkpoint / "training.json").is_file():
        raise WeightsError(f"{checkpoint}: no checkpoint to resume from; give a folder checkpoints/step-N of a run")


def read_checkpoint(checkpoint: Path) -> tuple[Progress, dict[str, Any]]:
    """Progress and state of a saved checkpoint.

    Raises:
        WeightsError: no checkpoint, or one of another format version.
    """
    check_checkpoint(checkpoint)
    path = checkpoint / "training.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path}: damaged ({error})") from error
    if document.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: format version {document.get('format_version')}, this vidflow reads {FORMAT_VERSION}"
        )
    tensors = read_weights(checkpoint / "training.safetensors")
    return Progress(**document["progress"]), restore(document["state"], tensors)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state without its parameter groups' numbers, which come from the config and the schedule."""
    state = optimizer.state_dict()
    return {"state": state["state"], "sizes": [len(group["params"]) for group in state["param_groups"]]}


def load_optimizer_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """The inverse of ``optimizer_state``.

    Raises:
        WeightsError: the groups are others.
    """
    groups = optimizer.state_dict()["param_groups"]
    if saved["sizes"] != (sizes := [len(group["params"]) for group in groups]):
        raise WeightsError(
            f"the checkpoint's optimizer has parameter groups of {saved['sizes']} tensors, the model's are {sizes}"
        )
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
