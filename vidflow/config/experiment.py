"""The whole of one TOML config."""

from pydantic import Field, model_validator

from vidflow.config.data import DataConfig
from vidflow.config.distill import DistillConfig
from vidflow.config.model import ModelConfig
from vidflow.config.optim import OptimConfig, ScheduleConfig
from vidflow.config.train import TrainConfig
from vidflow.schema import Frozen


class Experiment(Frozen):
    """One training run: data, model, optimizer, schedule and loop."""

    name: str = Field(pattern=r"^[\w][\w.+-]*$")
    """Name of the run's folder; by default the config's file name."""
    output: str = "runs"
    """Folder of runs, against the working directory."""
    seed: int = Field(default=0, ge=0)
    deterministic: bool = False
    """Only deterministic kernels: same seed, device and number of processes, same weights to the last bit; slower."""
    data: DataConfig
    model: ModelConfig
    optim: OptimConfig
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    distill: DistillConfig | None = None
    """A teacher beside the labels; None learns from these alone."""

    @model_validator(mode="after")
    def _steps_take_a_batch_of_each_source(self) -> "Experiment":
        count = len(self.data.sources)
        if self.data.combine == "turns" and self.optim.accumulate % count:
            raise ValueError(
                f"optim.accumulate ({self.optim.accumulate}) must be a multiple of the {count} data.sources that take "
                "turns, so that each step has a batch of each"
            )
        return self

    @model_validator(mode="after")
    def _milestones_are_reached(self) -> "Experiment":
        last = max(self.schedule.milestones, default=0)
        if self.schedule.by == "epoch" and last >= self.train.epochs:
            raise ValueError(
                f"schedule.milestones: epoch {last} is never reached in train.epochs = {self.train.epochs}"
            )
        return self
