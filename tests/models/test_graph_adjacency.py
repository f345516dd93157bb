"""Adjacency matrices against MMAction2 1.2.0 and against counting by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.models.layers.graph_adjacency import (
    edge_adjacency,
    hop_adjacency,
    hop_distances,
    spatial_adjacency,
    stgcn_adjacency,
)
from vidflow.skeletons.layouts import LAYOUTS, layout_from_edges

REFERENCE = json.loads((Path(__file__).parents[1] / "data/parity/ops/graphs.json").read_text())
CASES = {case["what"]: case for case in REFERENCE if case["what"].startswith("Graph ")}
CHAIN = layout_from_edges(4, [[1, 0], [2, 1], [3, 2]])


def layout_of(spec):
    if isinstance(spec, str):
        return LAYOUTS[spec]
    return layout_from_edges(spec["num_node"], spec["inward"], center=spec["center"])


@pytest.mark.parametrize("what", CASES)
def test_matrices_equal_the_reference(what):
    inputs, outputs = CASES[what]["inputs"], CASES[what]["outputs"]
    layout = layout_of(inputs["layout"])
    made = {
        "spatial": lambda: spatial_adjacency(layout),
        "stgcn_spatial": lambda: stgcn_adjacency(layout, max_hops=inputs["max_hop"]),
        "binary_adj": lambda: edge_adjacency(layout)[None],
    }[inputs["mode"]]()
    expected = torch.zeros(outputs["shape"])
    expected.view(-1)[outputs["nz_index"]] = torch.tensor(outputs["nz_value"])
    torch.testing.assert_close(made, expected)


def test_distances_are_counted_in_edges():
    neighbours = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    expected = [[0, 1, 2, np.inf], [1, 0, 1, np.inf], [2, 1, 0, np.inf], [np.inf, np.inf, np.inf, 0]]
    np.testing.assert_array_equal(hop_distances(neighbours), expected)


def test_scales_are_disentangled():
    """A chain of four: who is exactly two edges away, and oneself, in columns that sum to one."""
    scales = hop_adjacency(CHAIN, num_scales=4)
    torch.testing.assert_close(scales[0], torch.eye(4))
    torch.testing.assert_close(
        scales[2], torch.tensor([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]])
    )
    torch.testing.assert_close(scales.sum(dim=1), torch.ones(4, 4))


def test_in_a_window_all_frames_of_a_neighbour_are_neighbours():
    scales = hop_adjacency(CHAIN, num_scales=2, window_frames=3)
    assert list(scales.shape) == [2, 12, 12]
    # Keypoint 0 of a frame hears itself in three frames and keypoint 1 in three frames.
    column = scales[1, :, 0].view(3, 4)
    torch.testing.assert_close(column, torch.tensor([[1 / 6, 1 / 6, 0, 0]] * 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stgcn_adjacency(CHAIN, max_hops=0), r"max_hops \(0\) must be positive"),
        (lambda: hop_adjacency(CHAIN, num_scales=0), r"num_scales \(0\)"),
        (lambda: hop_adjacency(CHAIN, num_scales=1, window_frames=0), r"window_frames \(0\)"),
    ],
)
def test_numbers_that_are_not_positive_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
