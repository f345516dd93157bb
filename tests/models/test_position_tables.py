"""Fitting tables of positions to other grids."""

import pytest
import torch

from vidflow.models.backbones.clip import fit_positions, refit_positions
from vidflow.models.layers.position_tables import fit_grid, sinusoids


def ramp(T, H, W):
    """Two columns: the height and the time of each cell's middle, in parts of the whole."""
    t = (torch.arange(T) + 0.5)[:, None, None] / T
    h = (torch.arange(H) + 0.5)[None, :, None] / H
    return torch.stack([h.expand(T, H, W), t.expand(T, H, W)], dim=-1).flatten(0, 2)


def test_an_equal_grid_keeps_the_table():
    table = sinusoids(24, 6)
    assert fit_grid(table, (2, 3, 4), (2, 3, 4)) is table


def test_cells_keep_their_order():
    fitted = fit_grid(ramp(4, 8, 8), (4, 8, 8), (8, 16, 24)).unflatten(0, (8, 16, 24))
    inside = fitted[1:-1, 4:-4, 4:-4]  # the border has no neighbours to look at
    torch.testing.assert_close(inside, ramp(8, 16, 24).unflatten(0, (8, 16, 24))[1:-1, 4:-4, 4:-4], atol=1e-2, rtol=0)


def test_a_table_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a position table of 23 rows is not one of a grid of"):
        fit_grid(sinusoids(23, 6), (2, 3, 4), (1, 3, 4))


def test_the_class_token_keeps_its_position():
    table = torch.randn(1 + 16, 8)
    fitted = fit_positions(table, (6, 6))
    assert list(fitted.shape) == [37, 8]
    torch.testing.assert_close(fitted[0], table[0], rtol=0, atol=0)


def test_tables_of_other_kinds_are_left_for_the_loader_to_refuse():
    table = torch.randn(77, 8)
    assert refit_positions(table, torch.randn(17, 8)) is table
