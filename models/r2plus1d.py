"""R(2+1)D: a 3D ResNet whose every convolution is one in space and one in time.

Source: "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (arXiv:1711.11248), section 3.5 and
table 1. Differs from the paper as MMAction2 does: a max pooling follows the first convolution, and the shortcuts are
factored too.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import replace
from typing import ClassVar

from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizer, ResNet3DRecognizerConfig


class R2Plus1D(ResNet3DRecognizer):
    """3D ResNet of factored convolutions, average, dropout, linear layer."""

    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.conv1.spatial.weight", 1),
    }


R34 = ResNet3DConfig(
    block="basic", blocks=(3, 4, 6, 3), kernels="2+1", stem_kernel=(3, 7), frame_strides=(1, 2, 2, 2), norm_eps=1e-3
)

# arXiv:1711.11248, table 1; "tiny" is ours, for small clips on a CPU.
VARIANTS = {"r2plus1d-tiny": replace(R34, blocks=(1, 1, 1, 1), width=8), "r2plus1d-r34": R34}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, ResNet3DRecognizerConfig(backbone=_backbone), R2Plus1D)
