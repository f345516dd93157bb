"""How far a student's class scores are from its teacher's.

Sources: "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531), section 2; "Knowledge Distillation from A
Stronger Teacher" (arXiv:2205.10536), eq. 8 to 10. Both are multiplied by the temperature's square, so that their
gradients keep their size (arXiv:1503.02531, section 2).

Shapes: N samples (or views), K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over samples of KL(teacher || student) of the softened probabilities, in nats; a scalar.

    Args:
        student: scores before the softmax [N, K].
        teacher: the same of the teacher.
        temperature: divides both.
    """
    ours = (student / temperature).log_softmax(dim=1)
    theirs = (teacher / temperature).log_softmax(dim=1)
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def correlation_distance(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """One minus the mean correlation of the probabilities of each sample over the classes, and one minus that of each
    class over the samples, added; a scalar in [0, 4] times the temperature's square.

    Of a single sample only the first of the two can be learnt from.

    Args:
        student: scores before the softmax [N, K].
        teacher: the same of the teacher.
        temperature: divides both.
    """
    ours, theirs = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    inter = 1 - _correlation(ours, theirs).mean()
    intra = 1 - _correlation(ours.T, theirs.T).mean()
    return (inter + intra) * temperature**2


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's, of each row of [R, S] with the same row of the other: [R]."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    # The epsilon is that of the authors' code, for rows without spread.
    return (a * b).sum(dim=1) / (torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1) + 1e-8)


LOSSES = {"kl": divergence, "dist": correlation_distance}
