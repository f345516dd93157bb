"""ST-GCN and ST-GCN++.

Sources: "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition" (arXiv:1801.07455) and
"PYSKL: Towards Good Practices for Skeleton Action Recognition" (arXiv:2205.09443), as in MMAction2 1.2.0.
ST-GCN learns a factor for each edge of its three subsets and convolves 9 frames; ST-GCN++ learns the adjacency itself,
adds each convolution's input, and convolves frames in six branches.

Shapes: see ``vidflow.models.skeleton_recognizer``; D channels, S subsets.
"""

from typing import ClassVar

from torch import Tensor, nn

from vidflow.models.graph_recognizer import GraphConfig, GraphRecognizer
from vidflow.models.layers.graph_adjacency import spatial_adjacency, stgcn_adjacency
from vidflow.models.layers.graph_conv import GraphConv
from vidflow.models.layers.temporal_conv import MixedTemporalConv
from vidflow.models.registry import MODELS
from vidflow.skeletons.layouts import SkeletonLayout


class STGCN(GraphRecognizer):
    """Ten blocks of a convolution over neighbours and one over 9 frames, average, linear layer."""

    by_person = False
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.blocks.0.graph.conv.weight", 1),
    }

    @staticmethod
    def graph(in_channels: int, out_channels: int, adjacency: Tensor) -> nn.Module:
        """[N, D, T, K] -> [N, D', T, K]."""
        return GraphConv(in_channels, out_channels, adjacency)

    @classmethod
    def constant(cls, name: str, layout: SkeletonLayout, shape: tuple[int, ...] = ()) -> Tensor:
        """[3, K, K]."""
        return stgcn_adjacency(layout)


class STGCNPlusPlus(STGCN):
    """ST-GCN with a learned adjacency and six branches over frames."""

    @staticmethod
    def graph(in_channels: int, out_channels: int, adjacency: Tensor) -> nn.Module:
        """[N, D, T, K] -> [N, D', T, K]."""
        return GraphConv(in_channels, out_channels, adjacency, learned="whole", skip=True)

    @staticmethod
    def temporal(channels: int, stride: int, dropout: float) -> nn.Module:
        """[N, D, T, K] -> [N, D, ceil(T / stride), K]."""
        return MixedTemporalConv(channels, channels, stride=stride, dropout=dropout)

    @classmethod
    def constant(cls, name: str, layout: SkeletonLayout, shape: tuple[int, ...] = ()) -> Tensor:
        """[3, K, K], from which learning starts."""
        return spatial_adjacency(layout)


# Widths of arXiv:1801.07455, "Network architecture and training"; "tiny" is ours, for a CPU.
TINY = GraphConfig(width=16, num_blocks=4, wider_blocks=(3,))
MODELS.add("stgcn-tiny", TINY, STGCN)
MODELS.add("stgcn", GraphConfig(), STGCN)
MODELS.add("stgcnpp-tiny", TINY, STGCNPlusPlus)
MODELS.add("stgcnpp", GraphConfig(), STGCNPlusPlus)
