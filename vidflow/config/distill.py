"""[distill]: a trained model that teaches the one that is trained."""

from typing import Literal

from pydantic import Field

from vidflow.schema import Frozen


class DistillConfig(Frozen):
    """The teacher, and how its scores become a loss."""

    teacher: str = Field(min_length=1)
    """Name of the teacher's model, as ``model.name``; it has the student's classes and sees the student's clips."""
    load_from: str = Field(min_length=1)
    """The teacher's weights, all of them; a path or an address."""
    options: dict[str, object] = {}
    """Further arguments of the teacher's constructor."""
    loss: Literal["kl", "dist"] = "kl"
    """Distance of the class scores: the divergence of softened probabilities (arXiv:1503.02531), or one minus the
    correlation within samples and within classes (arXiv:2205.10536); see vidflow.models.distillation."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the scores before the softmax."""
    weight: float = Field(default=1.0, gt=0)
    """Factor of this loss beside the student's own."""
