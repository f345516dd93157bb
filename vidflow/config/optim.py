"""[optim] and [schedule]: the optimizer, and the learning rate over time."""

from typing import Literal

from pydantic import Field, model_validator

from vidflow.schema import Frozen


class OptimConfig(Frozen):
    """The optimizer of one run."""

    name: str = Field(min_length=1)
    """A class of torch.optim, or an import path "package.module:Name"."""
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    options: dict[str, object] = {}
    """Further arguments of the optimizer: momentum, nesterov, betas, ..."""
    rule: str = "default"
    """How lr and weight decay differ between parameters (vidflow.models.param_groups)."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest L2 norm of all gradients together; None leaves them."""
    accumulate: int = Field(default=1, gt=0)
    """Batches per optimizer step; a last, shorter window of an epoch is stepped too, averaged over its true count."""
    auto_scale_lr: bool = False
    """Multiply lr by (batch_size * processes * accumulate) / base_batch."""
    base_batch: int | None = Field(default=None, gt=0)
    """Total batch to which ``lr`` belongs."""

    @model_validator(mode="after")
    def _scaling_has_a_base(self) -> "OptimConfig":
        if self.auto_scale_lr and self.base_batch is None:
            raise ValueError("auto_scale_lr needs base_batch, the total batch to which lr belongs")
        return self


class ScheduleConfig(Frozen):
    """The factor on every group's learning rate; see vidflow.engine.schedule for the formulas."""

    kind: Literal["constant", "multi_step", "cosine"] = "constant"
    by: Literal["epoch", "step"] = "epoch"
    """Whether the rate changes at the start of epochs or at every optimizer step; the unit of ``milestones``."""
    milestones: tuple[int, ...] = ()
    gamma: float = Field(default=0.1, gt=0)
    min_lr: float = Field(default=0.0, ge=0)
    """Rate at the end of the cosine, for groups that have ``optim.lr``; other groups keep their ratio to it."""
    after_warmup: bool = False
    """Let the cosine start when the warm-up ends, instead of running under it from the start."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    warmup_by: Literal["epoch", "step"] | None = None
    """Whether the warm-up rises at the start of epochs or at every step; None takes ``by``.
    ``warmup_steps`` always rises by step."""
    warmup_start_factor: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _choices_fit_together(self) -> "ScheduleConfig":
        if self.kind == "multi_step" and not self.milestones:
            raise ValueError("multi_step needs milestones")
        if self.kind != "multi_step" and self.milestones:
            raise ValueError(f"milestones belong to multi_step, not to {self.kind}")
        if list(self.milestones) != sorted(set(self.milestones)) or min(self.milestones, default=1) < 1:
            raise ValueError(f"milestones must be positive and rise, not {list(self.milestones)}")
        if self.kind != "cosine" and (self.min_lr or self.after_warmup):
            raise ValueError(f"min_lr and after_warmup belong to cosine, not to {self.kind}")
        if self.warmup_epochs and self.warmup_steps:
            raise ValueError("give warmup_epochs or warmup_steps, not both")
        return self
