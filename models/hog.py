"""Histograms of oriented gradients of frames.

Source: "Histograms of Oriented Gradients for Human Detection" (Dalal and Triggs, CVPR 2005) as the target of MaskFeat
(arXiv:2112.09133, section 3.2): 9 bins of unsigned direction, cells of 8x8 pixels, each channel by itself. As in
the authors' code (facebookresearch/SlowFast): gradients by Sobel's kernel, weighted by a Gaussian that repeats every
16 pixels, and each cell's histogram normalised to length 1.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def oriented_gradients(frames: Tensor, *, bins: int = 9, cell: int = 8, window: int = 16) -> Tensor:
    """[N, C, H, W] -> [N, C, bins, H / cell, W / cell], each histogram of length 1, or 0 where nothing changes.

    Args:
        cell: side of a cell in pixels; borders that do not fill one are left out.
        window: period in pixels of the Gaussian weights, with half of it as standard deviation.

    Raises:
        ValueError: the frames are smaller than a cell.
    """
    N, C, H, W = frames.shape
    if min(H, W) < max(cell, 2):
        raise ValueError(f"frames of {H}x{W} pixels have no cell of {cell}x{cell}")
    frames = frames.to(torch.promote_types(frames.dtype, torch.float32))
    sobel = frames.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    padded = functional.pad(frames, (1, 1, 1, 1), mode="reflect").flatten(0, 1)[:, None]  # [N*C, 1, H+2, W+2]
    change = functional.conv2d(padded, torch.stack([sobel, sobel.t()])[:, None])  # [N*C, 2, H, W]: along x, along y
    places = torch.arange(window, device=frames.device, dtype=frames.dtype) - (window - 1) / 2
    bell = torch.exp(-0.5 * (places / (window // 2)) ** 2)
    bell = bell / bell.sum()
    rows, columns = (bell.repeat(-(-side // window))[:side] for side in (H, W))
    strength = change.norm(dim=1) * rows[:, None] * columns
    direction = torch.atan2(change[:, 0], change[:, 1]) / math.pi * bins  # in [-bins, bins]; opposite ones are one
    histogram = strength.new_zeros(N * C, bins, H, W)
    histogram.scatter_(1, direction.floor().long()[:, None] % bins, strength[:, None])
    cells = functional.avg_pool2d(histogram, cell) * cell**2
    return functional.normalize(cells, dim=1).unflatten(0, (N, C))
