"""MS-G3D recognizers.

Source: see ``vidflow.models.backbones.msg3d``.

Shapes: see ``vidflow.models.skeleton_recognizer``; R frames of a window, S numbers of hops.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vidflow.models.backbones.msg3d import WINDOWS, MSG3DBackbone
from vidflow.models.layers.graph_adjacency import edge_adjacency, hop_adjacency
from vidflow.models.registry import MODELS
from vidflow.models.skeleton_recognizer import SkeletonRecognizer, SkeletonRecognizerConfig
from vidflow.skeletons.layouts import SkeletonLayout


@dataclass(frozen=True, kw_only=True)
class MSG3DConfig(SkeletonRecognizerConfig):
    """Options of one variant."""

    width: int = 96
    """Channels of the first stage."""
    num_scales: int = 13
    """Numbers of hops, 0 and up, of the paths over single frames."""
    num_window_scales: int = 6
    """The same of the paths over windows."""
    temporal_dropout: float = 0.0
    """After each stage's last convolution over frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 6:
            raise ValueError(f"width ({self.width}) must be at least 6, one channel for each branch over frames")
        for name in ("num_scales", "num_window_scales"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be positive")
        if not 0 <= self.temporal_dropout < 1:
            raise ValueError(f"temporal_dropout ({self.temporal_dropout}) must lie in [0, 1)")


class MSG3D(SkeletonRecognizer):
    """Three stages, average, linear layer."""

    foreign_keys = (
        (r"backbone\.data_bn\.(\w+)", r"backbone.data_norm.bn.\1"),
        (r"backbone\.A", r"backbone.stage1.adjacency"),
        (r"backbone\.gcn3d(\d)\.gcn3d\.(\d)\.gcn3d\.1\.PA", r"backbone.stage\1.windows.\2.graph.offset"),
        (r"backbone\.gcn3d(\d)\.gcn3d\.(\d)\.gcn3d\.1\.A", r"backbone.stage\1.windows.\2.graph.adjacency"),
        (r"backbone\.gcn3d(\d)\.gcn3d\.(\d)\.gcn3d\.1\.mlp\.layers\.(.+)", r"backbone.stage\1.windows.\2.graph.mlp.\3"),
        (r"backbone\.gcn3d(\d)\.gcn3d\.(\d)\.(out_.+)", r"backbone.stage\1.windows.\2.\3"),
        (r"backbone\.sgcn(\d)\.0\.PA", r"backbone.stage\1.scales.0.offset"),
        (r"backbone\.sgcn(\d)\.0\.A", r"backbone.stage\1.scales.0.adjacency"),
        (r"backbone\.sgcn(\d)\.0\.mlp\.layers\.(.+)", r"backbone.stage\1.scales.0.mlp.\2"),
        (r"backbone\.sgcn(\d)\.(\d)\.(.+)", r"backbone.stage\1.scales.\2.\3"),
        (r"backbone\.tcn(\d)\.(.+)", r"backbone.stage\1.temporal.\2"),
        (r"cls_head\.fc\.(\w+)", r"head.fc.\1"),
    )
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "num_scales": ("backbone.stage1.scales.0.offset", 0),
        "num_window_scales": ("backbone.stage1.windows.0.graph.offset", 0),
    }

    def __init__(self, config: MSG3DConfig) -> None:
        backbone = MSG3DBackbone(
            config.skeleton,
            in_channels=config.in_channels,
            width=config.width,
            num_scales=config.num_scales,
            num_window_scales=config.num_window_scales,
            dropout=config.temporal_dropout,
            num_people=config.num_people,
        )
        super().__init__(config, backbone, backbone.out_channels, num_people=config.num_people)

    @classmethod
    def told_channels(cls, tensors: Mapping[str, Tensor]) -> int | None:
        """The first linear layer takes the channels of all numbers of hops."""
        offset, weight = (tensors.get(f"backbone.stage1.scales.0.{name}") for name in ("offset", "mlp.0.weight"))
        if offset is None or weight is None or not offset.ndim or weight.ndim < 2:
            return None
        scales, channels = offset.shape[0], weight.shape[1]
        return channels // scales if scales and channels % scales == 0 else None

    @classmethod
    def constant(cls, name: str, layout: SkeletonLayout, shape: tuple[int, ...]) -> Tensor | None:
        """[S, R*K, R*K] of each path, and the edges themselves [K, K]."""
        if len(shape) == 2:
            return edge_adjacency(layout)
        window = re.search(r"windows\.(\d)", name)
        return hop_adjacency(layout, num_scales=shape[0], window_frames=WINDOWS[int(window[1])] if window else 1)


# arXiv:2003.14111, section 3.4; "tiny" is ours, for a CPU.
VARIANTS = {"msg3d-tiny": MSG3DConfig(width=12, num_scales=3, num_window_scales=2), "msg3d": MSG3DConfig()}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, MSG3D)
