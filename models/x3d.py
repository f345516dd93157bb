"""X3D recognizers.

Source: "X3D: Expanding Architectures for Efficient Video Recognition" (arXiv:2004.04730), table 3. S and M are the same
network on clips of 13 frames of 160x160 pixels and 16 of 224x224.

Shapes: see ``vidflow.models.clip_recognizer``; N = B*V clips, D channels.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidflow.models.backbones.x3d import X3D as Backbone
from vidflow.models.backbones.x3d import X3DConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import FreezingConfig

_BLOCK = r"backbone\.(layer\d\.\d+)"


@dataclass(frozen=True, kw_only=True)
class X3DRecognizerConfig(FreezingConfig):
    """Options of one variant."""

    backbone: X3DConfig
    hidden: int = 2048
    """Width of the head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.frozen_stages <= 4:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, 4]")


class X3DHead(nn.Module):
    """Features [N, D, T, h, w] -> class scores [N, K]: the mean, a hidden layer, dropout, linear layer."""

    def __init__(self, in_channels: int, hidden: int, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_channels, hidden, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden, num_classes)
        for linear in (self.hidden, self.fc):
            nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[N, D, T, h, w] -> [N, K], in float32 at least."""
        x = self.fc(self.dropout(self.relu(self.hidden(features.mean(dim=(2, 3, 4))))))
        return x.to(torch.promote_types(x.dtype, torch.float32))


class X3D(ClipRecognizer):
    """X3D and its head."""

    foreign_keys = (
        (r"backbone\.conv1_([st])\.conv\.(\w+)", r"backbone.conv1_\1.\2"),
        (r"backbone\.conv1_t\.bn\.(\w+)", r"backbone.bn1.\1"),
        (r"backbone\.conv5\.conv\.(\w+)", r"backbone.conv5.\1"),
        (r"backbone\.conv5\.bn\.(\w+)", r"backbone.bn5.\1"),
        (_BLOCK + r"\.conv(\d)\.conv\.(\w+)", r"backbone.\1.conv\2.\3"),
        (_BLOCK + r"\.conv(\d)\.bn\.(\w+)", r"backbone.\1.bn\2.\3"),
        (_BLOCK + r"\.se_module\.(fc\d\.\w+)", r"backbone.\1.excitation.\2"),
        (_BLOCK + r"\.downsample\.conv\.(\w+)", r"backbone.\1.downsample.0.\2"),
        (_BLOCK + r"\.downsample\.bn\.(\w+)", r"backbone.\1.downsample.1.\2"),
        (r"cls_head\.fc1\.(\w+)", r"head.hidden.\1"),
        (r"cls_head\.fc2\.(\w+)", r"head.fc.\1"),
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1_s.weight", 1),
    }

    def __init__(self, config: X3DRecognizerConfig) -> None:
        backbone = Backbone(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            norm_frozen=config.norm_frozen,
        )
        head = X3DHead(backbone.out_channels, config.hidden, config.num_classes, dropout=config.dropout)
        super().__init__(config, backbone, head)


# arXiv:2004.04730, table 3; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "x3d-tiny": X3DRecognizerConfig(backbone=X3DConfig(width=8, depth=1), hidden=64),
    "x3d": X3DRecognizerConfig(backbone=X3DConfig()),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, X3D)
