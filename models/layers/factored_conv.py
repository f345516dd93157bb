"""A 3D convolution as one in space followed by one in time.

Source: "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (arXiv:1711.11248), section 3.5.
"""

from torch import Tensor, nn

from vidflow.models.layers.conv3d import Conv3d


def inner_channels(in_channels: int, out_channels: int, frames: int, pixels: int) -> int:
    """Channels between the two, so that both together have as many weights as the whole convolution.

    >>> inner_channels(64, 64, 3, 3)
    144
    """
    whole = frames * pixels**2 * in_channels * out_channels
    return whole // (pixels**2 * in_channels + frames * out_channels)


class FactoredConv3d(nn.Module):
    """[N, C, T, h, w] -> [N, C', T', h', w']: 1 x k x k, BatchNorm, ReLU, 3 x 1 x 1; no biases.

    Args:
        kernel: (frames, pixels); one of a single pixel has a single frame too. The channels between the two are those
            for 3 frames even then, as in MMAction2.
        stride: (frames, pixels).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        frames, pixels = kernel
        inner = inner_channels(in_channels, out_channels, 3, pixels)
        self.spatial = Conv3d(
            in_channels,
            inner,
            (1, pixels, pixels),
            (1, stride[1], stride[1]),
            (0, pixels // 2, pixels // 2),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.temporal = Conv3d(inner, out_channels, (frames, 1, 1), (stride[0], 1, 1), (frames // 2, 0, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(self.relu(self.norm(self.spatial(x))))
