"""CTR-GCN: graph convolutions with an adjacency for each channel.

Source: "Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action Recognition" (arXiv:2107.12213),
as in MMAction2 1.2.0 (projects/ctrgcn).

Shapes: see ``vidflow.models.skeleton_recognizer``; D channels.
"""

from typing import ClassVar

from torch import Tensor, nn

from vidflow.models.graph_recognizer import GraphConfig, GraphRecognizer
from vidflow.models.layers.graph_conv import ChannelGraphConv
from vidflow.models.layers.temporal_conv import MultiScaleTemporalConv
from vidflow.models.registry import MODELS


class CTRGCN(GraphRecognizer):
    """Ten blocks of a convolution over keypoints, refined by channel, and four branches over frames."""

    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.blocks.0.graph.convs.0.conv1.weight", 1),
    }

    @staticmethod
    def graph(in_channels: int, out_channels: int, adjacency: Tensor) -> nn.Module:
        """[N, D, T, K] -> [N, D', T, K]."""
        return ChannelGraphConv(in_channels, out_channels, adjacency)

    @staticmethod
    def temporal(channels: int, stride: int, dropout: float) -> nn.Module:
        """[N, D, T, K] -> [N, D, ceil(T / stride), K]."""
        return MultiScaleTemporalConv(
            channels, channels, kernel=5, stride=stride, dilations=(1, 2), skip=False, dropout=dropout
        )


# arXiv:2107.12213, section 3.4; "tiny" is ours, for a CPU.
VARIANTS = {"ctrgcn-tiny": GraphConfig(width=16, num_blocks=4, wider_blocks=(3,)), "ctrgcn": GraphConfig()}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, CTRGCN)
