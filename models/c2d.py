"""C2D: a 2D ResNet on each frame, which sees time only where it pools two frames to one.

Source: the baseline of "Non-local Neural Networks" (arXiv:1711.07971), table 1, as in the authors' later code
(facebookresearch/video-nonlocal-net): one pooling in time, after the first stage, and no padding in the first spatial
one. C2D without pooling in time is TSN on the frames of a clip (``tsn-r50``).

Shapes: see ``vidflow.models.clip_recognizer``; h x w cells of the feature map.
"""

import torch
from torch import Tensor, nn

from vidflow.models.backbones.resnet import RESNETS, ResNet, ResNetConfig
from vidflow.models.clip_recognizer import ClipRecognizer
from vidflow.models.frame_recognizer import FrameRecognizer, FrameRecognizerConfig
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.layers.recompute import run_block
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS


class C2DResNet(ResNet):
    """Clips [N, C, T, H, W] -> features of the last stage [N, ``out_channels``, T // 2, h, w]."""

    def forward(self, clips: Tensor) -> Tensor:  # type: ignore[override]  # clips, not frames
        """The last frame of an odd T is left out after the first stage."""
        num_frames = clips.shape[2]
        x = clips.transpose(1, 2).flatten(0, 1)  # [N, C, T, H, W] -> [N*T, C, H, W]
        x = nn.functional.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, stride=2)
        for block in self.layer1:
            x = run_block(block, x, num_frames, recompute=self.recompute)
        x = x.unflatten(0, (-1, num_frames))  # [N*T, C, h, w] -> [N, T, C, h, w]
        x = torch.maximum(x[:, 0 : num_frames - 1 : 2], x[:, 1::2]).flatten(0, 1)  # -> [N*(T//2), C, h, w]
        for stage in (self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = run_block(block, x, num_frames // 2, recompute=self.recompute)
        return x.unflatten(0, (-1, num_frames // 2)).transpose(1, 2)


class C2D(ClipRecognizer):
    """2D ResNet with one pooling in time, average over the whole clip, dropout, linear layer."""

    foreign_keys = RESNET_2D_KEYS
    foreign_config_mark = r"type='C2D'"
    option_shapes = FrameRecognizer.option_shapes

    def __init__(self, config: FrameRecognizerConfig) -> None:
        assert isinstance(config.backbone, ResNetConfig)
        backbone = C2DResNet(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            partial_bn=config.partial_bn,
        )
        head = FeatureHead(backbone.out_channels, config.num_classes, dropout=config.dropout, init_std=0.01)
        super().__init__(config, backbone, head)


# "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "c2d-tiny": ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=12, stem="3x3"),
    **{f"c2d-r{depth}": RESNETS[depth] for depth in ("50", "101")},
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, FrameRecognizerConfig(backbone=_backbone), C2D)
