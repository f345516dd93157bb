"""MediaPipe's pose landmarker as a pose estimator: 33 landmarks of BlazePose, of which 17 are COCO's keypoints.

Source: "BlazePose: On-device Real-time Body Pose tracking" (arXiv:2006.10204); MediaPipe's pose landmarker guide (the
numbers of the landmarks). A score is the landmark's visibility: the model's probability that it lies in the picture and
is not hidden.

Without a model file the two networks inside the package (0.10.21 has them, later ones do not) are put together to what
the landmarker reads. One person is followed by MediaPipe itself, which also smooths; of several it loses track, so then
each frame is searched anew, and again around those who were there before.
"""

import contextlib
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vidflow.errors import ConfigError, MissingExtraError
from vidflow.shards.pose.estimator import People, TimedFrame
from vidflow.shards.pose.following import ALIKE, box_of, keypoint_similarity, without_doubles

COCO_FROM_BLAZEPOSE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""The landmark that each of COCO's keypoints is: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles."""

# Network in the package -> name in a model bundle, and mean and deviation of its input (model cards of BlazePose GHUM:
# the detector takes [-1, 1], the landmark network [0, 1]).
_NETWORKS = {
    "pose_detection/pose_detection.tflite": ("pose_detector.tflite", 127.5, 127.5),
    "pose_landmark/pose_landmark_full.tflite": ("pose_landmarks_detector.tflite", 0.0, 255.0),
}


_REMEMBERED = 10
"""Frames for which a place is searched again after someone was seen there."""
_AROUND = 1.5
"""Side of the square that is searched again over the longer side of the person's box."""


class MediapipePose:
    """The estimator.

    Args:
        model: a ``pose_landmarker*.task`` file; None takes the networks inside the package.
        max_people: most people per frame.

    Raises:
        MissingExtraError: MediaPipe is not installed.
        ConfigError: no such file, or a package without networks.
    """

    def __init__(self, *, model: str | None, max_people: int) -> None:
        try:
            with _without_native_log():
                from mediapipe.tasks.python import vision
        except ImportError as error:
            raise MissingExtraError(
                f"--estimator mediapipe needs MediaPipe ({error}); pip install 'vidflow[pose]' in an environment "
                "of its own, since it needs NumPy below 2"
            ) from error
        self._vision = vision
        self._max_people = max_people
        self._name = "the package's own networks" if model is None else f"--model {model}"
        if model is None:
            self._bundle = packaged_bundle()
            return
        try:
            self._bundle = Path(model).read_bytes()
        except OSError as error:
            raise ConfigError(f"--model {model}: {error.strerror}") from error

    def estimate(self, frames: Iterator[TimedFrame]) -> Iterator[People]:
        """One ``People`` per frame; a new landmarker for each video, so that none remembers the last one."""
        landmarker = self._landmarker()
        try:
            if self._max_people == 1:
                yield from self._followed(landmarker, frames)
            else:
                yield from self._searched(landmarker, frames)
        finally:
            with _without_native_log():
                landmarker.close()

    def _landmarker(self) -> Any:
        from mediapipe.tasks.python import BaseOptions

        modes = self._vision.RunningMode
        options = self._vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=self._bundle),
            running_mode=modes.VIDEO if self._max_people == 1 else modes.IMAGE,
            num_poses=self._max_people,
        )
        try:
            with _without_native_log():
                return self._vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"{self._name}: MediaPipe cannot use it as a pose landmarker ({error})") from error

    def _followed(self, landmarker: Any, frames: Iterator[TimedFrame]) -> Iterator[People]:
        milliseconds = -1
        for pixels, seconds in frames:
            milliseconds = max(milliseconds + 1, round(seconds * 1000))  # it wants them to increase
            with _without_native_log():
                found = landmarker.detect_for_video(_image(pixels), milliseconds)
            yield _people(found, pixels.shape)

    def _searched(self, landmarker: Any, frames: Iterator[TimedFrame]) -> Iterator[People]:
        missed: list[tuple[np.ndarray, int]] = []  # pose of someone who was there before, and for how many frames not
        for pixels, _ in frames:
            people = _detected(landmarker, pixels, (0, 0))
            for pose, _ in missed:
                if len(people.scores) < self._max_people and not _holds(people, pose):
                    left, top, right, bottom = _surroundings(pose, pixels.shape)
                    if left < right and top < bottom:
                        near = _detected(landmarker, pixels[top:bottom, left:right], (left, top))
                        people = without_doubles(_joined(people, near), self._max_people)
            yield people
            still = [(pose, age + 1) for pose, age in missed if age < _REMEMBERED and not _holds(people, pose)]
            missed = [(pose, 0) for pose in people.keypoints] + still


def _detected(landmarker: Any, pixels: np.ndarray, corner: tuple[int, int]) -> People:
    """The people in a part of a frame, whose upper left corner is given, in pixels of the frame."""
    with _without_native_log():
        found = landmarker.detect(_image(pixels))
    people = _people(found, pixels.shape)
    return People(people.keypoints + np.asarray(corner, np.float32), people.scores)


def _holds(people: People, pose: np.ndarray) -> bool:
    """Whether a person of an earlier frame is among the people of this one."""
    return any(keypoint_similarity(pose, other) >= ALIKE for other in people.keypoints)


def _joined(people: People, near: People) -> People:
    """Those of a frame, and those of its part who are not among them: someone who moved fast is found in both."""
    new = [not _holds(people, pose) for pose in near.keypoints]
    return People(*(np.concatenate([old, found[new]]) for old, found in zip(people, near, strict=True)))


def _surroundings(pose: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of a square around a pose, cut off at the frame's edges."""
    low, high = box_of(pose)
    half = max(*(high - low), 1.0) * _AROUND / 2
    left, top = (np.floor((low + high) / 2 - half)).astype(int)
    right, bottom = (np.ceil((low + high) / 2 + half)).astype(int)
    return max(left, 0), max(top, 0), min(right, shape[1]), min(bottom, shape[0])


def _image(pixels: np.ndarray) -> Any:
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(pixels))


def _people(found: Any, shape: tuple[int, ...]) -> People:
    """COCO's keypoints in pixels, from landmarks as shares of width and height."""
    height, width = shape[:2]
    chosen = [[pose[i] for i in COCO_FROM_BLAZEPOSE] for pose in found.pose_landmarks]
    keypoints = np.array([[(mark.x * width, mark.y * height) for mark in pose] for pose in chosen], np.float32)
    scores = np.array([[mark.visibility for mark in pose] for pose in chosen], np.float32)
    count = len(COCO_FROM_BLAZEPOSE)
    return People(keypoints.reshape(-1, count, 2), scores.reshape(-1, count))


def packaged_bundle() -> bytes:
    """A model bundle (a ZIP file of networks) out of those inside the package.

    Raises:
        ConfigError: the installed MediaPipe has none.
    """
    import mediapipe

    modules = Path(mediapipe.__file__).parent / "modules"
    if missing := [name for name in _NETWORKS if not (modules / name).is_file()]:
        raise ConfigError(
            f"MediaPipe {mediapipe.__version__} has no network {missing[0]} inside; install mediapipe==0.10.21, "
            "or give --model with a pose_landmarker .task file of its publishers"
        )
    from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import MetadataWriter

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as bundle:
        for place, (name, mean, deviation) in _NETWORKS.items():
            writer = MetadataWriter.create(bytearray((modules / place).read_bytes()))
            writer.add_image_input([mean], [deviation])
            network, _ = writer.populate()
            bundle.writestr(name, bytes(network))
    return data.getvalue()


@contextlib.contextmanager
def _without_native_log() -> Iterator[None]:
    """MediaPipe's native code writes notes to the error stream that no setting turns off; its errors are exceptions."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
