"""The task model of 2D recognizers: frames through a backbone, clips through a head, views averaged.

Shapes: B samples, V views, C channels, T frames, H x W pixels, K classes.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.batch import Batch
from vidflow.models.backbones.resnet import ResNetConfig
from vidflow.models.param_groups import Rule, param_groups
from vidflow.predictions import ClassPredictions


@dataclass(frozen=True, kw_only=True)
class FrameRecognizerConfig:
    """Options that TSN and TSM share."""

    backbone: ResNetConfig
    num_classes: int = 400
    """K."""
    multi_label: bool = False
    """A sample may have any number of classes: sigmoid and binary cross-entropy instead of softmax and
    cross-entropy."""
    in_channels: int = 3
    """C of the clips."""
    dropout: float = 0.5
    label_smoothing: float = 0.0
    average_views: Literal["prob", "score"] = "prob"
    """Views are averaged as probabilities, or as scores before the softmax."""
    frozen_stages: int = -1
    """-1 none, 0 the first convolution, k also stages 1..k of the backbone stay as they are."""
    norm_eval: bool = False
    """BatchNorm keeps its stored statistics in training."""
    partial_bn: bool = False
    """All BatchNorm layers but the first keep their stored statistics and weights."""

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
        if not -1 <= self.frozen_stages <= 4:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, 4]")


def fold_frames(clips: Tensor, *, channels_last: bool) -> Tensor:
    """Clips [B, V, C, T, H, W] -> frames [B*V*T, C, H, W], with one copy at most.

    Args:
        channels_last: memory layout of the frames.
    """
    _, _, C, _, H, W = clips.shape
    if channels_last:
        return clips.permute(0, 1, 3, 4, 5, 2).reshape(-1, H, W, C).permute(0, 3, 1, 2)
    return clips.transpose(2, 3).reshape(-1, C, H, W)


class FrameRecognizer(nn.Module):
    """Classifies clips frame by frame; only the backbone's hooks and the head's average join the frames.

    Args:
        backbone: called as ``backbone(frames [N, C, H, W], T)``, gives [N, D, h, w].
        head: called as ``head(features [N, D, h, w], T)``, gives [N / T, K].
    """

    head_prefixes = ("head.",)
    """Parameters of these names are drawn anew where weights of another set of classes are loaded."""
    foreign_keys: tuple[tuple[str, str], ...] = ()
    """Patterns and replacements that turn other projects' parameter names into ours, tried in order, the first match
    only."""
    foreign_mark = ""
    """A pattern that only this family's names in other projects' files have, where families share all others."""
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1.weight", 1),
    }
    """Options that a file of weights tells: the parameter, and the axis of its shape."""
    param_rule: Rule = "default"

    def __init__(self, config: FrameRecognizerConfig, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.config, self.backbone, self.head = config, backbone, head
        self.num_classes, self.multi_label = config.num_classes, config.multi_label

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: clips of another shape.
        """
        if clips.ndim != 6 or clips.shape[2] != self.config.in_channels:
            raise ValueError(f"clips must be [B, V, {self.config.in_channels}, T, H, W], not {list(clips.shape)}")
        num_frames = clips.shape[3]
        weight = next(self.backbone.parameters())
        channels_last = (
            weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        )
        features = self.backbone(fold_frames(clips, channels_last=channels_last), num_frames)
        return self.head(features, num_frames).unflatten(0, clips.shape[:2])  # [B*V, K] -> [B, V, K]

    def forward(self, batch: Batch) -> Tensor:
        """Class scores [B, V, K] before softmax or sigmoid."""
        return self.logits(batch.clips)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``cls_loss``, a scalar: the mean over samples and views.

        Raises:
            ValueError: labels that are not int64 [B], or for multi-label models float [B, K].
        """
        scores, labels = self(batch), batch.labels
        B, V, K = scores.shape
        expected = (B, K) if self.multi_label else (B,)
        if tuple(labels.shape) != expected or labels.is_floating_point() != self.multi_label:
            kind = "multi-label float" if self.multi_label else "integer"
            raise ValueError(
                f"labels must be {kind} of shape {list(expected)}, not {labels.dtype} {list(labels.shape)}"
            )
        scores = scores.flatten(0, 1)  # [B, V, K] -> [B*V, K]
        labels = labels.repeat_interleave(V, dim=0) if V > 1 else labels
        if self.multi_label:
            return {"cls_loss": functional.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype))}
        return {"cls_loss": functional.cross_entropy(scores, labels, label_smoothing=self.config.label_smoothing)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> ClassPredictions:
        """Probabilities [B, K] of the model as it is; call ``eval()`` first."""
        scores = self(batch)
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
