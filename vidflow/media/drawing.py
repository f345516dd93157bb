"""Skeletons and words drawn onto pictures, for people to look at.

Shapes: M people, K keypoints; pictures are uint8 [H, W, 3], RGB, and are changed in place. Sizes of lines and letters
follow the picture's short side.
"""

from collections.abc import Sequence

import cv2
import numpy as np

# Okabe and Ito's colours, which most people who see fewer colours can tell apart; one per person, in turn.
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
"""RGB."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FRACTION_BITS = 4  # cv2 takes fractions of pixels in whole numbers


def draw_skeletons(
    picture: np.ndarray,
    keypoints: np.ndarray,
    limbs: Sequence[tuple[int, int]],
    *,
    scores: np.ndarray | None = None,
    min_score: float = 0.0,
) -> None:
    """Draw the people of one frame, each in a colour of its own.

    Args:
        picture: uint8 [H, W, 3].
        keypoints: [M, K, 2], x and y in pixels; (0, 0) is a keypoint that is missing. They may lie outside.
        limbs: pairs of keypoints to join; those of a missing keypoint are left out.
        scores: [M, K]; keypoints below ``min_score`` count as missing.
    """
    unit = _unit(picture)
    for person, points in enumerate(keypoints.astype(np.float64)):
        there = points.any(axis=1) & np.isfinite(points).all(axis=1)
        if scores is not None:
            there &= scores[person] >= min_score
        color = COLORS[person % len(COLORS)]
        # Far outside, whole numbers would overflow in cv2; clipped lines would get another slope.
        there &= (np.abs(np.nan_to_num(points)) < 1e5).all(axis=1)
        placed = np.round(np.where(there[:, None], points, 0) * (1 << _FRACTION_BITS)).astype(int).tolist()
        for start, end in limbs:
            if there[start] and there[end]:
                cv2.line(picture, placed[start], placed[end], color, 2 * unit, cv2.LINE_AA, _FRACTION_BITS)
        for point in np.flatnonzero(there).tolist():
            radius = (3 * unit) << _FRACTION_BITS
            cv2.circle(picture, placed[point], radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)
            radius = (2 * unit) << _FRACTION_BITS
            cv2.circle(picture, placed[point], radius, color, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)


def draw_words(picture: np.ndarray, lines: Sequence[str]) -> None:
    """Write lines into the upper left corner, on a darkened ground; what is too long for the picture is made smaller.

    The font has the letters of ASCII; see ``writable``.

    Args:
        picture: uint8 [H, W, 3].
    """
    if not lines:
        return
    height, width = picture.shape[:2]
    scale = max(0.4, min(width, height) / 480 * 0.8)
    margin = max(2, round(6 * scale))
    widest = max(cv2.getTextSize(line, _FONT, scale, 1)[0][0] for line in lines)
    scale *= min(1.0, max(width - 2 * margin, 1) / max(widest, 1))
    thickness = max(1, round(1.5 * scale))
    sizes = [cv2.getTextSize(line, _FONT, scale, thickness) for line in lines]
    step = max(size[1] + baseline for size, baseline in sizes) + margin
    ground = picture[: margin + step * len(lines), : 2 * margin + max(size[0] for size, _ in sizes)]
    ground[...] = ground // 3
    for number, (line, (size, _)) in enumerate(zip(lines, sizes, strict=True)):
        place = (margin, margin + step * number + size[1])
        cv2.putText(picture, line, place, _FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def writable(text: str) -> bool:
    """Whether the font of ``draw_words`` has all letters of a text.

    >>> writable("brush teeth"), writable("刷牙")
    (True, False)
    """
    return text.isascii() and text.isprintable()


def _unit(picture: np.ndarray) -> int:
    """Half the width of a line in pixels: 1 up to a short side of 480."""
    return max(1, round(float(min(picture.shape[:2])) / 480))


def on_screen(keypoints: np.ndarray, *, size: int = 480, margin: float = 0.1) -> np.ndarray:
    """Keypoints of any unit as pixels of a square picture, seen from the front, the same scale in all frames.

    Args:
        keypoints: [M, T, K, 2 or 3]; of three coordinates the second one points up (as with depth cameras), of two it
            points down. Missing keypoints are all zeros, and stay (0, 0).
        size: side of the picture in pixels.
        margin: part of the picture that stays free on each side.

    Returns:
        float32 [M, T, K, 2].
    """
    there = np.asarray(keypoints.any(axis=-1))
    seen = keypoints[..., :2].astype(np.float64)
    if keypoints.shape[-1] == 3:
        seen[..., 1] *= -1
    if not there.any():
        return np.zeros(seen.shape, np.float32)
    low, high = seen[there].min(axis=0), seen[there].max(axis=0)
    scale = size * (1 - 2 * margin) / max(float((high - low).max()), 1e-9)
    placed = (seen - (low + high) / 2) * scale + size / 2
    return np.where(there[..., None], placed, 0).astype(np.float32)
