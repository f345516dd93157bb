"""PoseC3D: a small SlowOnly network on heatmaps of skeletons.

Source: "Revisiting Skeleton-based Action Recognition" (arXiv:2104.13586), section 3.3 and table 2: three stages of half
the width, no reduction in the stem, and the frames of the last stage halved. C is one map per keypoint or limb.

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import replace

from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizer, ResNet3DRecognizerConfig


class PoseC3D(ResNet3DRecognizer):
    """3D ResNet on heatmaps, average, dropout, linear layer."""


R50 = ResNet3DConfig(
    block="bottleneck",
    blocks=(4, 6, 3),
    width=32,
    stem_kernel=(1, 7),
    stem_stride=(1, 1),
    pool_stride=(1, 1),
    inflated=(False, True, True),
    frame_strides=(1, 1, 2),
    pixel_strides=(2, 2, 2),
    non_local_blocks=(False, False, False),
    lateral_channels=(0, 0, 0),
    zero_init=True,
)

# The blocks are those of the second to the fourth stage of ResNet-50 on FineGYM and NTU RGB+D, and of the first to the
# third on Kinetics-400 and what is trained from it (MMAction2's configs); "tiny" is ours, for small maps on a CPU.
VARIANTS = {
    "posec3d-tiny": replace(R50, blocks=(1, 1, 1), width=8),
    "posec3d-r50": R50,
    "posec3d-r50-k400": replace(R50, blocks=(3, 4, 6)),
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, ResNet3DRecognizerConfig(backbone=_backbone, in_channels=17, num_classes=60), PoseC3D)
