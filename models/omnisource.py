"""OmniSource: SlowOnly trained on clips and images at once, with a head for each.

Source: "Omni-sourced Webly-supervised Learning for Video Recognition" (arXiv:2003.13042), as in MMAction2's
configs/recognition/omnisource: all weights of the backbone are shared. A clip of one frame is an image.

The classes of images come behind those of clips: a run that takes turns between both numbers them from ``num_classes``.

Shapes: B samples, V views, N = B*V clips, C channels, T frames, H x W pixels, D channels of the features, K classes.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.models.backbones.resnet3d import ResNet3D, ResNet3DConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizerConfig
from vidflow.models.slowonly import SLOW_R50
from vidflow.models.weights.inflation import inflate


@dataclass(frozen=True, kw_only=True)
class OmniSourceConfig(ResNet3DRecognizerConfig):
    """The images' head beside the shared options."""

    image_classes: int = 1000
    """Classes of the images."""
    image_dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_classes < 1:
            raise ValueError(f"image_classes ({self.image_classes}) must be positive")
        if not 0 <= self.image_dropout < 1:
            raise ValueError(f"image_dropout ({self.image_dropout}) must lie in [0, 1)")
        if self.loss is not None:
            raise ValueError("loss is not for OmniSource: the classes of clips and of images have cross-entropy each")
        if self.multi_label:
            raise ValueError("multi_label is not for OmniSource: images have one class each")


class ClipHead(nn.Module):
    """Features [N, D] -> class scores [N, K], through a hidden layer of 2 K."""

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_channels, 2 * num_classes)
        self.norm = nn.BatchNorm1d(2 * num_classes)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * num_classes, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.fc(self.dropout(self.relu(self.norm(self.hidden(features)))))


class ImageHead(nn.Module):
    """Features [N, D] -> class scores [N, K]."""

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.fc(self.dropout(self.norm(features)))


class OmniSource(ClipRecognizer):
    """3D ResNet, average, and a head for clips or one for images."""

    head_prefixes = ("head.", "image_head.")
    foreign_keys = (
        (r"cls_head\.fc3d\.2\.(\w+)", r"head.hidden.\1"),
        (r"cls_head\.fc3d\.3\.(\w+)", r"head.norm.\1"),
        (r"cls_head\.fc3d\.6\.(\w+)", r"head.fc.\1"),
        (r"cls_head\.fc2d\.2\.(\w+)", r"image_head.norm.\1"),
        (r"cls_head\.fc2d\.4\.(\w+)", r"image_head.fc.\1"),
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "image_classes": ("image_head.fc.bias", 0),
        "in_channels": ("backbone.conv1.weight", 1),
    }

    def __init__(self, config: OmniSourceConfig) -> None:
        backbone = ResNet3D(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            norm_frozen=config.norm_frozen,
        )
        head = ClipHead(backbone.out_channels, config.num_classes, dropout=config.dropout)
        super().__init__(config, backbone, head)
        self.num_labels = config.num_classes + config.image_classes
        self.image_head = ImageHead(backbone.out_channels, config.image_classes, dropout=config.image_dropout)

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores before softmax: [B, V, ``num_classes``] of clips, or
        [B, V, ``image_classes``] where T is 1.

        Raises:
            ValueError: clips of another shape.
        """
        self.check_clips(clips)
        features = self.backbone(self.folded(clips)).mean(dim=(2, 3, 4))  # [N, D, T, h, w] -> [N, D]
        scores = (self.image_head if clips.shape[3] == 1 else self.head)(features)
        return scores.to(torch.promote_types(scores.dtype, torch.float32)).unflatten(0, clips.shape[:2])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``cls_loss`` of a batch of clips, or ``image_loss`` of one of images.

        Raises:
            ValueError: labels that are not int64 [B], or of images below ``num_classes``.
        """
        if batch.clips.shape[3] > 1:
            return super().loss(batch)
        labels = batch.labels - self.num_classes
        if labels.is_floating_point() or bool((labels < 0).any()):
            raise ValueError(f"labels of images must be integers from {self.num_classes}, behind the classes of clips")
        return {"image_loss": self.class_loss(self(batch), labels)}

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of images, inflated in time."""
        return inflate(tensors, self.state_dict())


_R50: ResNet3DConfig = replace(SLOW_R50, still=True, norm_momentum=0.01, zero_init=False)
# MMAction2, configs/recognition/omnisource; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "omnisource-slowonly-tiny": OmniSourceConfig(backbone=replace(_R50, blocks=(1, 1, 1, 1), width=8), image_classes=7),
    "omnisource-slowonly-r50": OmniSourceConfig(backbone=_R50),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, OmniSource)
