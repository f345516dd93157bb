"""C3D: eight 3x3x3 convolutions and two wide linear layers.

Source: "Learning Spatiotemporal Features with 3D Convolutional Networks" (arXiv:1412.0767), section 3.2 and figure 3.
The linear layers fix the clip's size: 16 frames of 112x112 pixels.

Shapes: see ``vidflow.models.clip_recognizer``; N = B*V clips.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from vidflow.models.backbones.resnet3d import init_convs3d
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.recognizer import RecognizerConfig
from vidflow.models.registry import MODELS

# Name of each convolution, the stage whose width it has, and the frames that the pooling after it joins (0: none).
CONVS = (
    ("conv1a", 0, 1),
    ("conv2a", 1, 2),
    ("conv3a", 2, 0),
    ("conv3b", 2, 2),
    ("conv4a", 3, 0),
    ("conv4b", 3, 2),
    ("conv5a", 4, 0),
    ("conv5b", 4, 2),
)


@dataclass(frozen=True, kw_only=True)
class C3DConfig(RecognizerConfig):
    """Widths beside the shared options."""

    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    """Channels of the convolutions between two poolings."""
    hidden: int = 4096
    """Width of the linear layers."""


class C3DBackbone(nn.Module):
    """Clips [N, C, 16, 112, 112] -> features [N, ``hidden``]."""

    def __init__(self, config: C3DConfig) -> None:
        super().__init__()
        channels = config.in_channels
        for name, stage, _ in CONVS:
            self.add_module(name, nn.Conv3d(channels, config.widths[stage], 3, padding=1))
            channels = config.widths[stage]
        self.relu = nn.ReLU(inplace=True)
        self.fc6 = nn.Linear(channels * 16, config.hidden)  # 1 frame of 4x4 cells
        self.fc7 = nn.Linear(config.hidden, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        init_convs3d(self)
        for linear in (self.fc6, self.fc7):
            nn.init.normal_(linear.weight, std=0.005)
            nn.init.zeros_(linear.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """[N, C, 16, 112, 112] -> [N, ``hidden``].

        Raises:
            ValueError: clips of another size.
        """
        if clips.shape[2:] != (16, 112, 112):
            raise ValueError(f"C3D takes clips of 16 frames of 112x112 pixels, not {list(clips.shape[2:])}")
        x = clips
        for name, stage, frames in CONVS:
            x = self.relu(self.get_submodule(name)(x))
            if frames:
                # Only the last pooling pads, from 7x7 to 4x4 cells.
                x = nn.functional.max_pool3d(x, (frames, 2, 2), padding=(0, 1, 1) if stage == 4 else 0)
        x = self.dropout(self.relu(self.fc6(x.flatten(1))))
        return self.relu(self.fc7(x))


class C3D(ClipRecognizer):
    """Convolutions, two linear layers, dropout, linear layer."""

    foreign_keys = (
        (r"backbone\.(conv\d[ab])\.conv\.(\w+)", r"backbone.\1.\2"),
        (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1a.weight", 1),
    }

    def __init__(self, config: C3DConfig) -> None:
        head = FeatureHead(config.hidden, config.num_classes, dropout=config.dropout, init_std=0.01)
        super().__init__(config, C3DBackbone(config), head)


# "tiny" is ours, for a CPU; its clips are of the same size.
VARIANTS = {"c3d-tiny": C3DConfig(widths=(4, 8, 8, 16, 16), hidden=32), "c3d": C3DConfig()}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, C3D)
