"""Many views through a model in bounded memory."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_pieces(forward: Callable[[Tensor], Tensor], clips: Tensor, max_views: int | None) -> Tensor:
    """What ``forward`` gives for all views, from calls with at most ``max_views`` of them.

    For evaluation: each view's outputs must not depend on the others, as with BatchNorm in training they do.

    Args:
        forward: from clips [b, v, C, T, H, W] to outputs [b, v, ...].
        clips: [B, V, C, T, H, W].
        max_views: samples times views per call; None gives all at once.

    Returns:
        [B, V, ...].

    Raises:
        ValueError: ``max_views`` is not positive.
    """
    if max_views is not None and max_views < 1:
        raise ValueError(f"max_views ({max_views}) must be positive")
    if max_views is None or clips.shape[0] * clips.shape[1] <= max_views:
        return forward(clips)
    pieces = clips.flatten(0, 1)[:, None].split(max_views)  # [B, V, ...] -> [B*V, 1, ...] -> [<= max_views, 1, ...]
    outputs = torch.cat([forward(piece) for piece in pieces])  # [B*V, 1, ...]
    return outputs.flatten(0, 1).unflatten(0, clips.shape[:2])
