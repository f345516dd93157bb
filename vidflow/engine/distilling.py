"""Training with a teacher: the student's own loss, and the distance of its class scores from the teacher's.

The teacher is loaded whole, stays in evaluation, gets no gradients and is in no checkpoint: what a run writes is the
student alone. It sees the very batches that the student sees, mixed ones too.
"""

from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.cli.console import errors
from vidflow.config.distill import DistillConfig
from vidflow.engine.building import LossStep
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.distillation import LOSSES
from vidflow.models.recognizer import Recognizer
from vidflow.models.weights import load_weights


class DistillStep(LossStep):
    """A student seen as the function from batch to losses, one of them by the teacher: ``cls_loss``, ``distill_loss``.

    Args:
        model: the student.
        teacher: on the student's device.
        config: its loss.
    """

    def __init__(self, model: Recognizer, teacher: Recognizer, config: DistillConfig) -> None:
        super().__init__(model)
        self.config = config
        # In a tuple, so that no wrapper, mode or move of the student reaches it.
        self._teacher = (teacher.eval().requires_grad_(False),)

    @torch.no_grad()
    def teach(self, batch: Batch) -> Tensor:
        """The teacher's class scores [B, V, K].

        Raises:
            ConfigError: it does not take these clips.
        """
        try:
            return cast(Tensor, self._teacher[0](batch))
        except ValueError as error:
            raise ConfigError(
                f"distill.teacher = {self.config.teacher!r} does not take the data's clips: {error}"
            ) from error

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses."""
        student = cast(Recognizer, self.model)
        scores = student(batch)
        taught = self.teach(batch).to(scores.dtype)
        # [B, V, K] -> [B*V, K]
        distance = LOSSES[self.config.loss](scores.flatten(0, 1), taught.flatten(0, 1), self.config.temperature)
        own: Any = student.class_loss(scores, batch.labels)
        return {"cls_loss": own, "distill_loss": self.config.weight * distance}


def distill_step(model: nn.Module, config: DistillConfig, accelerator: Accelerator) -> DistillStep:
    """The step of a student with the teacher that the config names, loaded.

    Raises:
        ConfigError: a student or teacher whose class scores are not to be had, of several labels, or of other classes.
        WeightsError: the teacher's weights are not these.
    """
    student = _classifier(model, "model.name", "the student")
    options: dict[str, Any] = config.options
    built = build_model(config.teacher, num_classes=student.num_classes, **options)
    teacher = _classifier(built, "distill.teacher", "the teacher")
    report = load_weights(teacher, config.load_from, mode="strict")
    if accelerator.is_main_process:
        errors.print(f"teacher {config.teacher}: {report.summary()}", markup=False, highlight=False, soft_wrap=True)
    return DistillStep(student, teacher.to(accelerator.device), config)


def _classifier(model: nn.Module, key: str, role: str) -> Recognizer:
    if not isinstance(model, Recognizer) or type(model).loss is not Recognizer.loss:
        raise ConfigError(
            f"{key}: {role} of [distill] must be a model that classifies clips, not {type(model).__name__}"
        )
    if model.multi_label:
        raise ConfigError(f"{key}: [distill] compares probabilities of one label; the data set has several per sample")
    return model
