"""Samples of kind "frames" made in memory: real JPEG members, and records that describe them."""

import cv2
import numpy as np

from vidflow.schema import FramesInfo, SampleRecord


def jpeg(picture: np.ndarray) -> bytes:
    """A picture as JPEG: RGB [H, W, 3] or grey [H, W]."""
    stored = picture if picture.ndim == 2 else np.ascontiguousarray(picture[..., ::-1])
    done, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()


def scene(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with edges and colours that JPEG keeps well: a smooth gradient, and boxes on it."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) % 256], axis=-1)
    for _ in range(4):
        y, x = rng.integers(height), rng.integers(width)
        picture[y : y + height // 4, x : x + width // 4] = rng.integers(0, 256, 3)
    return picture.astype(np.uint8)


def frames_sample(
    num_frames: int = 12, *, height: int = 60, width: int = 80, num_flow: int = 0, fps: float | None = None
) -> tuple[SampleRecord, dict[str, bytes]]:
    """A sample with ``num_frames`` scenes, and flow whose x is 10 times the step and whose y is 200."""
    members = {f"rgb.{i + 1:05d}.jpg": jpeg(scene(height, width, i)) for i in range(num_frames)}
    for step in range(num_flow):
        for axis, value in (("x", min(10 * step, 255)), ("y", 200)):
            members[f"flow_{axis}.{step + 1:05d}.jpg"] = jpeg(np.full((height, width), value, np.uint8))
    info = FramesInfo(
        container="jpg",
        num_frames=num_frames,
        width=width,
        height=height,
        num_flow=num_flow,
        fps=fps,
        duration=None if fps is None else num_frames / fps,
    )
    return SampleRecord(key="000003", id="walk/clip 3", split="train", kind="frames", labels=(1,), frames=info), members
