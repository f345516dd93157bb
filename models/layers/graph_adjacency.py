"""Adjacency matrices of skeletons, the constants of graph networks.

``A[s, i, j]`` is what keypoint i gives to keypoint j in subset s: features [..., K] become ``features @ A[s]``.

Sources: "stgcn" is the spatial configuration of ST-GCN (arXiv:1801.07455, "Partition Strategies"), "spatial" the
self-links, inward and outward edges of 2s-AGCN (arXiv:1805.07694, section 3.2), both as in MMAction2 1.2.0
(mmaction/models/utils/graph.py); the disentangled hops are those of MS-G3D (arXiv:2003.14111, section 3.2) with its
windows of frames (section 3.3).

Shapes: K keypoints, S subsets, R frames of a window.
"""

import numpy as np
import torch
from torch import Tensor

from vidflow.skeletons.layouts import SkeletonLayout


def hop_distances(neighbours: np.ndarray) -> np.ndarray:
    """Least number of edges between any two keypoints [K, K], infinite where no way leads.

    >>> hop_distances(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]))[0]
    array([0., 1., 2.])
    """
    count = len(neighbours)
    distances = np.full((count, count), np.inf)
    reached = np.eye(count, dtype=bool)
    for hops in range(count):
        distances[reached & np.isinf(distances)] = hops
        reached = reached @ (neighbours > 0) | reached
    return distances


def _columns_of_one(matrix: np.ndarray) -> np.ndarray:
    """[..., K, K] with columns that sum to one; those of zeros stay."""
    sums = matrix.sum(axis=-2, keepdims=True)
    return np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)


def _inward(layout: SkeletonLayout) -> np.ndarray:
    matrix = np.zeros((layout.num_keypoints,) * 2)
    for i, j in layout.inward:
        matrix[j, i] = 1
    return matrix


def _neighbours(layout: SkeletonLayout) -> np.ndarray:
    inward = _inward(layout)
    return np.maximum(inward, inward.T)


def _tensor(matrices: np.ndarray) -> Tensor:
    # From lists, not from_numpy: a model that is built on "meta" gets its constants there.
    return torch.tensor(matrices.tolist(), dtype=torch.float32)


def edge_adjacency(layout: SkeletonLayout) -> Tensor:
    """[K, K]: one for each edge, in both directions."""
    return _tensor(_neighbours(layout))


def spatial_adjacency(layout: SkeletonLayout) -> Tensor:
    """[3, K, K]: self-links, inward and outward edges, the last two with columns that sum to one."""
    inward = _inward(layout)
    return _tensor(np.stack([np.eye(layout.num_keypoints), _columns_of_one(inward), _columns_of_one(inward.T)]))


def stgcn_adjacency(layout: SkeletonLayout, *, max_hops: int = 1) -> Tensor:
    """[1 + 2 * max_hops, K, K]: self-links, then per number of hops the pairs (i, j) where i lies at least as far from
    the centre as j, and those where it lies nearer; the columns of all together sum to one.

    Distances above ``max_hops`` all count as the same.

    Raises:
        ValueError: ``max_hops`` is not positive.
    """
    if max_hops < 1:
        raise ValueError(f"max_hops ({max_hops}) must be positive")
    hops = hop_distances(_neighbours(layout))
    hops[hops > max_hops] = np.inf
    shares = _columns_of_one((hops <= max_hops).astype(np.float64))
    from_center = hops[:, layout.center]
    farther = from_center[:, None] >= from_center[None, :]
    subsets = []
    for number in range(max_hops + 1):
        chosen = np.where(hops == number, shares, 0.0)
        subsets += [chosen * farther, chosen * ~farther] if number else [chosen]
    return _tensor(np.stack(subsets))


def hop_adjacency(layout: SkeletonLayout, *, num_scales: int, window_frames: int = 1) -> Tensor:
    """[num_scales, R*K, R*K]: for each number of hops the pairs that are exactly so far apart, and self-links.

    In a window of R frames each keypoint is its own neighbour in, and has its neighbours from, all frames.

    Raises:
        ValueError: a number is not positive.
    """
    if num_scales < 1 or window_frames < 1:
        raise ValueError(f"num_scales ({num_scales}) and window_frames ({window_frames}) must be positive")
    neighbours = _neighbours(layout)
    if window_frames > 1:
        neighbours = np.tile(neighbours + np.eye(len(neighbours)), (window_frames, window_frames))
    identity = np.eye(len(neighbours))
    hops = hop_distances(neighbours)
    scales = [identity, *((hops == number) + identity for number in range(1, num_scales))]
    return _tensor(_columns_of_one(np.stack(scales)))
