"""A 3D convolution that computes kernels which are flat in time or in space as 2D convolutions on CPUs.

The result is the same; oneDNN, torch's library for CPUs, has code for 2D convolutions that its 3D ones lack. With a
backward pass, kernels of 1x3x3 take an eighth to a quarter of the time, and those of 3x1x1 a tenth to two thirds (one
core, layers of SlowFast), where channels are neighbours in memory (``torch.channels_last_3d``): frames and clips are
then one axis without a copy.

Shapes: N clips, C channels, T frames, h x w cells of the feature map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` with quicker paths on CPUs; the parameters are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> [N, C', T', h', w'], in the same memory layout."""
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if x.device.type != "cpu" or not plain or torch.compiler.is_exporting():
            return super().forward(x)
        channels_last = is_channels_last(x)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        frames, *pixels = self.kernel_size
        stride, padding, dilation = self.stride, tuple(int(side) for side in self.padding), self.dilation
        if (frames, stride[0], padding[0]) == (1, 1, 0) and channels_last:
            # [N, C, T, h, w] -> [N*T, C, h, w], views of the same memory, and back
            weight = self.weight[:, :, 0].contiguous(memory_format=layout)
            y = x.transpose(1, 2).flatten(0, 1)
            y = functional.conv2d(y, weight, self.bias, stride[1:], padding[1:], dilation[1:], self.groups)
            y = y.contiguous(memory_format=layout)
            return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
        if frames > 1 and (*pixels, *stride[1:], *padding[1:]) == (1, 1, 1, 1, 0, 0):
            # [N, C, T, h, w] -> [N, C, T, h*w], and back
            weight = self.weight[..., 0].contiguous(memory_format=layout)
            steps, zeros, gaps = (stride[0], 1), (padding[0], 0), (dilation[0], 1)
            y = functional.conv2d(x.flatten(3), weight, self.bias, steps, zeros, gaps, self.groups)
            return y.contiguous(memory_format=layout).unflatten(3, x.shape[3:])
        y = super().forward(x)
        return y.contiguous(memory_format=torch.channels_last_3d) if channels_last else y


def quick_layout(x: Tensor) -> Tensor:
    """[N, C, T, h, w] in the memory layout that convolutions on CPUs are quickest with; on other devices as it is."""
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return x
    return x.contiguous(memory_format=torch.channels_last_3d)


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of [N, C, T, h, w] are neighbours in memory, and not only because there is one of them or
    one place."""
    return x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()
