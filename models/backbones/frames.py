"""All backbones for single frames, by the type of their config."""

from typing import Any

from torch import nn

from vidflow.models.backbones.densenet import DenseNet, DenseNetConfig
from vidflow.models.backbones.mobilenet_v2 import MobileNetV2, MobileNetV2Config
from vidflow.models.backbones.mobileone import MobileOne, MobileOneConfig
from vidflow.models.backbones.resnet import ResNet, ResNetConfig
from vidflow.models.backbones.swin2d import Swin2D, Swin2DConfig

FrameBackboneConfig = ResNetConfig | MobileNetV2Config | MobileOneConfig | DenseNetConfig | Swin2DConfig

BACKBONES: dict[type, type[nn.Module]] = {
    ResNetConfig: ResNet,
    MobileNetV2Config: MobileNetV2,
    MobileOneConfig: MobileOne,
    DenseNetConfig: DenseNet,
    Swin2DConfig: Swin2D,
}


def build_frame_backbone(config: FrameBackboneConfig, **options: Any) -> nn.Module:
    """The backbone of a config; it is called as ``backbone(frames [N, C, H, W], T)`` and has ``out_channels``.

    Args:
        options: of the backbone's constructor: ``in_channels``, ``frozen_stages``, ``norm_eval``, ``partial_bn``, and
            the modules that mix frames, where it has places for them.
    """
    return BACKBONES[type(config)](config, **options)
