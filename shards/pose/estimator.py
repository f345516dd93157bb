"""What a pose estimator is, and finding one by its name or import path."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from vidflow.errors import ConfigError, DataError

NUM_KEYPOINTS = 17
"""COCO's: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; the left one of a pair comes first."""

ESTIMATORS = {"mediapipe": "vidflow.shards.pose.mediapipe_pose:MediapipePose"}
"""Short name -> import path."""


class TimedFrame(NamedTuple):
    """One frame of a video."""

    pixels: np.ndarray
    """uint8 [H, W, 3], upright RGB, C-contiguous."""
    seconds: float
    """From the first frame; strictly increasing, not always evenly spaced."""


class People(NamedTuple):
    """All people that were found in one frame, in any order: who is who is decided later."""

    keypoints: np.ndarray
    """[P, 17, 2], x and y in pixels of the frame; they may lie outside of it. Zeros for a keypoint that is missing."""
    scores: np.ndarray
    """[P, 17], confidence in [0, 1]; 0 for a keypoint that is missing."""


class PoseEstimator(Protocol):
    """Finds people in the frames of a video.

    It is made once per worker process, as ``Estimator(model=..., max_people=...)``: the path of a model file (str) or
    None, and the largest number of people that is of use.
    """

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        """The people of each frame, in order, one ``People`` per frame. Each call is a new video."""
        ...


def find_estimator(name: str) -> Callable[..., PoseEstimator]:
    """What makes the estimator: a name of ``ESTIMATORS``, or an import path such as ``my_pkg.pose:MyEstimator``.

    Raises:
        ConfigError: no such name, module or object, or one that is not called with ``model`` and ``max_people``.
    """
    path = ESTIMATORS.get(name, name)
    module_name, separator, attribute = path.partition(":")
    if not separator:
        known = ", ".join(ESTIMATORS)
        raise ConfigError(f"--estimator {name}: there is {known}, or an import path such as my_pkg.pose:MyEstimator")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"--estimator {name}: cannot import {module_name} ({error})") from error
    make = getattr(module, attribute, None)
    if not callable(make):
        raise ConfigError(f"--estimator {name}: {module_name} has no class or function {attribute!r}")
    try:
        inspect.signature(make).bind(model=None, max_people=1)
    except TypeError as error:
        raise ConfigError(f"--estimator {name}: {error}; it is called with model=..., max_people=...") from error
    return make  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def make_estimator(name: str, model: str | None, max_people: int) -> PoseEstimator:
    """The estimator of this process, made once: models take time to load.

    Raises:
        ConfigError: see ``find_estimator``; or what it made has no ``estimate``.
        MissingExtraError: its package is not installed.
    """
    estimator = find_estimator(name)(model=model, max_people=max_people)
    if not callable(getattr(estimator, "estimate", None)):
        raise ConfigError(f"--estimator {name}: gives a {type(estimator).__name__} without a method estimate(frames)")
    return estimator


def checked(found: Iterable[People], num_frames: int, name: str, where: Path) -> Iterator[People]:
    """The same people as float32 arrays, once they are what the protocol says.

    Args:
        found: what the estimator gives.
        name: of the estimator, for messages.
        where: the video, for messages.

    Raises:
        ConfigError: the estimator breaks the protocol: wrong shapes, or not one result per frame.
        DataError: it gave values that are not finite for this video.
    """
    count = 0
    for count, people in enumerate(found, 1):
        if count > num_frames:
            raise ConfigError(f"--estimator {name}: gives more than {num_frames} results for the frames of {where}")
        try:
            keypoints, scores = (np.asarray(array, np.float32) for array in people)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"--estimator {name}: gives no pair of keypoints and scores ({error})") from error
        if keypoints.ndim != 3 or keypoints.shape[1:] != (NUM_KEYPOINTS, 2) or scores.shape != keypoints.shape[:2]:
            raise ConfigError(
                f"--estimator {name}: gives keypoints {list(keypoints.shape)} and scores {list(scores.shape)}; "
                f"[P, {NUM_KEYPOINTS}, 2] and [P, {NUM_KEYPOINTS}] are needed"
            )
        if not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
            raise DataError(f"{where}: frame {count - 1}: the estimator gives values that are not finite")
        yield People(keypoints, scores)
    if count < num_frames:
        raise ConfigError(f"--estimator {name}: gives {count} results for the {num_frames} frames of {where}")
