"""3D layers that take a clip of one frame for a still picture, as shared weights of images and clips need.

Source: "Omni-sourced Webly-supervised Learning for Video Recognition" (arXiv:2003.13042), as in MMAction2's OmniResNet:
a kernel that spans frames sees the picture in each of them, and pictures leave the running statistics to the clips.
(SyncBatchNorm, which takes the place of BatchNorm with ``train.sync_bn``, makes no such difference.)

Shapes: N clips, C channels, T frames, h x w cells of the feature map.
"""

from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.conv3d import Conv3d


class StillConv3d(Conv3d):
    """A convolution without bias; on one frame its kernel is summed over time."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> [N, C', T', h', w']."""
        if x.shape[2] > 1 or self.kernel_size[0] == 1:
            return super().forward(x)
        _, height, width = self.stride
        _, pad_height, pad_width = (int(side) for side in self.padding)
        kernel = self.weight.sum(dim=2, keepdim=True)  # [C', C, T, h, w] -> [C', C, 1, h, w]
        return functional.conv3d(x, kernel, None, (1, height, width), (0, pad_height, pad_width), 1, self.groups)


class StillBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm whose running statistics are those of clips; in training, pictures use their own and change none."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> the same shape."""
        if self.training and x.shape[2] == 1:
            return functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)
