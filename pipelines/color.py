"""Colour jitter: drawing its four numbers, and what they do to pixels.

The rule is DALI's ``fn.color_twist``, so that the executors agree: one affine map of RGB. With ``H`` a turn of the
chroma plane of YIQ by the hue, ``S`` a scaling of it by the saturation, and pixels in [0, 255]:

    out = brightness * (128 + contrast * (YIQ->RGB . H . S . RGB->YIQ . pixel - 128))
"""

import numpy as np

from vidflow.config.pipeline import ColorJitter

# The NTSC matrix with the three digits that DALI uses, and its exact inverse.
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
PIVOT = 128.0
"""The grey level that contrast leaves alone."""


def draw_color(jitter: ColorJitter | None, rng: np.random.Generator) -> np.ndarray | None:
    """Factors of brightness, contrast and saturation, and a hue turn in degrees, float32 [4]; None: colours stay.

    Factors are uniform in [max(0, 1 - x), 1 + x], the hue in [-x, x].
    """
    if jitter is None:
        return None
    applies = rng.random() < jitter.probability
    spans = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
    factors = rng.uniform(np.maximum(0, 1 - spans), 1 + spans)
    hue = rng.uniform(-jitter.hue, jitter.hue)
    return np.array([*factors, hue], np.float32) if applies else None


def color_matrix(color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix [3, 3] and offset [3], both float64, such that a pixel becomes matrix @ pixel + offset.

    >>> matrix, offset = color_matrix(np.array([1.0, 2.0, 1.0, 0.0]))
    >>> (matrix @ [128, 128, 128] + offset).round().tolist()
    [128.0, 128.0, 128.0]
    """
    brightness, contrast, saturation, hue = (float(value) for value in color)
    cos, sin = saturation * np.cos(np.radians(hue)), saturation * np.sin(np.radians(hue))
    chroma = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    matrix = brightness * contrast * (YIQ_TO_RGB @ chroma @ RGB_TO_YIQ)
    return matrix, np.full(3, brightness * (PIVOT - contrast * PIVOT))


def apply_color(image: np.ndarray, color: np.ndarray) -> np.ndarray:
    """RGB pixels [..., 3] in [0, 255] with other colours, float32 [..., 3], not rounded and not clipped.

    Args:
        color: brightness factor, contrast factor, saturation factor, hue turn in degrees.
    """
    matrix, offset = color_matrix(color)
    return image.astype(np.float32) @ matrix.T.astype(np.float32) + offset.astype(np.float32)
