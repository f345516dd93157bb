"""Which boxes of a frame become the views: crop geometry without pixels.

A frame counts as resized so that its short side is ``short_side``; a box is chosen in that resized frame, and then
mapped back to source pixels as floats, so that an executor resamples once, from the source to the output.
Boxes are x1 y1 x2 y2; K crops per clip.

The rules are those that published results were measured with (MMAction2 1.2.0), including their whole-pixel steps in
the resized frame; where they are plainly wrong we differ, and the function says so.
"""

from typing import assert_never

import numpy as np

from vidflow.config.pipeline import (
    CenterCrop,
    Crop,
    FullFrame,
    MultiScaleCrop,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    ThreeCrop,
)

# arXiv:1507.02159, section 3: four corners and the centre. In quarters of the slack, x y.
FIVE_POSITIONS = ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2))
# And the middles of the sides and of the quadrants.
THIRTEEN_POSITIONS = (*FIVE_POSITIONS, (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3))


def num_crops(crop: Crop) -> int:
    """K: boxes per clip."""
    return {"three": 3, "ten": 10}.get(crop.kind, 1)


def is_random(crop: Crop) -> bool:
    """Whether choosing the box needs a source of chance."""
    return isinstance(crop, RandomResizedCrop | MultiScaleCrop | RandomCrop)


def resized_size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """Height and width of a frame resized to a short side, halves rounded up; None keeps the size.

    >>> resized_size(1080, 1920, 256), resized_size(128, 171, 256)
    ((256, 455), (256, 342))
    """
    if short_side is None:
        return height, width
    factor = short_side / min(height, width)
    return int(height * factor + 0.5), int(width * factor + 0.5)


def draw_short_side(
    short_side: int | tuple[int, int] | None, seed: np.random.SeedSequence | np.random.Generator
) -> int | None:
    """A short side in pixels: the given one, or any whole number of a range, both ends included."""
    if isinstance(short_side, tuple):
        return int(np.random.default_rng(seed).integers(*short_side, endpoint=True))
    return short_side


def crop_boxes(
    height: int,
    width: int,
    crop: Crop,
    *,
    size: tuple[int, int],
    short_side: int | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Boxes in source pixels, float32 [K, 4], inside the frame.

    >>> crop_boxes(512, 680, CenterCrop(), size=(224, 224), short_side=256).tolist()
    [[116.0, 32.0, 564.0, 480.0]]

    Args:
        height, width: of the upright source frame, in pixels.
        size: output height and width in pixels.
        short_side: that the frame counts as resized to; None crops the frame as it is.
        rng: the source of chance; needed where ``is_random(crop)``, not used otherwise.

    Raises:
        ValueError: a size that is not positive, or a random crop without ``rng``.
    """
    if min(height, width, *size) <= 0 or (short_side is not None and short_side <= 0):
        raise ValueError(f"frame ({height} x {width}), size {size} and short_side ({short_side}) must be positive")
    if is_random(crop) and rng is None:
        raise ValueError(f"a {crop.kind!r} crop needs rng")
    resized = resized_size(height, width, short_side)
    boxes = _boxes(*resized, crop, size, rng)  # [K, 4] in the resized frame
    to_source = np.array([width / resized[1], height / resized[0]] * 2)
    limits = np.array([width, height] * 2)
    return np.clip(boxes * to_source, 0, limits).astype(np.float32)


def crop_mirrors(crop: Crop) -> np.ndarray:
    """Which of the boxes a crop shows mirrored by itself, bool [K]: every second one of ten crops."""
    return np.arange(num_crops(crop)) % 2 == 1 if isinstance(crop, TenCrop) else np.zeros(num_crops(crop), bool)


def _boxes(height: int, width: int, crop: Crop, size: tuple[int, int], rng: np.random.Generator | None) -> np.ndarray:
    """Boxes in a (resized) frame, float64 [K, 4]."""
    match crop:
        case FullFrame():
            return np.array([[0.0, 0.0, width, height]])
        case CenterCrop():
            return _center_box(height, width, *_fit(height, width, size))
        case ThreeCrop():
            return three_boxes(height, width, size)
        case TenCrop():
            box_height, box_width = _fit(height, width, size)
            positions = _fixed_positions(height, width, box_height, box_width, FIVE_POSITIONS)
            boxes = _place(positions, box_height, box_width)
            return np.repeat(boxes, 2, axis=0)  # each box, then its mirror image
        case _:
            pass
    assert rng is not None
    match crop:
        case RandomCrop():
            return random_box(height, width, *_fit(height, width, size), rng)
        case RandomResizedCrop():
            return random_resized_box(height, width, size, crop, rng)
        case MultiScaleCrop():
            return multi_scale_box(height, width, size, crop, rng)
    assert_never(crop)


def three_boxes(height: int, width: int, size: tuple[int, int]) -> np.ndarray:
    """Three boxes along the long side: first, last, middle, float64 [3, 4].

    A box has the output's aspect ratio and spans the frame's short side. Steps are whole pixels, and the last box
    lies two steps from the first, so that it may miss the frame's last pixel: published results are measured so.

    >>> three_boxes(256, 455, (256, 256))[:, 0].tolist()
    [0.0, 198.0, 99.0]
    """
    box_height, box_width = _fit(height, width, size, enlarge=True)
    x_step, y_step = (width - box_width) // 2, (height - box_height) // 2
    return _place(np.array([[0, 0], [2 * x_step, 2 * y_step], [x_step, y_step]]), box_height, box_width)


def random_box(height: int, width: int, box_height: float, box_width: float, rng: np.random.Generator) -> np.ndarray:
    """A box of a given size anywhere, at whole pixels, float64 [1, 4].

    Differs from MMAction2 1.2.0, where the last possible place is never drawn.
    """
    x = rng.integers(int(width - box_width), endpoint=True)
    y = rng.integers(int(height - box_height), endpoint=True)
    return _place(np.array([[x, y]]), box_height, box_width)


def random_resized_box(
    height: int, width: int, size: tuple[int, int], crop: RandomResizedCrop, rng: np.random.Generator
) -> np.ndarray:
    """A box of random area and aspect ratio, float64 [1, 4]: the first of ten draws that fits into the frame.

    The area is uniform in its range, the aspect ratio log-uniform. Where no draw fits, the largest box of the
    output's aspect ratio in the middle (the same as the reference's square for square outputs).

    Source: arXiv:1409.4842, section 6, with the ten attempts of MMAction2 1.2.0.
    """
    aspects = np.exp(rng.uniform(np.log(crop.aspect[0]), np.log(crop.aspect[1]), size=10))
    areas = rng.uniform(crop.area[0], crop.area[1], size=10) * (height * width)
    widths = np.maximum(np.round(np.sqrt(areas * aspects)), 1)
    heights = np.maximum(np.round(np.sqrt(areas / aspects)), 1)
    fits = np.flatnonzero((widths <= width) & (heights <= height))
    if len(fits):
        return random_box(height, width, heights[fits[0]], widths[fits[0]], rng)
    return _center_box(height, width, *_fit(height, width, size, enlarge=True))


def multi_scale_box(
    height: int, width: int, size: tuple[int, int], crop: MultiScaleCrop, rng: np.random.Generator
) -> np.ndarray:
    """A box whose sides are scales of the frame's short side, at one of the crop's positions, float64 [1, 4].

    Source: arXiv:1507.02159, section 3.
    """
    sizes = multi_scale_sizes(height, width, size, scales=crop.scales, max_gap=crop.max_gap)
    box_height, box_width = sizes[rng.integers(len(sizes))]
    if crop.positions == "random":
        return random_box(height, width, box_height, box_width, rng)
    positions = FIVE_POSITIONS if crop.positions == 5 else THIRTEEN_POSITIONS
    places = _fixed_positions(height, width, box_height, box_width, positions)
    return _place(places[[rng.integers(len(places))]], box_height, box_width)


def multi_scale_sizes(
    height: int, width: int, size: tuple[int, int], *, scales: tuple[float, ...], max_gap: int
) -> list[tuple[int, int]]:
    """The box sizes, height and width, that multi-scale cropping draws from, all equally likely.

    A side less than 3 pixels from the output's becomes the output's, if the frame has room for it (in
    MMAction2 1.2.0 also where it has none).

    >>> multi_scale_sizes(256, 340, (224, 224), scales=(1.0, 0.875), max_gap=1)
    [(256, 256), (256, 224), (224, 256), (224, 224)]
    """
    sides = [max(1, int(min(height, width) * scale)) for scale in scales]
    snap = lambda side, output, limit: output if abs(side - output) < 3 and output <= limit else min(side, limit)  # noqa: E731
    return [
        (snap(box_height, size[0], height), snap(box_width, size[1], width))
        for i, box_height in enumerate(sides)
        for j, box_width in enumerate(sides)
        if abs(i - j) <= max_gap
    ]


def _fit(height: int, width: int, size: tuple[int, int], *, enlarge: bool = False) -> tuple[float, float]:
    """Height and width of a box of ``size``, shrunk to fit into the frame with its aspect ratio kept.

    ``enlarge`` also enlarges a small one until it touches the frame.
    """
    scale = min(height / size[0], width / size[1])
    if scale >= 1 and not enlarge:
        return size
    # The side that touches must be the frame's to the last bit.
    if height * size[1] <= width * size[0]:
        return height, min(width, size[1] * height / size[0])
    return min(height, size[0] * width / size[1]), width


def _center_box(height: int, width: int, box_height: float, box_width: float) -> np.ndarray:
    return _place(np.array([[(width - box_width) // 2, (height - box_height) // 2]]), box_height, box_width)


def _fixed_positions(
    height: int, width: int, box_height: float, box_width: float, quarters: tuple[tuple[int, int], ...]
) -> np.ndarray:
    """Upper left corners, [P, 2] as x y, at quarters of the slack rounded down to whole pixels."""
    return np.array(quarters) * [(width - box_width) // 4, (height - box_height) // 4]


def _place(corners: np.ndarray, box_height: float, box_width: float) -> np.ndarray:
    """Boxes of one size at upper left corners [P, 2], float64 [P, 4]."""
    return np.concatenate([corners, np.add(corners, [box_width, box_height])], axis=1).astype(np.float64)
