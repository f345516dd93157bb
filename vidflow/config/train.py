"""[train]: the length of a run, its precision, and what it writes down."""

from typing import Literal

from pydantic import Field

from vidflow.schema import Frozen


class TrainConfig(Frozen):
    """The loop."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    """Samples per process and batch."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stop after so many optimizer steps; the schedule stays that of ``epochs``."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    val_every: int = Field(default=1, ge=0)
    """Epochs from one validation to the next; the last epoch is always validated. 0 never validates."""
    best_metric: str | None = None
    """Metric that decides the best checkpoint, larger is better; None takes top1, or mAP for multi-label sets."""
    checkpoint_every_epochs: int = Field(default=1, gt=0)
    checkpoint_every_steps: int | None = Field(default=None, gt=0)
    """Checkpoints within epochs, counted in optimizer steps."""
    log_every: int = Field(default=20, gt=0)
    """Optimizer steps per line of the log."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay per step of a running average of the weights, which is then what is validated, tested and kept as best."""
    compile: bool = False
    channels_last: bool | None = None
    """Channels are neighbours in memory; None does so on CPUs, whose convolutions are quicker then."""
    sync_bn: bool = False
    """Batch statistics over all processes; GPUs only."""
    precise_bn: int | None = Field(default=None, gt=0)
    """Batches per process with which BatchNorm's statistics are measured before each validation and checkpoint at an
    epoch's end; None keeps the running averages of training."""
    tracker: Literal["none", "tensorboard"] = "none"
