"""TPN recognizers: a temporal pyramid on SlowOnly or on TSM.

Source: "Temporal Pyramid Network for Action Recognition" (arXiv:2004.03548), section 3 and table 1; the auxiliary loss
on the last stage but one has weight 0.5.

Shapes: B samples, V views, N = B*V clips, C channels, T frames, H x W pixels, h x w cells of the feature map, K
classes.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from vidflow.batch import Batch
from vidflow.models.backbones.resnet import RESNETS, ResNet, ResNetConfig
from vidflow.models.backbones.resnet3d import ResNet3D, ResNet3DConfig
from vidflow.models.frame_recognizer import FrameRecognizer
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.layers.conv3d import quick_layout
from vidflow.models.layers.freezing import Freezable
from vidflow.models.layers.temporal_shift import TemporalShift
from vidflow.models.necks.tpn import TPN, AuxiliaryHead
from vidflow.models.recognizer import Recognizer
from vidflow.models.registry import MODELS
from vidflow.models.resnet3d_recognizer import FreezingConfig
from vidflow.models.slowonly import SLOW_R50
from vidflow.models.weights.inflation import inflate
from vidflow.models.weights.keys import RESNET_3D_KEYS


@dataclass(frozen=True, kw_only=True)
class TPNConfig(FreezingConfig):
    """The pyramid beside the shared options."""

    backbone: ResNet3DConfig | ResNetConfig
    """SlowOnly, or the frames' network of TSM."""
    pyramid_width: int = 1024
    """Channels of the pyramid's levels."""
    pyramid_frames: int = 8
    """Frames that the pyramid joins to one."""
    auxiliary_weight: float = 0.5
    """Of the loss on the last stage but one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.frozen_stages <= 4:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, 4]")
        if self.auxiliary_weight < 0:
            raise ValueError(f"auxiliary_weight ({self.auxiliary_weight}) must not be negative")
        if self.norm_frozen and isinstance(self.backbone, ResNetConfig):
            raise ValueError("norm_frozen is for TPN on SlowOnly only")


class TPNRecognizer(Recognizer):
    """Backbone, pyramid, average, dropout, linear layer."""

    head_prefixes = ("head.", "auxiliary.fc.")
    fresh_prefixes = ("neck.", "auxiliary.")
    foreign_keys = (
        (r"neck\.temporal_modulation_ops\.(\d)\.conv\.conv\.(\w+)", r"neck.temporal.\1.0.\2"),
        (r"neck\.downsample_ops\.0\.conv\.conv\.(\w+)", r"neck.up.\1"),
        (r"neck\.level_fusion_1\.downsamples\.(\d)\.conv\.conv\.(\w+)", r"neck.downward.levels.\1.0.\2"),
        (r"neck\.level_fusion_1\.downsamples\.(\d)\.conv\.bn\.(\w+)", r"neck.downward.levels.\1.1.\2"),
        (r"neck\.level_fusion_1\.fusion_conv\.conv\.(\w+)", r"neck.downward.fusion.0.\1"),
        (r"neck\.level_fusion_1\.fusion_conv\.bn\.(\w+)", r"neck.downward.fusion.1.\1"),
        (r"neck\.level_fusion_2\.downsamples\.(\d)\.conv\.conv\.(\w+)", r"neck.upward.levels.\1.0.\2"),
        (r"neck\.level_fusion_2\.downsamples\.(\d)\.conv\.bn\.(\w+)", r"neck.upward.levels.\1.1.\2"),
        (r"neck\.level_fusion_2\.fusion_conv\.conv\.(\w+)", r"neck.upward.fusion.0.\1"),
        (r"neck\.level_fusion_2\.fusion_conv\.bn\.(\w+)", r"neck.upward.fusion.1.\1"),
        (r"neck\.spatial_modulation\.spatial_modulation\.0\.0\.conv\.(\w+)", r"neck.spatial.0.\1"),
        (r"neck\.spatial_modulation\.spatial_modulation\.0\.0\.bn\.(\w+)", r"neck.spatial.1.\1"),
        (r"neck\.pyramid_fusion\.conv\.(\w+)", r"neck.fusion.0.\1"),
        (r"neck\.pyramid_fusion\.bn\.(\w+)", r"neck.fusion.1.\1"),
        (r"neck\.aux_head\.conv\.conv\.(\w+)", r"auxiliary.conv.0.\1"),
        (r"neck\.aux_head\.conv\.bn\.(\w+)", r"auxiliary.conv.1.\1"),
        (r"neck\.aux_head\.fc\.(\w+)", r"auxiliary.fc.\1"),
        *RESNET_3D_KEYS,
    )
    option_shapes = FrameRecognizer.option_shapes

    def __init__(self, config: TPNConfig, backbone: Freezable, channels: int) -> None:
        super().__init__(config)
        self.backbone = backbone
        if config.activation_checkpointing:
            backbone.recompute_blocks()
        self.neck = TPN(channels, width=config.pyramid_width, frames=config.pyramid_frames)
        self.auxiliary = AuxiliaryHead(channels, config.num_classes)
        self.head = FeatureHead(2 * channels, config.num_classes, dropout=config.dropout, init_std=0.01)
        self.auxiliary_weight = config.auxiliary_weight

    def features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, T, H, W] -> the last two stages, [N, D, T, 2h, 2w] and [N, 2D, T, h, w]."""
        raise NotImplementedError

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: clips of another shape.
        """
        self.check_clips(clips)
        features = self.neck(*self.features(clips.flatten(0, 1)))
        return self.head(features).unflatten(0, clips.shape[:2])  # [B*V, K] -> [B, V, K]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``cls_loss`` and the weighted ``aux_loss``, scalars.

        Raises:
            ValueError: clips or labels of another shape, see ``Recognizer.loss``.
        """
        clips = batch.clips
        self.check_clips(clips)
        low, high = self.features(clips.flatten(0, 1))
        scores = self.head(self.neck(low, high)).unflatten(0, clips.shape[:2])
        auxiliary = self.auxiliary(low).unflatten(0, clips.shape[:2])
        return {
            "cls_loss": self.class_loss(scores, batch.labels),
            "aux_loss": self.auxiliary_weight * self.class_loss(auxiliary, batch.labels),
        }


class TPNSlowOnly(TPNRecognizer):
    """TPN on a 3D ResNet."""

    def __init__(self, config: TPNConfig) -> None:
        assert isinstance(config.backbone, ResNet3DConfig)
        backbone = ResNet3D(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            norm_frozen=config.norm_frozen,
        )
        super().__init__(config, backbone, config.backbone.stage_channels[-2])

    def features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, T, H, W] -> the last two stages, [N, D, T, 2h, 2w] and [N, 2D, T, h, w]."""
        assert isinstance(self.backbone, ResNet3D)
        low, high = self.backbone.stages(quick_layout(clips))[-2:]
        return low, high

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of images, inflated in time."""
        return inflate(tensors, self.state_dict())


class TPNTSM(TPNRecognizer):
    """TPN on a 2D ResNet with temporal shifts in every block."""

    def __init__(self, config: TPNConfig) -> None:
        assert isinstance(config.backbone, ResNetConfig)
        backbone = ResNet(
            config.backbone,
            in_channels=config.in_channels,
            frozen_stages=config.frozen_stages,
            norm_eval=config.norm_eval,
            before_block=lambda stage, index, channels: TemporalShift(),
        )
        super().__init__(config, backbone, backbone.out_channels // 2)

    def features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, T, H, W] -> the last two stages, [N, D, T, 2h, 2w] and [N, 2D, T, h, w]."""
        assert isinstance(self.backbone, ResNet)
        num_frames = clips.shape[2]
        frames = clips.transpose(1, 2).flatten(0, 1)  # [N, C, T, H, W] -> [N*T, C, H, W]
        low, high = (
            stage.unflatten(0, (-1, num_frames)).transpose(1, 2)  # [N*T, D, h, w] -> [N, D, T, h, w]
            for stage in self.backbone.stages(frames, num_frames)[-2:]
        )
        return low, high


_TINY = ResNetConfig(block="bottleneck", blocks=(1, 1, 1, 1), width=8)
# MMAction2, configs/_base_/models/tpn_{slowonly,tsm}_r50.py; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "tpn-slowonly-tiny": TPNConfig(backbone=replace(SLOW_R50, blocks=(1, 1, 1, 1), width=8), pyramid_width=64),
    "tpn-slowonly-r50": TPNConfig(backbone=SLOW_R50),
    "tpn-tsm-tiny": TPNConfig(backbone=_TINY, pyramid_width=64),
    "tpn-tsm-r50": TPNConfig(backbone=RESNETS["50"]),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, TPNSlowOnly if isinstance(_config.backbone, ResNet3DConfig) else TPNTSM)
