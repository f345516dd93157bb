"""2s-AGCN: graph convolutions whose adjacency is learned, and added to by each sample's own similarities.

Source: "Two-Stream Adaptive Graph Convolutional Networks for Skeleton-Based Action Recognition" (arXiv:1805.07694), as
in MMAction2 1.2.0 (AAGCN without attention), whose adaptive part is that of the same authors' later arXiv:1912.06971: a
hyperbolic tangent and a learned weight instead of a softmax. The two streams are one model each, on joints and
on bones.

Shapes: see ``vidflow.models.skeleton_recognizer``; D channels.
"""

from typing import ClassVar

from torch import Tensor, nn

from vidflow.models.graph_recognizer import GraphConfig, GraphRecognizer
from vidflow.models.layers.graph_conv import AdaptiveGraphConv
from vidflow.models.registry import MODELS


class AGCN(GraphRecognizer):
    """Ten blocks of an adaptive convolution over keypoints and one over 9 frames, average, linear layer."""

    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_classes": ("head.fc.bias", 0),
        "in_channels": ("backbone.blocks.0.graph.conv_d.0.weight", 1),
    }

    @staticmethod
    def graph(in_channels: int, out_channels: int, adjacency: Tensor) -> nn.Module:
        """[N, D, T, K] -> [N, D', T, K]."""
        return AdaptiveGraphConv(in_channels, out_channels, adjacency)


# arXiv:1805.07694, section 4.3; "tiny" is ours, for a CPU.
VARIANTS = {"agcn-tiny": GraphConfig(width=16, num_blocks=4, wider_blocks=(3,)), "agcn": GraphConfig()}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, AGCN)
