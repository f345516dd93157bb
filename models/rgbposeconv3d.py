"""RGBPose-Conv3D: frames and heatmaps of skeletons through two connected networks, each with its own classes' scores.

Source: "Revisiting Skeleton-based Action Recognition" (arXiv:2104.13586), section 3.4; sizes, and both losses of weight
1, are those of MMAction2's config "rgbpose_conv3d".

Shapes: B samples, V views, C channels, T frames (4 T heatmaps), H x W pixels (a quarter of each in heatmaps), K
classes.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidflow.batch import Batch
from vidflow.models.backbones.rgb_pose import RGBPose, RGBPoseConfig
from vidflow.models.clip_recognizer import fold_views
from vidflow.models.heads.feature import FeatureHead
from vidflow.models.recognizer import Recognizer, RecognizerConfig
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import pathway_keys
from vidflow.predictions import ClassPredictions

_PATH = r"backbone\.(rgb|pose)_path\."


@dataclass(frozen=True, kw_only=True)
class RGBPoseRecognizerConfig(RecognizerConfig):
    """Options of one variant."""

    num_classes: int = 60
    backbone: RGBPoseConfig
    pose_channels: int = 17
    """C of the heatmaps."""
    loss_weights: tuple[float, float] = (1.0, 1.0)
    """Of the frames' and of the heatmaps' scores."""
    stream_weights: tuple[float, float] = (1.0, 1.0)
    """Shares of both in a prediction; one may be 0."""
    drop_paths: tuple[float, float] = (0.0, 0.0)
    """Probabilities of training without the connections towards the frames, and without those towards the heatmaps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("loss_weights", "stream_weights", "drop_paths"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 2 or min(values) < 0:
                raise ValueError(f"{name} ({list(values)}) must be two numbers, for frames and heatmaps, none negative")
            object.__setattr__(self, name, values)
        if not sum(self.stream_weights):
            raise ValueError("stream_weights must not both be 0")
        if max(self.drop_paths) > 1:
            raise ValueError(f"drop_paths ({list(self.drop_paths)}) must lie in [0, 1]")
        if self.pose_channels < 1:
            raise ValueError(f"pose_channels ({self.pose_channels}) must be positive")


class RGBPoseConv3D(Recognizer):
    """Both networks, the average of each over its clip, dropout, a linear layer of each."""

    head_prefixes = ("rgb_head.", "pose_head.")
    # All connections, to_rgb and to_pose: a file joined from two single streams has none, and one with some is damaged.
    fresh_prefixes = ("backbone.to_",)
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("rgb_head.fc.bias", 0),
        "in_channels": ("backbone.rgb.conv1.weight", 1),
        "pose_channels": ("backbone.pose.conv1.weight", 1),
    }
    foreign_keys = (
        *pathway_keys(_PATH),
        (r"backbone\.rgb_path\.layer2_lateral\.conv\.(\w+)", r"backbone.to_rgb.0.\1"),
        (r"backbone\.rgb_path\.layer3_lateral\.conv\.(\w+)", r"backbone.to_rgb.1.\1"),
        (r"backbone\.pose_path\.layer1_lateral\.(conv|bn)\.(\w+)", r"backbone.to_pose.0.\1.\2"),
        (r"backbone\.pose_path\.layer2_lateral\.(conv|bn)\.(\w+)", r"backbone.to_pose.1.\1.\2"),
        (r"cls_head\.fc_(rgb|pose)\.(\w+)", r"\1_head.fc.\2"),
    )

    def __init__(self, config: RGBPoseRecognizerConfig) -> None:
        super().__init__(config)
        self.backbone = RGBPose(
            config.backbone,
            rgb_channels=config.in_channels,
            pose_channels=config.pose_channels,
            drop_paths=config.drop_paths,
        )
        self.rgb_head, self.pose_head = (
            FeatureHead(channels, config.num_classes, dropout=config.dropout, init_std=0.01)
            for channels in self.backbone.out_channels
        )
        self.loss_weights, self.stream_weights = config.loss_weights, config.stream_weights
        self.pose_channels = config.pose_channels

    def stream_logits(self, clips: Tensor, heatmaps: Tensor) -> dict[str, Tensor]:
        """Class scores [B, V, K] of both streams, ``rgb`` and ``pose``, before softmax or sigmoid.

        Args:
            clips: [B, V, C, T, H, W], normalised.
            heatmaps: [B, V, C', 4 T, H/4, W/4].

        Raises:
            ValueError: inputs of other shapes.
        """
        self.check_clips(clips)
        if heatmaps.ndim != 6 or heatmaps.shape[:3] != (*clips.shape[:2], self.pose_channels):
            B, V = clips.shape[:2]
            raise ValueError(f"heatmaps must be [{B}, {V}, {self.pose_channels}, T, H, W], not {list(heatmaps.shape)}")
        rgb, pose = self.backbone(
            fold_views(clips, channels_last=False), fold_views(heatmaps, channels_last=False)
        )  # [B, V, ...] -> [B*V, ...]
        scores = {"rgb": self.rgb_head(rgb), "pose": self.pose_head(pose)}
        return {name: score.unflatten(0, clips.shape[:2]) for name, score in scores.items()}

    def logits(self, clips: Tensor, heatmaps: Tensor) -> Tensor:  # type: ignore[override]  # of two inputs
        """Class scores [B, V, K] before softmax or sigmoid, which gives the weighted mean of both streams'
        probabilities.

        Args:
            clips, heatmaps: as ``stream_logits``.

        Raises:
            ValueError: inputs of other shapes.
        """
        streams = self.stream_logits(clips, heatmaps)
        scores = torch.stack([streams["rgb"], streams["pose"]])  # [2, B, V, K]
        shares = scores.new_tensor(self.stream_weights).div(sum(self.stream_weights))[:, None, None, None]
        if not self.multi_label:
            return (scores.log_softmax(dim=-1) + shares.log()).logsumexp(dim=0)
        yes, no = ((nn.functional.logsigmoid(sign * scores) + shares.log()).logsumexp(dim=0) for sign in (1, -1))
        return yes - no

    def forward(self, batch: Batch) -> Tensor:
        """As ``logits``, of the inputs ``clips`` and ``heatmaps``.

        Raises:
            ValueError: inputs that are missing, or of other shapes.
        """
        return self.logits(*self._inputs(batch))

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if "heatmaps" not in batch.inputs:
            raise ValueError(
                f"the batch has {', '.join(batch.inputs)} and no heatmaps; use a pipeline of kind = 'rgb_pose'"
            )
        return batch.clips, batch.inputs["heatmaps"]

    def input_shapes(self, view: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        _, frames, height, width = view
        alpha = self.backbone.config.alpha
        return {"clips": view, "heatmaps": (self.pose_channels, alpha * frames, -(-height // 4), -(-width // 4))}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``rgb_loss`` and ``pose_loss``, scalars: the means over samples and views, weighted.

        Raises:
            ValueError: as ``class_loss``.
        """
        scores = self.stream_logits(*self._inputs(batch))
        return {
            f"{name}_loss": weight * self.class_loss(scores[name], batch.labels)
            for name, weight in zip(("rgb", "pose"), self.loss_weights, strict=True)
        }

    @torch.no_grad()
    def predict(self, batch: Batch) -> ClassPredictions:
        """Probabilities [B, K]: the weighted mean of both streams'; call ``eval()`` first."""
        clips, heatmaps = self._inputs(batch)
        size = self.config.max_views or clips.shape[0] * clips.shape[1]
        # [B, V, ...] -> [B*V, 1, ...] -> [<= max_views, 1, ...]
        pieces = zip(*(views.flatten(0, 1)[:, None].split(size) for views in (clips, heatmaps)), strict=True)
        scores = torch.cat([self.logits(*piece) for piece in pieces]).view(*clips.shape[:2], -1)  # [B, V, K]
        return self.predictions(scores)


# MMAction2's config "rgbpose_conv3d"; "tiny" is ours, for small clips on a CPU.
VARIANTS = {
    "rgbposeconv3d-tiny": RGBPoseConfig(rgb_blocks=(1, 1, 1, 1), pose_blocks=(1, 1, 1), rgb_width=8, pose_width=8),
    "rgbposeconv3d-r50": RGBPoseConfig(),
}
for _name, _backbone in VARIANTS.items():
    MODELS.add(_name, RGBPoseRecognizerConfig(backbone=_backbone), RGBPoseConv3D)
