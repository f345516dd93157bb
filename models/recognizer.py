"""What all classifiers of clips share: their options, loss, prediction and parameter groups.

Shapes: B samples, V views, C channels, T frames, H x W pixels, K classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.models.losses import make_loss
from vidflow.models.param_groups import Rule, param_groups
from vidflow.models.views import in_pieces
from vidflow.predictions import ClassPredictions


@dataclass(frozen=True, kw_only=True)
class RecognizerConfig:
    """Options of every recognizer; families add theirs."""

    num_classes: int = 400
    """K."""
    multi_label: bool = False
    """A sample may have any number of classes: sigmoid and binary cross-entropy instead of softmax and
    cross-entropy."""
    in_channels: int = 3
    """C of the clips."""
    dropout: float = 0.5
    label_smoothing: float = 0.0
    loss: dict[str, Any] | None = None
    """``kind`` and settings of ``vidflow.models.losses``; None is cross-entropy, or binary cross-entropy for
    ``multi_label``."""
    average_views: Literal["prob", "score"] = "prob"
    """Views are averaged as probabilities, or as scores before the softmax."""
    max_views: int | None = None
    """Views (samples x views of each) per forward in prediction, to bound its memory; None takes all at once."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes ({self.num_classes}) must be positive")
        if self.in_channels < 1:
            raise ValueError(f"in_channels ({self.in_channels}) must be positive")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie in [0, 1)")
        if self.multi_label and self.label_smoothing:
            raise ValueError(f"label_smoothing ({self.label_smoothing}) is for single-label classes only")
        if self.average_views not in ("prob", "score"):
            raise ValueError(f"average_views ({self.average_views!r}) must be 'prob' or 'score'")
        if self.max_views is not None and self.max_views < 1:
            raise ValueError(f"max_views ({self.max_views}) must be positive")
        self.make_loss()

    def make_loss(self) -> nn.Module:
        """The loss of class scores.

        Raises:
            ValueError: settings that do not fit.
        """
        return make_loss(
            self.loss, num_classes=self.num_classes, multi_label=self.multi_label, label_smoothing=self.label_smoothing
        )


def added_parts(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the parameters that a family adds before, inside and after the blocks of an image network."""
    hooks = (".before", ".inside", ".after")
    added = [(name, part) for name, part in model.named_modules() if name.endswith(hooks)]
    return tuple(f"{name}." for name, part in added if next(part.parameters(), None) is not None)


class Recognizer(nn.Module):
    """Classifies clips; a subclass says how views become class scores (``logits``)."""

    input_name: ClassVar[str] = "clips"
    """What of ``Batch.inputs`` is classified; its first two axes are samples and views."""
    head_prefixes: ClassVar[tuple[str, ...]] = ("head.",)
    """Parameters of these names are drawn anew where weights of another set of classes are loaded."""
    fresh_prefixes: tuple[str, ...] = ()
    """Parts that may start fresh where weights of another kind of model have none of their parameters, such as those
    that a video model adds to an image model."""
    foreign_keys: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Patterns and replacements that turn other projects' parameter names into ours, tried in order, the first match
    only."""
    foreign_scopes: ClassVar[dict[str, str]] = {}
    """Project (``vidflow.models.weights.checkpoint.ORIGINS``) -> start of the names that are taken from its files."""
    foreign_mark: ClassVar[str] = ""
    """A pattern that only this family's names in other projects' files have, where families share all others."""
    foreign_config_mark: ClassVar[str] = ""
    """A pattern in the config text that MMAction2 keeps in its files, for a family whose tensors are those of another;
    without it a file is taken for the other's."""
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {"num_classes": ("head.fc.bias", 0)}
    """Options that a file of weights tells: the parameter, and the axis of its shape."""
    param_rule: ClassVar[Rule] = "default"

    def __init__(self, config: RecognizerConfig) -> None:
        super().__init__()
        self.config = config
        self.num_classes, self.multi_label = config.num_classes, config.multi_label
        self.criterion = config.make_loss()

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: clips of another shape.
        """
        raise NotImplementedError

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A file's tensors by our names, changed to fit where the family knows how; as they are by default.

        Called before shapes are compared. Families resize position tables here, repeat 2D weights over time, and drop
        tables that hold nothing learned.
        """
        return tensors

    def input_shapes(self, view: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes of all inputs by name, without B and V, where ``input_name`` has the shape ``view``."""
        return {self.input_name: view}

    def check_clips(self, clips: Tensor) -> None:
        """For ``logits``.

        Raises:
            ValueError: the clips are not [B, V, ``in_channels``, T, H, W].
        """
        channels = self.config.in_channels
        if clips.ndim != 6 or clips.shape[2] != channels:
            raise ValueError(f"clips must be [B, V, {channels}, T, H, W], not {list(clips.shape)}")

    def forward(self, batch: Batch) -> Tensor:
        """Class scores [B, V, K] before softmax or sigmoid."""
        return self.logits(batch.inputs[self.input_name])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``cls_loss``, a scalar: the mean over samples and views.

        Raises:
            ValueError: labels that are not int64 [B] or float [B, K]; multi-label models take the latter only.
        """
        return {"cls_loss": self.class_loss(self(batch), batch.labels)}

    def class_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: labels that are not int64 [B] or float [B, K]; multi-label models take the latter only.
        """
        B, V, K = scores.shape
        soft = labels.is_floating_point()  # of mixed batches, or of several classes
        expected = (B, K) if soft or self.multi_label else (B,)
        if tuple(labels.shape) != expected or (self.multi_label and not soft):
            kind = "multi-label float" if self.multi_label else "soft float" if soft else "integer"
            raise ValueError(
                f"labels must be {kind} of shape {list(expected)}, not {labels.dtype} {list(labels.shape)}"
            )
        scores = scores.flatten(0, 1)  # [B, V, K] -> [B*V, K]
        labels = labels.repeat_interleave(V, dim=0) if V > 1 else labels
        if soft:
            labels = labels.to(scores.dtype)
        loss: Tensor = self.criterion(scores, labels)
        return loss

    @torch.no_grad()
    def predict(self, batch: Batch) -> ClassPredictions:
        """Probabilities [B, K] of the model as it is; call ``eval()`` first."""
        return self.predictions(in_pieces(self.logits, batch.inputs[self.input_name], self.config.max_views))

    def predictions(self, scores: Tensor) -> ClassPredictions:
        """Class scores [B, V, K] before softmax or sigmoid -> probabilities [B, K], averaged over views."""
        if self.config.average_views == "score":
            scores = scores.mean(dim=1, keepdim=True)
        scores = scores.sigmoid() if self.multi_label else scores.softmax(dim=-1)
        return ClassPredictions(scores.mean(dim=1).float())

    def param_groups_rule(self) -> Rule:
        """The rule of ``param_groups`` that the published settings of this family use."""
        return self.param_rule

    def param_groups(self, lr: float, weight_decay: float, rule: Rule | None = None) -> list[dict[str, object]]:
        """Groups for a torch optimizer, see ``vidflow.models.param_groups``; ``None`` takes the family's own rule."""
        return param_groups(self, lr, weight_decay, rule or self.param_rule)
