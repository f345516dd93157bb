"""A run's folder.

runs/<name>/
  config.toml                          the whole config
  classes.json                         names of the classes, so that predictions need no data set
  log.jsonl                            one JSON object per logged step and validation
  metrics.json                         last and best validation
  checkpoints/step-00000120/           model.safetensors, training.safetensors, training.json, and with train.ema
                                       averaged.safetensors; the latest is kept
  checkpoints/best.safetensors         weights of the best validation
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidflow.config.experiment import Experiment
from vidflow.config.loading import load_config, to_toml
from vidflow.errors import ConfigError, WeightsError
from vidflow.shards.files import naming_the_path, write_whole

_STEP = re.compile(r"step-(\d{8,})(?:\.(\d+))?")
MODEL, AVERAGED = "model.safetensors", "averaged.safetensors"
# By its config a folder is known as a run: that is written first, and deleted last.
_CONTENT = ("checkpoints", "log.jsonl", "metrics.json", "tensorboard", "classes.json", "config.toml")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    write_whole(path, text.encode(), part=path.with_name(path.name + ".part"))


@dataclass(frozen=True)
class ClassList:
    """What the scores of a run's model stand for."""

    names: tuple[str, ...]
    """In the order of the scores."""
    multi_label: bool


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; nothing is created before ``start``."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

    @property
    def log_path(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best_weights(self) -> Path:
        return self.checkpoints / "best.safetensors"

    @property
    def exists(self) -> bool:
        return self.path.exists() and any(path.suffix != ".part" for path in self.path.iterdir())

    def config(self, overrides: Sequence[str] = ()) -> Experiment:
        """The config that the run was started with, and overrides over it.

        Raises:
            ConfigError: this is no run.
        """
        if not self.config_path.is_file():
            raise ConfigError(
                f"{self.path}: no run, it has no config.toml; give the folder that training made, such as runs/tsm"
            )
        return load_config(str(self.config_path), overrides)

    def classes(self) -> ClassList:
        """The classes that the run was started with.

        Raises:
            ConfigError: the run has no readable list of them.
        """
        path = self.path / "classes.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return ClassList(tuple(values["names"]), bool(values["multi_label"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: no readable list of classes ({error}); train the run again") from error

    def start(self, config: Experiment, classes: ClassList) -> None:
        """Make the folder, and write the config and the classes.

        Raises:
            StorageError: they cannot be written.
        """
        with naming_the_path(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_path, to_toml(config))
        write_text(self.path / "classes.json", json.dumps(vars(classes), ensure_ascii=False, indent=1) + "\n")
        with naming_the_path(self.checkpoints):
            self.checkpoints.mkdir(exist_ok=True)

    def clear(self) -> None:
        """Delete what a run has written, and nothing else.

        Raises:
            ConfigError: the folder is no run.
        """
        if not self.config_path.is_file():
            raise ConfigError(f"{self.path}: holds files but no run (no config.toml); choose another name or output")
        for name in _CONTENT:
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def saved_steps(self) -> list[Path]:
        """Folders of the complete checkpoints, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        found = [(_STEP.fullmatch(path.name), path) for path in self.checkpoints.iterdir() if path.is_dir()]
        numbered = [(int(name[1]), int(name[2] or 0), path) for name, path in found if name]
        return [path for *_, path in sorted(numbered)]

    def owns(self, checkpoint: Path) -> bool:
        """Whether a checkpoint's folder is one of this run."""
        return checkpoint.resolve().parent == self.checkpoints.resolve()

    def new_checkpoint(self, step: int) -> Path:
        """The folder of the next checkpoint, step-N; step-N.1 where there is one of that step.

        The same step is saved again where batches have passed since that made none: their samples could not be read,
        or a gradient scaler skipped them.
        """
        name = f"step-{step:08d}"
        taken = [int((path.suffix or ".0")[1:]) for path in self.saved_steps() if path.stem == name]
        return self.checkpoints / (f"{name}.{max(taken) + 1}" if taken else name)

    def weights(self, checkpoint: str) -> Path:
        """The weights file of ``best``, ``last``, or a path (a weights file or a checkpoint's folder).

        Of a checkpoint with averaged weights these, as of a validation.

        Raises:
            WeightsError: there is none yet.
        """
        if checkpoint == "best":
            if not self.best_weights.is_file():
                raise WeightsError(
                    f"{self.path}: has no best checkpoint yet (it is kept after a validation); use --checkpoint last"
                )
            return self.best_weights
        if checkpoint == "last":
            steps = self.saved_steps()
            if not steps:
                raise WeightsError(f"{self.path}: has no checkpoint yet")
            return _weights_in(steps[-1])
        path = Path(checkpoint)
        path = _weights_in(path) if path.is_dir() else path
        if not path.is_file():
            raise WeightsError(f"--checkpoint {checkpoint}: no such file; give best, last or a path")
        return path

    def append(self, record: dict[str, Any]) -> None:
        """One line of the log.

        Raises:
            StorageError: it cannot be written.
        """
        with naming_the_path(self.log_path), self.log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    @property
    def log_size(self) -> int:
        """Bytes of the log."""
        return self.log_path.stat().st_size if self.log_path.is_file() else 0

    def forget_after(self, step: int, *, size: int | None) -> None:
        """Drop the log's lines that a run resumed after ``step`` writes again.

        Args:
            size: bytes of the log when the checkpoint was written: the lines behind them are dropped. Steps alone do
                not tell: a validation that was not completed has the checkpoint's step. None, where the size is not
                known: lines of later steps are dropped.
        """
        if not self.log_path.is_file():
            return
        lines = []
        for line in self.log_path.read_bytes()[:size].decode().splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the last line of a killed run may be cut short
                continue
            if size is not None or record.get("step", 0) <= step:
                lines.append(line + "\n")
        write_text(self.log_path, "".join(lines))

    def write_metrics(self, values: dict[str, Any]) -> None:
        shown = {name: value for name, value in values.items() if name != "log_size"}
        write_text(self.path / "metrics.json", json.dumps(shown, indent=2) + "\n")


def _weights_in(checkpoint: Path) -> Path:
    averaged = checkpoint / AVERAGED
    return averaged if averaged.is_file() else checkpoint / MODEL
