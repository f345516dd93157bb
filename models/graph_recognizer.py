"""Skeleton recognizers on ``GraphBackbone``: their options, and their names in MMAction2's files.

Shapes: see ``vidflow.models.skeleton_recognizer``.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vidflow.models.backbones.graph import GraphBackbone
from vidflow.models.layers.graph_adjacency import spatial_adjacency
from vidflow.models.layers.temporal_conv import TemporalConv
from vidflow.models.skeleton_recognizer import SkeletonRecognizer, SkeletonRecognizerConfig
from vidflow.skeletons.layouts import SkeletonLayout

_BLOCK = r"backbone\.(?:gcn|net)\.(\d+)"


@dataclass(frozen=True, kw_only=True)
class GraphConfig(SkeletonRecognizerConfig):
    """Options of one variant."""

    width: int = 64
    """D of the first block."""
    num_blocks: int = 10
    wider_blocks: tuple[int, ...] = (5, 8)
    """Counted from 1: blocks that double D and halve the frames."""
    temporal_dropout: float = 0.0
    """After each block's convolution over frames, but the first one's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "wider_blocks", tuple(self.wider_blocks))
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width ({self.width}) must be a multiple of 8")
        if self.num_blocks < 1:
            raise ValueError(f"num_blocks ({self.num_blocks}) must be positive")
        if wrong := [number for number in self.wider_blocks if not 2 <= number <= self.num_blocks]:
            raise ValueError(f"wider_blocks: {wrong[0]} must lie in [2, {self.num_blocks}], the numbers of blocks")
        if not 0 <= self.temporal_dropout < 1:
            raise ValueError(f"temporal_dropout ({self.temporal_dropout}) must lie in [0, 1)")


class GraphRecognizer(SkeletonRecognizer):
    """``GraphBackbone`` with a family's units over keypoints (``graph``) and frames (``temporal``)."""

    foreign_keys = (
        (r"backbone\.data_bn\.(\w+)", r"backbone.data_norm.bn.\1"),
        (_BLOCK + r"\.gcn1?\.A", r"backbone.blocks.\1.graph.adjacency"),
        (_BLOCK + r"\.gcn1?\.PA", r"backbone.blocks.\1.graph.importance"),
        (_BLOCK + r"\.gcn1?\.(.+)", r"backbone.blocks.\1.graph.\2"),
        (_BLOCK + r"\.tcn1?\.(.+)", r"backbone.blocks.\1.temporal.\2"),
        (_BLOCK + r"\.residual\.(.+)", r"backbone.blocks.\1.residual.\2"),
        (r"backbone\.A", r"backbone.blocks.adjacency"),
        (r"cls_head\.fc\.(\w+)", r"head.fc.\1"),
    )

    def __init__(self, config: GraphConfig) -> None:
        num_people = config.num_people if self.by_person else None
        adjacency = self.constant("", config.skeleton)
        backbone = GraphBackbone(
            graph=lambda channels, out_channels: self.graph(channels, out_channels, adjacency),
            temporal=self.temporal,
            num_keypoints=config.skeleton.num_keypoints,
            in_channels=config.in_channels,
            width=config.width,
            num_blocks=config.num_blocks,
            wider_blocks=config.wider_blocks,
            temporal_dropout=config.temporal_dropout,
            num_people=num_people,
        )
        super().__init__(config, backbone, backbone.out_channels, num_people=num_people)

    @staticmethod
    def graph(in_channels: int, out_channels: int, adjacency: Tensor) -> nn.Module:
        """The unit over keypoints: [N, D, T, K] -> [N, D', T, K]."""
        raise NotImplementedError

    @staticmethod
    def temporal(channels: int, stride: int, dropout: float) -> nn.Module:
        """The unit over frames: [N, D, T, K] -> [N, D, ceil(T / stride), K]."""
        return TemporalConv(channels, channels, stride=stride, dropout=dropout)

    @classmethod
    def constant(cls, name: str, layout: SkeletonLayout, shape: tuple[int, ...] = ()) -> Tensor:
        """All of a family's constants are one adjacency [S, K, K]."""
        return spatial_adjacency(layout)
