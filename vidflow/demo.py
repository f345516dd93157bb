"""The embedded data set: short clips of random textures, in six classes that differ by motion alone.

Each clip looks through a window at a periodic random texture of its own. The window slides (``left``, ``right``,
``up``, ``down``: where the picture moves to), closes in (``grow``) or rotates either way (``turn``); the mean length of
the motion over the frame is drawn from the same range for all classes. A single frame gives nothing away: position,
rotation and zoom of the window at a random moment have the same distribution in every class (the classes that do not
zoom get the zoom of a random moment of one that does), every frame is resampled by the same code, and coding leaves no
visible traces.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags

from vidflow.errors import ConfigError, DataError

CLASSES = ("down", "grow", "left", "right", "turn", "up")
MARKER_NAME = ".vidflow-demo.json"
GENERATOR_VERSION = 1
"""Raised whenever the same parameters would give other clips."""

_TEXTURE_SIDE = 256
_VAL_SHARE = 0.25
_X264 = "threads=1:cpu-independent=1:ipratio=1:pbratio=1:aq-mode=0"
# Where the picture moves to, in frame coordinates (y points down).
_SLIDES = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
# Mean distance of a point of the unit square from its centre: how far a turn of one radian moves the picture.
_MEAN_RADIUS = (math.sqrt(2) + math.asinh(1.0)) / 6


@dataclass(frozen=True)
class DemoClip:
    """One clip that is still to be drawn; the same values always give the same pixels."""

    split: str
    label: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        """Path below the data set's folder, such as ``train/left/007.mp4``."""
        return f"{self.split}/{self.label}/{self.number:03d}.mp4"

    def rng(self) -> np.random.Generator:
        """The clip's own random numbers."""
        split = ("train", "val").index(self.split)
        return np.random.default_rng([self.seed, split, CLASSES.index(self.label), self.number])


def list_clips(*, num_clips: int = 240, seed: int = 0) -> list[DemoClip]:
    """The clips of a data set of ``num_clips``: as many of each class, a quarter of them (at least one) in ``val``.

    Raises:
        ConfigError: the number is not a positive multiple of 12, or the seed is negative.
    """
    if num_clips < 2 * len(CLASSES) or num_clips % (2 * len(CLASSES)):
        raise ConfigError(f"--clips {num_clips}: must be a positive multiple of {2 * len(CLASSES)}, for equal classes")
    if seed < 0:
        raise ConfigError(f"--seed {seed}: must not be negative")
    per_class = num_clips // len(CLASSES)
    num_val = max(1, round(per_class * _VAL_SHARE))
    return [
        DemoClip(split, label, number, seed)
        for split, count in (("train", per_class - num_val), ("val", num_val))
        for label in CLASSES
        for number in range(count)
    ]


def random_texture(rng: np.random.Generator) -> np.ndarray:
    """A smooth periodic colour texture without a preferred direction, uint8 [256, 256, 3].

    Its spectrum falls with frequency like that of natural pictures, so a zoomed texture looks like another one.
    """
    side = _TEXTURE_SIDE
    # [H, W // 2 + 1], cycles per pixel
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    longest, shortest = rng.uniform(64, 128), rng.uniform(10, 16)  # wavelengths in pixels
    amplitude = np.where(frequency > 1 / longest, 1 / np.maximum(frequency, 1e-6), 0)
    amplitude *= np.exp(-((frequency * shortest) ** 4))
    fields = []
    for _ in range(3):
        noise = np.fft.rfft2(rng.standard_normal((side, side)))
        field = np.fft.irfft2(noise * amplitude, s=(side, side))
        fields.append(field / field.std())
    # The fields' shares in red, green and blue; the first field is mostly light and dark.
    mix = np.array([1.0, 0.0, 0.0]) + rng.uniform(-0.6, 0.6, (3, 3))
    mix /= np.linalg.norm(mix, axis=1, keepdims=True)
    texture = np.stack(fields, axis=-1) @ mix.T * rng.uniform(38, 58) + rng.uniform(100, 155, 3)
    return np.clip(np.rint(texture), 0, 255).astype(np.uint8)


def draw_clip(clip: DemoClip, size: int) -> tuple[np.ndarray, int]:
    """The frames of a clip, uint8 [N, size, size, 3] RGB, and its frames per second."""
    rng = clip.rng()
    texture = random_texture(rng)
    num_frames, fps = int(rng.integers(20, 29)), int(rng.choice([16, 20, 25]))
    travel = rng.uniform(0.18, 0.40)  # mean path of a point over the whole clip, in frame sides
    sense = rng.choice([-1.0, 1.0])  # of a turn
    start = rng.uniform(0, _TEXTURE_SIDE, 2)  # window's centre in the texture at mid time
    angle = rng.uniform(0, 2 * math.pi)
    # Texture pixels per frame pixel; a larger frame shows the same picture in more pixels.
    zoom = math.exp(rng.uniform(math.log(0.5), math.log(0.9))) * 96 / size
    frozen = rng.uniform(-0.5, 0.5)  # the moment whose zoom a clip keeps that does not zoom

    frames = []
    for moment in np.linspace(-0.5, 0.5, num_frames):
        turn = sense * travel / _MEAN_RADIUS * moment if clip.label == "turn" else 0.0
        scale = zoom * math.exp(-travel / _MEAN_RADIUS * (moment if clip.label == "grow" else frozen))
        cos, sin = scale * math.cos(angle + turn), scale * math.sin(angle + turn)
        linear = np.array([[cos, -sin], [sin, cos]])
        slide = np.array(_SLIDES.get(clip.label, (0.0, 0.0))) * travel * moment * size
        # texture point = linear @ (frame point - centre of the frame - slide) + start
        offset = start - linear @ (np.full(2, (size - 1) / 2) + slide)
        frames.append(_look(texture, linear, offset, size))
    return np.stack(frames), fps


def _look(texture: np.ndarray, linear: np.ndarray, offset: np.ndarray, size: int) -> np.ndarray:
    matrix = np.concatenate([linear, offset[:, None]], axis=1)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    seen: np.ndarray = cv2.warpAffine(texture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_WRAP)
    return seen


def encode_clip(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write RGB frames [N, H, W, 3] as H.264 in MP4: the same frames give the same bytes, and the file appears whole.

    The quality is close to lossless, and the same for all kinds of pictures, because coding artefacts would tell the
    classes: at CRF 18 a linear classifier on blur along the edges, where new parts of the texture come in, told left
    from right for 4 of 5 clips, and at CRF 1 with x264's usual ratios grow from turn for 3 of 5.

    x264 is told ``cpu-independent=1`` because its fast bit-rate look-ahead (mb-tree) gives now and then other bytes for
    the same frames, with one thread too.
    """
    part = path.with_name(path.name + ".part")
    with av.open(part, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"crf": "1", "preset": "medium", "threads": "1", "x264-params": _X264}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.flags |= Flags.bitexact
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    part.replace(path)


def write_demo_data(
    out: str | os.PathLike[str],
    *,
    num_clips: int = 240,
    size: int = 96,
    seed: int = 0,
    on_clip: Callable[[], None] = lambda: None,
) -> int:
    """Write the data set as ``OUT/{train,val}/<class>/NNN.mp4``; clips that are there already are kept.

    Args:
        out: folder to make; it may hold an earlier, perhaps unfinished, run with the same parameters.
        num_clips: over all classes and both splits.
        size: side of the square frames in pixels.
        seed: another seed gives other textures and motions.
        on_clip: called after each clip, written or kept.

    Returns:
        How many clips were written; 0 where the data set was complete.

    Raises:
        ConfigError: a number out of range.
        DataError: the folder holds something else, or a data set with other parameters.
    """
    clips = list_clips(num_clips=num_clips, seed=seed)
    if size < 32 or size % 2:
        raise ConfigError(f"--size {size}: must be an even number of pixels, at least 32")
    root = Path(out)
    _claim(root, {"generator": GENERATOR_VERSION, "clips": num_clips, "size": size, "seed": seed})
    written = 0
    for clip in clips:
        path = root / clip.name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            encode_clip(path, *draw_clip(clip, size))
            written += 1
        on_clip()
    return written


def _claim(root: Path, parameters: dict[str, int]) -> None:
    """Mark a folder as ours, unless it holds anything that these parameters would not write."""
    marker = root / MARKER_NAME
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: is a file; give a folder with --out")
    if marker.exists():
        try:
            found = json.loads(marker.read_text())
        except ValueError as error:
            raise DataError(f"{marker}: not JSON ({error}); delete {root} or give another folder with --out") from error
        if found != parameters:
            raise DataError(
                f"{root}: holds a demo data set made with {json.dumps(found)}, not {json.dumps(parameters)}; "
                "delete it or give another folder with --out"
            )
        return
    part = marker.with_name(marker.name + ".part")
    if root.exists() and any(path != part for path in root.iterdir()):
        raise DataError(f"{root}: not empty and not made by `vidflow demo-data`; give another folder with --out")
    root.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(parameters))
    part.replace(marker)
