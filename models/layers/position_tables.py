"""Tables of position vectors, one row per cell of a grid, and fitting them to another grid.

Source of the sinusoids: "Attention Is All You Need" (arXiv:1706.03762), section 3.5, over the raster index of a cell.
Source of the fitting: "An Image is Worth 16x16 Words" (arXiv:2010.11929), section 3.2.

Shapes: T x H x W cells in raster order (time, then height, then width), D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

Grid = tuple[int, int, int]
"""Cells along time, height and width."""


def sinusoids(num_positions: int, width: int) -> Tensor:
    """float32 [num_positions, width]: sines at even places and cosines at odd ones, frequencies falling in pairs.

    >>> [round(value, 4) for value in sinusoids(2, 4)[1].tolist()]
    [0.8415, 0.5403, 0.01, 1.0]
    """
    place = torch.arange(width, dtype=torch.float64)
    frequency = 10000 ** -((place - place % 2) / width)
    angle = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequency
    return torch.where(place % 2 == 0, angle.sin(), angle.cos()).float()


def fit_grid(table: Tensor, grid: Grid, new_grid: Grid) -> Tensor:
    """A table for another grid: bicubic in space, linear in time, as it is where the grids are equal.

    Args:
        table: [T*H*W, D] of ``grid``.

    Returns:
        [T'*H'*W', D] of ``new_grid``.

    Raises:
        ValueError: the table has not one row per cell of ``grid``.
    """
    if len(table) != grid[0] * grid[1] * grid[2]:
        raise ValueError(f"a position table of {len(table)} rows is not one of a grid of {grid}")
    if grid == new_grid:
        return table
    T, H, W = grid
    new_T, new_H, new_W = new_grid
    fitted = table.float().unflatten(0, (T, H, W)).permute(0, 3, 1, 2)  # [T*H*W, D] -> [T, D, H, W]
    if (new_H, new_W) != (H, W):
        fitted = functional.interpolate(fitted, size=(new_H, new_W), mode="bicubic", align_corners=False)
    if new_T != T:
        fitted = fitted.permute(1, 2, 3, 0).flatten(0, 2)[:, None]  # [T, D, H', W'] -> [D*H'*W', 1, T]
        fitted = functional.interpolate(fitted, size=new_T, mode="linear", align_corners=False)
        fitted = fitted.reshape(-1, new_H, new_W, new_T).permute(3, 0, 1, 2)  # -> [T', D, H', W']
    return fitted.permute(0, 2, 3, 1).flatten(0, 2).to(table.dtype)  # [T', D, H', W'] -> [T'*H'*W', D]
