"""Colour jitter and grayscale: drawing their five numbers, and what they do to pixels.

The rule is DALI's ``fn.hsv`` followed by ``fn.brightness_contrast``, so that the executors agree: one affine map of
RGB. With ``H`` a turn of the chroma plane of YIQ by the hue, ``S`` a scaling of it by the saturation, and pixels in
[0, 255]:

    out = brightness * (centre + contrast * (YIQ->RGB . H . S . RGB->YIQ . pixel - centre))

The centre is 128 where contrast comes before brightness. Where brightness comes first, it is 128 / brightness: the same
as turning around 128 afterwards.
"""

import numpy as np

from vidflow.config.augmentation import ColorJitter

# The NTSC matrix with the three digits that DALI uses, and its exact inverse.
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
PIVOT = 128.0
"""The grey level that contrast leaves alone."""
NO_CHANGE = (1.0, 1.0, 1.0, 0.0, PIVOT)
DARKEST = 1e-3
"""Smallest factor of brightness that comes before contrast; a smaller one would be as black."""


def draw_color(jitter: ColorJitter | None, rng: np.random.Generator, *, grayscale: float = 0.0) -> np.ndarray | None:
    """Factors of brightness, contrast and saturation, a hue turn in degrees, and the grey level that contrast leaves
    alone, float32 [5]. None where no clip's colours change; a clip that chance leaves out has factors of 1.

    Factors are uniform in [max(0, 1 - x), 1 + x], the hue in [-x, x].

    Args:
        grayscale: probability of a saturation of 0.
    """
    if jitter is None and not grayscale:
        return None
    brightness, contrast, saturation, hue, centre = NO_CHANGE
    if jitter is not None:
        applies = rng.random() < jitter.probability
        spans = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
        factors = rng.uniform(np.maximum(0, 1 - spans), 1 + spans)
        turn = rng.uniform(-jitter.hue, jitter.hue)
        brightness_first = jitter.order == "random" and rng.random() < 0.5
        if applies:
            (brightness, contrast, saturation), hue = factors.tolist(), turn
            if brightness_first:
                brightness = max(brightness, DARKEST)
                centre = PIVOT / brightness
    if grayscale and rng.random() < grayscale:
        saturation = 0.0
    return np.array([brightness, contrast, saturation, hue, centre], np.float32)


def color_matrix(color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix [3, 3] and offset [3], both float64, such that a pixel becomes matrix @ pixel + offset.

    >>> matrix, offset = color_matrix(np.array([1.0, 2.0, 1.0, 0.0, 128.0]))
    >>> (matrix @ [128, 128, 128] + offset).round().tolist()
    [128.0, 128.0, 128.0]
    """
    brightness, contrast, saturation, hue, centre = (float(value) for value in color)
    cos, sin = saturation * np.cos(np.radians(hue)), saturation * np.sin(np.radians(hue))
    chroma = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    matrix = brightness * contrast * (YIQ_TO_RGB @ chroma @ RGB_TO_YIQ)
    return matrix, np.full(3, brightness * (centre - contrast * centre))


def apply_color(image: np.ndarray, color: np.ndarray) -> np.ndarray:
    """RGB pixels [..., 3] in [0, 255] with other colours, float32 [..., 3], not rounded and not clipped.

    Args:
        color: float32 [5], as ``draw_color`` gives it.
    """
    matrix, offset = color_matrix(color)
    return image.astype(np.float32) @ matrix.T.astype(np.float32) + offset.astype(np.float32)
