"""Losses of class scores, chosen by a recognizer's option ``loss``: a table with ``kind`` and the kind's own settings.

Sources: cross-entropy with soft labels and class weights, binary cross-entropy, class-balanced focal loss
(arXiv:1901.05555, eq. 2 and section 4.3; arXiv:1708.02002, eq. 5) and the loss of HVU's categories (arXiv:1904.11451,
section 4) as in MMAction2 1.2.0 (mmaction/models/losses), whose values the tests repeat.

Shapes: N rows (samples times views), K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def _numbers(name: str, values: Sequence[float] | None, num_classes: int, *, positive: bool = False) -> Tensor | None:
    """One number per class, checked."""
    if values is None:
        return None
    if isinstance(values, str) or not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"loss.{name} must be a list of {num_classes} numbers")
    if len(values) != num_classes:
        raise ValueError(f"loss.{name} has {len(values)} numbers, the model has {num_classes} classes")
    if min(values) < 0 or (positive and min(values) == 0):
        raise ValueError(f"loss.{name} must be {'positive' if positive else 'at least 0'}, not {min(values)}")
    return torch.tensor([float(value) for value in values])


class CrossEntropy(nn.Module):
    """Cross-entropy of hard labels int64 [N], or soft ones float [N, K].

    With class weights it is the weighted mean: divided by the sum of the labels' weights, not by N.

    Args:
        class_weight: K numbers; None counts all classes alike.
        label_smoothing: part of each label that is spread over all classes (arXiv:1512.00567, section 7).
    """

    multi_label = False

    def __init__(
        self, num_classes: int, *, class_weight: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weight", _numbers("class_weight", class_weight, num_classes), persistent=False)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """[N, K] and the labels -> a scalar."""
        weight: Tensor | None = self.class_weight  # type: ignore[assignment]  # a buffer or None
        if weight is None:
            return functional.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)
        if not labels.is_floating_point():
            labels = functional.one_hot(labels, scores.shape[1])
        weighted = weight * (labels * (1 - self.label_smoothing) + self.label_smoothing / scores.shape[1])
        return -(weighted * scores.log_softmax(dim=1)).sum() / weighted.sum()


class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy of each class by itself, labels float [N, K]; the mean over rows and classes.

    Args:
        class_weight: K factors; None counts all classes alike.
    """

    multi_label = True

    def __init__(self, num_classes: int, *, class_weight: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weight", _numbers("class_weight", class_weight, num_classes), persistent=False)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """[N, K] and the labels -> a scalar."""
        weight: Tensor | None = self.class_weight  # type: ignore[assignment]  # a buffer or None
        return functional.binary_cross_entropy_with_logits(scores, labels, weight)


class ClassBalancedFocal(nn.Module):
    """Focal loss of hard labels int64 [N], or soft ones float [N, K], with more weight for rare classes.

    Args:
        samples_per_class: K counts, > 0, of the training set.
        beta: in [0, 1); 0 counts all classes alike, towards 1 by the inverse of their number.
        gamma: at least 0; how far well classified samples are turned down.
    """

    multi_label = False

    def __init__(
        self, num_classes: int, *, samples_per_class: Sequence[float], beta: float = 0.9999, gamma: float = 2.0
    ) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise ValueError(f"loss.beta ({beta}) must lie in [0, 1)")
        if gamma < 0:
            raise ValueError(f"loss.gamma ({gamma}) must be at least 0")
        counts = _numbers("samples_per_class", samples_per_class, num_classes, positive=True)
        assert counts is not None
        # In double precision: beta^n is close to 1.
        weights = (1 - beta) / (1 - beta ** counts.double())
        self.gamma = gamma
        self.class_weight: Tensor
        self.register_buffer("class_weight", (weights / weights.sum() * num_classes).float(), persistent=False)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """[N, K] and the labels -> a scalar, the sum over classes per label."""
        if not labels.is_floating_point():
            labels = functional.one_hot(labels, scores.shape[1]).to(scores.dtype)
        weights = (labels * self.class_weight).sum(dim=1, keepdim=True)  # [N, 1], of the row's class
        losses = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
        # (1 - p)^gamma for the label, p^gamma for the others.
        down = torch.exp(-self.gamma * (labels * scores + functional.softplus(-scores)))
        return (weights * down * losses).sum() / labels.sum()


class CategoryBinaryCrossEntropy(nn.Module):
    """Binary cross-entropy over categories of classes, such as HVU's actions, scenes and objects; labels float [N, K].

    A sample that has no label of a category is taken for one that nobody looked at for it, and does not count there.

    Args:
        categories: name of each category -> number of its classes; they stand in a row and add up to K.
        category_weights: name -> weight, 1 where not given; weights are divided by the sum of those of the categories
            that a batch has. None makes one mean of all classes per sample, instead of one of each category.
    """

    multi_label = True

    def __init__(
        self,
        num_classes: int,
        *,
        categories: Mapping[str, int],
        category_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if not categories or min(categories.values()) < 1 or sum(categories.values()) != num_classes:
            raise ValueError(
                f"loss.categories ({dict(categories)}) must be positive numbers that add up to {num_classes} classes"
            )
        if unknown := sorted(set(category_weights or {}) - set(categories)):
            raise ValueError(f"loss.category_weights names {', '.join(unknown)}; there are {', '.join(categories)}")
        if any(weight <= 0 for weight in (category_weights or {}).values()):
            raise ValueError(f"loss.category_weights ({dict(category_weights or {})}) must be positive")
        self.sizes = list(categories.values())
        self.weights = None if category_weights is None else [category_weights.get(name, 1.0) for name in categories]

    def forward(self, scores: Tensor, labels: Tensor, known: Tensor | None = None) -> Tensor:
        """[N, K] and the labels -> a scalar.

        Args:
            known: [N, categories], 1 where a sample was looked at for a category; None takes those that it has labels
                of.
        """
        losses = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none").split(self.sizes, dim=1)
        if known is None:
            known = torch.stack([part.any(dim=1) for part in labels.split(self.sizes, dim=1)], dim=1)
        known = known.to(scores.dtype)
        if self.weights is None:
            sizes = scores.new_tensor(self.sizes)
            sums = torch.stack([part.sum(dim=1) for part in losses], dim=1)
            return ((known * sums).sum(dim=1) / (known * sizes).sum(dim=1).clamp(min=1)).mean()
        means = torch.stack([part.mean(dim=1) for part in losses], dim=1)
        per_category = (known * means).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        weights = scores.new_tensor(self.weights) * known.any(dim=0)
        return (weights * per_category).sum() / weights.sum().clamp(min=torch.finfo(scores.dtype).tiny)


KINDS: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "class_balanced_focal": ClassBalancedFocal,
    "category_binary_cross_entropy": CategoryBinaryCrossEntropy,
}


def make_loss(
    settings: Mapping[str, Any] | None, *, num_classes: int, multi_label: bool, label_smoothing: float = 0.0
) -> nn.Module:
    """The loss of a recognizer's option ``loss``.

    >>> make_loss({"kind": "cross_entropy", "class_weight": [1, 2, 1]}, num_classes=3, multi_label=False)
    CrossEntropy()

    Args:
        settings: ``kind`` and the arguments of its class; None takes the plain loss for the labels' kind.

    Raises:
        ValueError: no such kind or setting, one that does not fit, or one for the other kind of labels.
    """
    plain = "binary_cross_entropy" if multi_label else "cross_entropy"
    options: dict[str, Any] = {"kind": plain} if settings is None else dict(settings)
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"loss.kind ({kind!r}) must be one of {', '.join(KINDS)}")
    if bool(KINDS[kind].multi_label) != multi_label:
        labels = "several labels per sample" if multi_label else "one label per sample"
        raise ValueError(f"loss.kind ({kind!r}) is not for a data set of {labels}")
    if kind == "cross_entropy":
        options["label_smoothing"] = label_smoothing
    elif label_smoothing:
        raise ValueError(f"label_smoothing ({label_smoothing}) is not for loss.kind = {kind!r}")
    try:
        return KINDS[kind](num_classes, **options)
    except TypeError as error:
        raise ValueError(f"loss ({kind}): {str(error).partition('() ')[2] or error}") from error
