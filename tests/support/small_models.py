"""Small networks: 2D ones with every kind of layer that the published ones have, and the small clips of all others."""

from collections.abc import Callable
from functools import partial

from torch import nn

from vidflow.models import build_model
from vidflow.models.backbones.densenet import DenseNetConfig
from vidflow.models.backbones.mobilenet_v2 import MobileNetV2Config
from vidflow.models.backbones.mobileone import MobileOneConfig
from vidflow.models.backbones.resnet import ResNetConfig
from vidflow.models.backbones.swin2d import Swin2DConfig
from vidflow.models.frame_recognizer import FrameRecognizerConfig
from vidflow.models.tanet import TANet, TANetConfig
from vidflow.models.tin import TIN, TINConfig
from vidflow.models.tsm import TSM, TSMConfig
from vidflow.models.tsn import TSN

BOTTLENECKS = ResNetConfig(block="bottleneck", blocks=(1, 3, 1, 1), width=16, stem="3x3")
NARROW_ONE = MobileOneConfig(
    widths=(1.0, 1.0, 1.0, 1.0), channels=(16, 16, 32, 32), blocks=(1, 2, 2, 1), branches=2, gated=(0, 0, 1, 1)
)
NARROW_V2 = MobileNetV2Config(stages=((1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 2, 2)), stem_channels=16, out_channels=64)
NARROW_SWIN = Swin2DConfig(width=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=2)
SHARED = {"num_classes": 3, "dropout": 0.0}
FRAME_MODELS: dict[str, Callable[[], nn.Module]] = {
    "tin": lambda: build_model("tin-tiny", **SHARED),
    "tin of bottlenecks": lambda: TIN(TINConfig(backbone=BOTTLENECKS, num_frames=8, **SHARED)),
    "trn": lambda: build_model("trn-tiny", **SHARED),
    "tanet": lambda: build_model("tanet-tiny", **SHARED),
    "tanet of bottlenecks": lambda: TANet(TANetConfig(backbone=BOTTLENECKS, num_frames=8, **SHARED)),
    **{
        f"tsm with non-local blocks, {mode}": partial(
            lambda mode: TSM(TSMConfig(backbone=BOTTLENECKS, non_local=mode, **SHARED)), mode
        )
        for mode in ("gaussian", "embedded_gaussian", "dot_product")
    },
    "tsm of MobileNetV2": lambda: TSM(TSMConfig(backbone=NARROW_V2, **SHARED)),
    "tsm of MobileOne": lambda: TSM(TSMConfig(backbone=NARROW_ONE, **SHARED)),
    "tsn of MobileOne": lambda: TSN(FrameRecognizerConfig(backbone=NARROW_ONE, **SHARED)),
    "tsn of DenseNet": lambda: TSN(
        FrameRecognizerConfig(backbone=DenseNetConfig(growth=8, blocks=(2, 2, 2, 2), stem_channels=16), **SHARED)
    ),
    "tsn of Swin": lambda: TSN(FrameRecognizerConfig(backbone=NARROW_SWIN, **SHARED)),
}

# Name of a model, and options -> frames and size of small clips.
CLIP_MODELS: dict[str, tuple[int, int]] = {
    "actionclip-tiny": (8, 32),
    "c2d-tiny": (4, 48),
    "c3d-tiny": (16, 112),
    "i3d-tiny": (4, 48),
    "slowonly-tiny": (4, 48),
    "r2plus1d-tiny": (8, 48),
    "ircsn-tiny": (8, 48),
    "ipcsn-tiny": (8, 48),
    "slowfast-tiny": (8, 48),
    "x3d-tiny": (4, 64),
    "tpn-slowonly-tiny": (8, 64),
    "tpn-tsm-tiny": (8, 64),
    "omnisource-slowonly-tiny": (4, 48),
    "posec3d-tiny": (4, 16),
    "tsn-tiny": (4, 32),
    "tsm-tiny": (4, 32),
    "timesformer-tiny": (4, 32),
    "timesformer-tiny attention joint": (4, 32),
    "timesformer-tiny attention space": (4, 32),
    "swin-demo": (12, 44),
    "mvit-tiny": (8, 32),
    "uniformer-tiny": (4, 32),
    "uniformerv2-tiny": (4, 32),
    "videomae-tiny": (4, 32),
}
