"""Heatmaps of skeletons: one Gaussian map per keypoint or limb and frame, drawn for a whole batch at once.

Source: "Revisiting Skeleton-based Action Recognition" (PoseC3D, arXiv:2104.13586), section 3.2: eq. 1 for keypoints,
eq. 2 for limbs. Values, whole-pixel windows of three standard deviations included, are those of MMAction2 1.2.0
(``GeneratePoseTarget``), with which the published weights were trained.

Differs from it where maps of keypoints and limbs come together: there the limbs share the keypoints' channels and leave
their own empty, here each has its own.

Only pixels inside the windows are computed; everything else stays the zeros that the maps begin with.

Shapes: N skeleton clips, M people, T frames, K keypoints, L limbs, H x W pixels; n things to draw, P steps along them.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Limbs = Sequence[tuple[int, int]]

MIN_SCORE = 1e-4
"""Keypoints with less are not drawn."""
_REACH = 3.0
# Keypoints farther out, in pixels, touch no picture; squares of larger numbers would overflow.
_FAR = 1e6
# Lower values, of the height 1, are not drawn.
_NEGLIGIBLE = 1e-6
# Steps along limbs that are computed at a time: few enough to stay in a CPU's cache.
_PIECE = 1 << 14


@torch.no_grad()
def draw_heatmaps(
    keypoints: Tensor,
    scores: Tensor,
    *,
    size: tuple[int, int],
    sigma: float,
    with_keypoints: bool = True,
    limbs: Limbs = (),
) -> Tensor:
    """Maps of all keypoints, then of all limbs: float32 [N, C, T, H, W] on the keypoints' device; people share maps.

    A map is the maximum over people of a Gaussian around the keypoint, or around the line from a limb's first keypoint
    to its second, as high as the score; a limb's is the lower one of its ends'. A limb shorter than a pixel is drawn
    as its first keypoint.

    Args:
        keypoints: [N, M, T, K, 2], x y in pixels; the centre of the first pixel is (0, 0). Those outside the picture
            show what of their Gaussian reaches into it; those that are not finite are left out.
        scores: [N, M, T, K], the height of each Gaussian; keypoints below ``MIN_SCORE`` are left out.
        size: H, W.
        sigma: standard deviation of the Gaussians in pixels.
        limbs: pairs of keypoints.

    Raises:
        ValueError: arguments that do not fit together, or nothing to draw.
    """
    if keypoints.ndim != 5 or keypoints.shape[-1] != 2 or scores.shape != keypoints.shape[:-1]:
        raise ValueError(
            f"keypoints must be [N, M, T, K, 2] and scores [N, M, T, K], not {list(keypoints.shape)} and "
            f"{list(scores.shape)}"
        )
    N, _, T, K, _ = keypoints.shape
    if wrong := [limb for limb in limbs if not all(0 <= end < K for end in limb)]:
        raise ValueError(f"limbs {wrong} name keypoints outside [0, {K})")
    if not sigma > 0 or min(size) <= 0:
        raise ValueError(f"sigma ({sigma}) and size ({list(size)}) must be positive")
    num_maps = (K if with_keypoints else 0) + len(limbs)
    if not num_maps:
        raise ValueError("nothing to draw: give limbs, or with_keypoints = True")
    keypoints, scores = keypoints.float(), scores.float()
    drawn = (scores >= MIN_SCORE) & (keypoints.abs() < _FAR).all(dim=-1)  # NaN compares as False
    pixels = _zeros(N * num_maps * T * size[0] * size[1], keypoints.device)
    if with_keypoints:
        _draw_points(pixels.view(N, num_maps, T, -1), keypoints, torch.where(drawn, scores, 0), size, sigma)
    if limbs:
        first, second = torch.tensor(limbs, device=keypoints.device).T
        both = drawn[..., first] & drawn[..., second]  # [N, M, T, L]
        steps = [torch.arange(count, device=keypoints.device) for count in (N, T, len(limbs))]
        maps = (steps[0][:, None, None] * num_maps + num_maps - len(limbs) + steps[2]) * T + steps[1][:, None]
        which = maps[:, None].expand_as(both)[both]
        starts, ends = keypoints[..., first, :][both], keypoints[..., second, :][both]
        start_scores, end_scores = scores[..., first][both], scores[..., second][both]
        short = (ends - starts).square().sum(dim=1) < 1
        ends = torch.where(short[:, None], starts, ends)
        heights = torch.where(short, start_scores, torch.minimum(start_scores, end_scores))
        _draw_lines(pixels, which, starts, ends, heights, size, sigma)
    return pixels.view(N, num_maps, T, *size)


def mirror_heatmaps(heatmaps: Tensor, order: Sequence[int]) -> Tensor:
    """Maps [..., C, T, H, W] of the people's mirror images.

    Args:
        order: for each of the C maps, the one that shows the same on the body's other side, as ``mirrored`` and
            ``mirrored_limbs`` of the layouts in ``vidflow.skeletons.layouts`` say.
    """
    return heatmaps.flip(-1).index_select(-4, torch.tensor(order, device=heatmaps.device))


def _zeros(count: int, device: torch.device) -> Tensor:
    """float32 [count]."""
    if device.type == "cpu":
        # Memory that comes as zeros from the system and is written once, where torch.zeros writes it twice.
        return torch.from_numpy(np.zeros(count, np.float32))
    return torch.zeros(count, device=device)


def _windows(low: Tensor, high: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """First and last pixel of the windows around [low, high], both included and perhaps outside the picture.

    In float64, since a keypoint on a whole pixel must not lose a row of its window to rounding.
    """
    reach = _REACH * sigma
    return (low.double() - reach).trunc().float(), (high.double() + reach).trunc().float()


def _draw_points(pixels: Tensor, points: Tensor, heights: Tensor, size: tuple[int, int], sigma: float) -> None:
    """Raise the maps to the Gaussians around the keypoints: outer products of one Gaussian per axis.

    Each sample has as many numbers to write as the others, so that torch's threads share the samples.

    Args:
        pixels: [N, C, T, H * W], of which the first K maps of C are drawn.
        points: [N, M, T, K, 2].
        heights: [N, M, T, K], 0 where nothing is drawn.
    """
    N, _, T, area = pixels.shape
    K = points.shape[3]
    device = points.device
    # Contiguous, as what follows from them: keypoints that a flip has put in another order lie in memory otherwise.
    points = torch.where(heights[..., None] > 0, points, 0).contiguous()
    heights = heights.contiguous()
    limits = torch.tensor([[size[1] - 1.0], [size[0] - 1.0]], device=device)  # [x y, 1]
    first, last = _windows(points, points, sigma)
    steps = torch.arange(int(2 * _REACH * sigma) + 2, dtype=torch.float32, device=device)
    places = first[..., None] + steps  # [N, M, T, K, x y, side]
    rows = (places - points[..., None]).square_().mul_(-1 / (2 * sigma**2)).exp_()
    rows *= (places <= torch.minimum(last[..., None], limits)) & (places >= 0)
    # What was outside is 0 now: drawing it anywhere changes nothing.
    places = places.clamp_(min=0).minimum(limits).long()
    values = (rows[..., 1, :] * heights[..., None])[..., :, None] * rows[..., 0, None, :]  # [N, M, T, K, side, side]
    maps = torch.arange(K, device=device) * T + torch.arange(T, device=device)[:, None]  # [T, K]
    base = maps[..., None] * area + places[..., 1, :] * size[1]
    where = base[..., :, None] + places[..., 0, None, :]
    pixels.view(N, -1).scatter_reduce_(1, where.view(N, -1), values.view(N, -1), "amax")


def _draw_lines(
    pixels: Tensor,
    maps: Tensor,
    starts: Tensor,
    ends: Tensor,
    heights: Tensor,
    size: tuple[int, int],
    sigma: float,
) -> None:
    """Raise the maps to the Gaussians around the lines from ``starts`` to ``ends``, [n, 2] each.

    A line is followed pixel by pixel along the axis on which it is longer; at each step the pixels beside it are drawn,
    along the other axis, as far as they can be seen.
    """
    device = starts.device
    limits = torch.tensor([size[1] - 1.0, size[0] - 1.0], device=device)
    first, last = _windows(torch.minimum(starts, ends), torch.maximum(starts, ends), sigma)
    first, last = first.clamp_(min=0), last.minimum(limits)
    inside = (first <= last).all(dim=1)
    extents = ends - starts
    steep = (extents[:, 1].abs() >= extents[:, 0].abs())[:, None]
    # From x y to along and across.
    turn = lambda pair: torch.where(steep, pair.flip(1), pair)  # noqa: E731
    starts, extents, first, last = turn(starts), turn(extents), turn(first), turn(last)
    strides = turn(torch.tensor([[1, size[1]]], device=device))
    origins = maps * (size[0] * size[1]) + first[:, 0].long() * strides[:, 0]
    num_steps = torch.where(inside, last[:, 0] - first[:, 0] + 1, 0).long()
    slopes = extents[:, 1] / extents[:, 0].where(extents[:, 0] != 0, 1)
    # A pixel's nearest place on the line is (pixel - start) . extent / |extent|**2 of the way; 0 where it is a point.
    rates = extents / extents.square().sum(dim=1, keepdim=True).clamp(min=1)
    columns = [first[:, 0] - starts[:, 0], starts[:, 1], *extents.T, *rates.T, first[:, 1], last[:, 1], slopes, heights]
    table = torch.stack(columns)  # [10, n]
    # A line is at most diagonal, so that what is near lies at most sqrt(2) times as far across.
    reach = sigma * math.sqrt(2 * math.log(1 / _NEGLIGIBLE)) * math.sqrt(2)
    # [side, 1]: what differs from pixel to pixel lies in rows of all steps, which is the quick way round.
    side = torch.arange(int(2 * reach) + 2, dtype=torch.float32, device=device)[:, None]
    for piece in _pieces(num_steps):
        counts = num_steps[piece]
        owner = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)  # [P]
        step = torch.arange(len(owner), device=device) - (counts.cumsum(0) - counts).index_select(0, owner)
        along, start, extent_along, extent_across, rate_along, rate_across, low, high, slope, height = table[
            :, piece
        ].index_select(1, owner)  # [P] each
        along += step
        line = along.clamp(min=extent_along.clamp(max=0), max=extent_along.clamp(min=0)) * slope
        places = (line + start - reach).ceil_() + side  # [side, P]
        across = places - start
        part = torch.addcmul(along * rate_along, across, rate_across).clamp_(0, 1)
        across.addcmul_(part, extent_across, value=-1)
        squares = torch.addcmul(along, part, extent_along, value=-1).square_()
        values = squares.addcmul_(across, across).mul_(-1 / (2 * sigma**2)).exp_().mul_(height)
        # What lies outside is drawn as nothing, at the nearest place inside.
        inside_places = places.clamp(min=low, max=high)
        values.mul_(inside_places == places)
        stride_along, stride_across = strides[piece].T.contiguous().index_select(1, owner)
        where = (
            inside_places.mul_(stride_across).long().add_(origins[piece].index_select(0, owner) + step * stride_along)
        )
        pixels.scatter_reduce_(0, where.flatten(), values.flatten(), "amax")


def _pieces(counts: Tensor) -> Iterator[slice]:
    """Neighbouring lines of about ``_PIECE`` steps together."""
    ends = counts.cumsum(0).cpu().numpy()
    start = done = 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + _PIECE, side="right")))
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])
