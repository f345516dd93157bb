"""Heatmaps as a pipeline's ``heatmap`` table wants them: which keypoints and limbs are drawn, and mirrored copies.

Shapes: B rows, V views, M people, T frames, K keypoints, C maps, H x W pixels.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vidflow.config.heatmap import Heatmap
from vidflow.errors import DataError
from vidflow.pipelines.heatmaps import draw_heatmaps, mirror_heatmaps
from vidflow.skeletons.layouts import SkeletonLayout


def drawn_layout(heatmap: Heatmap, layout: SkeletonLayout) -> SkeletonLayout:
    """The layout with the limbs that are drawn.

    Raises:
        DataError: limbs that the skeleton does not have, or, where mirrored copies are wanted, whose mirror image is no
            limb.
    """
    if heatmap.limbs is None:
        return layout
    try:
        layout = replace(layout, limbs=heatmap.limbs)
    except ValueError as error:
        raise DataError(f"heatmap.limbs: {error}") from error
    known = {frozenset(limb) for limb in layout.limbs}
    for limb in layout.limbs if heatmap.twice else ():
        image = tuple(layout.mirrored[end] for end in limb)
        if frozenset(image) not in known:
            raise DataError(
                f"heatmap.limbs: {list(limb)} is {list(image)} in the mirror, which is not one of them; heatmap.twice "
                "needs both"
            )
    return layout


def heatmaps_of(skeletons: Tensor, heatmap: Heatmap, layout: SkeletonLayout | None, size: tuple[int, int]) -> Tensor:
    """Skeletons [B, V, M, T, K, 3], x and y in pixels of the maps and the score -> maps [B, V, C, T, H, W].

    With ``twice`` the mirrored views follow, 2 V in all.

    Args:
        layout: may be None where neither limbs nor mirrored copies are wanted.
        size: H, W.

    Raises:
        DataError: as ``drawn_layout``.
    """
    drawn = None if layout is None else drawn_layout(heatmap, layout)
    limbs = drawn.limbs if drawn is not None and heatmap.kind != "keypoints" else ()
    with_keypoints = heatmap.kind != "limbs"
    views = skeletons.flatten(0, 1)  # [B, V, ...] -> [B*V, ...]
    maps = draw_heatmaps(
        views[..., :2], views[..., 2], size=size, sigma=heatmap.sigma, with_keypoints=with_keypoints, limbs=limbs
    ).unflatten(0, skeletons.shape[:2])
    if not heatmap.twice:
        return maps
    assert drawn is not None
    order = list(drawn.mirrored) if with_keypoints else []
    if limbs:
        order += [len(order) + place for place in drawn.mirrored_limbs]
    return torch.cat([maps, mirror_heatmaps(maps, order)], dim=1)
