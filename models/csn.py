"""CSN: channel-separated networks, 3D ResNets whose 3x3x3 convolutions are depthwise.

Source: "Video Classification with Channel-Separated Convolutional Networks" (arXiv:1904.02811), figure 2 and table 1:
"ir" (interaction-reduced) leaves the channels' mixing to the 1x1x1 convolutions of the bottleneck, "ip"
(interaction-preserved) adds one.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import replace

from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizer, ResNet3DRecognizerConfig
from vidflow.models.weights.keys import RESNET_3D_KEYS

_BLOCK = r"backbone\.(layer\d\.\d+)"


class IRCSN(ResNet3DRecognizer):
    """3D ResNet of depthwise convolutions, average, dropout, linear layer."""

    foreign_keys = (
        (_BLOCK + r"\.conv2\.0\.conv\.(\w+)", r"backbone.\1.conv2.\2"),
        (_BLOCK + r"\.conv2\.0\.bn\.(\w+)", r"backbone.\1.bn2.\2"),
        *RESNET_3D_KEYS,
    )


class IPCSN(ResNet3DRecognizer):
    """The same with a 1x1x1 convolution before each depthwise one."""

    foreign_keys = (
        (_BLOCK + r"\.conv2\.0\.conv\.(\w+)", r"backbone.\1.conv2.0.\2"),
        (_BLOCK + r"\.conv2\.0\.bn\.(\w+)", r"backbone.\1.conv2.1.\2"),
        (_BLOCK + r"\.conv2\.1\.conv\.(\w+)", r"backbone.\1.conv2.2.\2"),
        (_BLOCK + r"\.conv2\.1\.bn\.(\w+)", r"backbone.\1.bn2.\2"),
        *RESNET_3D_KEYS,
    )


IR_R50 = ResNet3DConfig(
    block="bottleneck",
    blocks=(3, 4, 6, 3),
    kernels="ir",
    stem_kernel=(3, 7),
    frame_strides=(1, 2, 2, 2),
    norm_eps=1e-3,
)

# arXiv:1904.02811, table 1; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "ircsn-tiny": replace(IR_R50, blocks=(1, 1, 1, 1), width=8),
    "ircsn-r50": IR_R50,
    "ircsn-r152": replace(IR_R50, blocks=(3, 8, 36, 3)),
    "ipcsn-tiny": replace(IR_R50, blocks=(1, 1, 1, 1), width=8, kernels="ip"),
    "ipcsn-r152": replace(IR_R50, blocks=(3, 8, 36, 3), kernels="ip"),
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, ResNet3DRecognizerConfig(backbone=_backbone), IPCSN if _backbone.kernels == "ip" else IRCSN)
