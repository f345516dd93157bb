"""I3D: a ResNet whose kernels are inflated in time, with or without non-local blocks.

Sources: "Quo Vadis, Action Recognition?" (arXiv:1705.07750), section 2.4; as a ResNet-50 with 3x1x1 kernels in every
other block, and with five non-local blocks, "Non-local Neural Networks" (arXiv:1711.07971), table 1 and section 4.1.
"heavy" inflates every block and keeps the frames longer (MMAction2's config of that name).

Shapes: see ``vidflow.models.clip_recognizer``.
"""

from dataclasses import replace

from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizer, ResNet3DRecognizerConfig


class I3D(ResNet3DRecognizer):
    """3D ResNet, average, dropout, linear layer."""


I3D_R50 = ResNet3DConfig(
    block="bottleneck",
    blocks=(3, 4, 6, 3),
    stem_kernel=(5, 7),
    stem_stride=(2, 2),
    pool_stride=(2, 2),
    second_pool=True,
    inflated=(
        (True, True, True),
        (True, False, True, False),
        (True, False, True, False, True, False),
        (False, True, False),
    ),
)
NON_LOCAL_BLOCKS = (False, (False, True, False, True), (False, True, False, True, False, True), False)

# MMAction2, configs/_base_/models/i3d_r50.py and configs/recognition/i3d; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "i3d-tiny": ResNet3DConfig(
        block="bottleneck", blocks=(1, 1, 1, 1), width=8, stem_kernel=(3, 7), inflated=(True, False, True, True)
    ),
    "i3d-r50": I3D_R50,
    "i3d-r50-heavy": replace(I3D_R50, stem_stride=(1, 2), pool_stride=(1, 2), inflated=(True, True, True, True)),
    "i3d-r50-nl-gaussian": replace(I3D_R50, non_local="gaussian", non_local_blocks=NON_LOCAL_BLOCKS),
    "i3d-r50-nl-embedded-gaussian": replace(I3D_R50, non_local="embedded_gaussian", non_local_blocks=NON_LOCAL_BLOCKS),
    "i3d-r50-nl-dot-product": replace(I3D_R50, non_local="dot_product", non_local_blocks=NON_LOCAL_BLOCKS),
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, ResNet3DRecognizerConfig(backbone=_backbone), I3D)
