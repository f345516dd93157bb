"""SlowOnly: a 3D ResNet that keeps all its few frames and spans time in the last two stages only.

Source: the slow pathway alone of "SlowFast Networks for Video Recognition" (arXiv:1812.03982), table 1 and section 4.1;
non-local blocks in every other block of the middle stages are MMAction2's configs "nl-embedded-gaussian".

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import replace

from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizer, ResNet3DRecognizerConfig


class SlowOnly(ResNet3DRecognizer):
    """3D ResNet, average, dropout, linear layer."""


SLOW_R50 = ResNet3DConfig(
    block="bottleneck", blocks=(3, 4, 6, 3), stem_kernel=(1, 7), inflated=(False, False, True, True), zero_init=True
)
NON_LOCAL_BLOCKS = (False, (True, False, True, False), (True, False, True, False, True, False), False)

# arXiv:1812.03982, table 1; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "slowonly-tiny": replace(SLOW_R50, blocks=(1, 1, 1, 1), width=8),
    "slowonly-r50": SLOW_R50,
    "slowonly-r101": replace(SLOW_R50, blocks=(3, 4, 23, 3)),
    "slowonly-r50-nl-embedded-gaussian": replace(
        SLOW_R50, non_local="embedded_gaussian", non_local_scale=True, non_local_blocks=NON_LOCAL_BLOCKS
    ),
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, ResNet3DRecognizerConfig(backbone=_backbone), SlowOnly)
