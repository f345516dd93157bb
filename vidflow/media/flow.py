"""Dense optical flow between pictures with OpenCV, and its coding in two grey pictures.

Algorithms: ``dis``, "Fast Optical Flow using Dense Inverse Search" (arXiv:1603.03590), with OpenCV's medium preset;
``tvl1``, "A Duality Based Approach for Realtime TV-L1 Optical Flow" (DAGM 2007), with OpenCV's defaults; it is in
opencv-contrib alone; ``farneback``, "Two-Frame Motion Estimation Based on Polynomial Expansion" (SCIA 2003), three
levels of scale 1/2, windows of 15, three iterations, neighbourhoods of 5, sigma 1.2.

Coding, as yjxiong/dense_flow (src/common.cpp, ``convertFlowToImage``) and open-mmlab/denseflow write it and the
published two-stream models were trained on: a displacement v in pixels becomes round(255 (v + bound) / (2 bound)),
halves to even, clipped to 0..255. No motion is 128.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from vidflow.errors import ConfigError, DataError, MissingExtraError

Algorithm = Literal["dis", "tvl1", "farneback"]
FlowFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two grey pictures, uint8 [H, W] -> displacement from the first to the second in pixels, float32 [H, W, 2] as x, y."""


def encode_flow(flow: np.ndarray, bound: float) -> np.ndarray:
    """Displacements in pixels as grey values, uint8, of the same shape; what exceeds the bound is clipped to it.

    >>> encode_flow(np.array([-99, -20, -0.1, 0, 0.1, 20, 99]), 20).tolist()
    [0, 0, 127, 128, 128, 255, 255]
    """
    clipped = np.clip(np.asarray(flow, np.float64), -bound, bound)
    return np.asarray(np.rint(255 * (clipped + bound) / (2 * bound)).astype(np.uint8))


def decode_flow(grey: np.ndarray, bound: float) -> np.ndarray:
    """Displacements in pixels of grey values, float32; the inverse of ``encode_flow`` to within bound / 255."""
    return np.asarray((np.asarray(grey, np.float32) / 255 * 2 - 1) * bound)


def flow_function(algorithm: Algorithm) -> FlowFunction:
    """The function that computes flow; call it with pictures of one size. It keeps no state between pairs.

    Raises:
        ConfigError: no such algorithm.
        MissingExtraError: this OpenCV has no TV-L1.
    """
    import cv2  # here, because other commands read videos without OpenCV

    # The same result on any number of CPUs; the parallel work is one video per process.
    cv2.setNumThreads(1)
    if algorithm == "farneback":

        def compute(first: np.ndarray, second: np.ndarray) -> Any:
            return cv2.calcOpticalFlowFarneback(
                first,
                second,
                None,
                pyr_scale=0.5,
                levels=3,
                winsize=15,
                iterations=3,
                poly_n=5,
                poly_sigma=1.2,
                flags=0,
            )
    elif algorithm == "dis":
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

        def compute(first: np.ndarray, second: np.ndarray) -> Any:
            return dis.calc(first, second, None)
    elif algorithm == "tvl1":
        contrib = getattr(cv2, "optflow", None)
        if contrib is None:
            raise MissingExtraError(
                "--algorithm tvl1: this OpenCV has no TV-L1; `pip uninstall opencv-python` and then "
                "`pip install opencv-contrib-python`, which holds all of it and more, or take --algorithm dis"
            )

        tvl1 = contrib.DualTVL1OpticalFlow_create()

        def compute(first: np.ndarray, second: np.ndarray) -> Any:
            return tvl1.calc(first, second, None)
    else:
        raise ConfigError(f"--algorithm {algorithm}: choose one of {', '.join(get_args(Algorithm))}")

    def flow_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(compute(np.ascontiguousarray(first), np.ascontiguousarray(second)))
        except cv2.error as error:
            size = f"{first.shape[1]}x{first.shape[0]}"
            raise DataError(f"no flow by {algorithm} for pictures of {size} pixels ({error.err})") from error

    return flow_of
