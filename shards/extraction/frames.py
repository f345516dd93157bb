"""Videos into folders of frames, with optical flow beside them or alone.

A video becomes one folder: ``img_00001.jpg`` and so on, and ``flow_x_00001.jpg``, ``flow_y_00001.jpg`` for the motion
from the first frame to the second. ``vidflow shard --kind frames`` reads such folders.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidflow.errors import ConfigError, DataError
from vidflow.media.decode import iter_rgb_frames
from vidflow.media.flow import Algorithm, encode_flow, flow_function
from vidflow.media.probe import OnDamage, probe_video
from vidflow.schema import VideoInfo
from vidflow.shards.extraction.jobs import Job, Work
from vidflow.shards.extraction.sources import FoundFiles, names_of
from vidflow.shards.sources.frame_folders import is_flow_prefix, template_prefix

_MAX_TOLERANCE_SECONDS = 1e-3
_FIELD = re.compile(r"%(\d*)d|\{:(\d*)d?\}")


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """How flow is computed and coded, see ``vidflow.media.flow``."""

    algorithm: Algorithm = "dis"
    bound: float = 20.0
    """Pixels."""

    def __post_init__(self) -> None:
        if not 0 < self.bound < float("inf"):
            raise ConfigError(f"--bound {self.bound}: must be a positive number of pixels")


@dataclass(frozen=True, kw_only=True)
class FrameOptions:
    """What decides the pictures."""

    fps: float | None = None
    """Pictures per second: what is on screen at 0, 1/fps, 2/fps, ... s. None takes all frames."""
    short_side: int | None = None
    """Pixels; larger frames are shrunk to it, smaller ones stay."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, whatever the aspect."""
    quality: int = 95
    """Of JPEG, 1 to 100."""
    format: Literal["jpg", "png"] = "jpg"
    """Of frames; flow is always JPEG."""
    template: str | None = None
    """Names of the frames; None is ``img_{:05d}`` with the format's extension."""
    frames: bool = True
    """Whether the frames are written."""
    flow: FlowOptions | None = None
    """Whether and how flow is."""
    on_damage: OnDamage = "error"

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ConfigError(f"--fps {self.fps}: must be positive")
        if self.short_side is not None and self.size is not None:
            raise ConfigError("give --short-side or --size, not both")
        if self.short_side is not None and self.short_side < 1:
            raise ConfigError(f"--short-side {self.short_side}: must be at least 1 pixel")
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"--size {self.size[0]}x{self.size[1]}: must be at least 1x1 pixels")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"--quality {self.quality}: must lie in [1, 100]")
        if self.template is not None:
            _check_template(self.template, self.format)

    def name(self, number: int) -> str:
        """File name of a frame, counted from 1."""
        return numbered(self.template or f"img_{{:05d}}.{self.format}", number)

    def table(self) -> dict[str, Any]:
        """All that decides the result, for the ledger."""
        return asdict(self)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from ``WxH``.

    Raises:
        ConfigError: something else.
    """
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if match is None:
        raise ConfigError(f"--size {text!r}: write width x height in pixels, such as 340x256")
    return int(match[1]), int(match[2])


def numbered(template: str, number: int) -> str:
    """A template with its number.

    >>> numbered("img_%05d.jpg", 7), numbered("{:03d}.png", 1234), numbered("a_%d.jpg", 7)
    ('img_00007.jpg', '1234.png', 'a_7.jpg')
    """

    def put(match: re.Match[str]) -> str:
        return f"{number:0{int(match[1] or match[2] or 0)}d}"

    return _FIELD.sub(put, template)


def _check_template(template: str, format: str) -> None:
    prefix = template_prefix(template)
    ending = template.rpartition(".")[2].lower().replace("jpeg", "jpg")
    if ending != format:
        raise ConfigError(f"--template {template!r}: does not end with .{format}; give --format {ending} with it")
    if prefix[-1:].isdigit() or is_flow_prefix(prefix) or prefix.startswith("."):
        raise ConfigError(
            f"--template {template!r}: the part before the number must not end with a digit, begin with a dot, or be "
            "that of flow, or the frames could not be told apart when they are read"
        )


def frames_at(info: VideoInfo, fps: float) -> np.ndarray:
    """Numbers of the frames that are on screen at 0, 1/fps, 2/fps, ... s, int64, until the video ends.

    Frames repeat where the video has fewer per second.
    """
    count = max(1, int(np.ceil(info.duration * fps - 1e-6)))
    # Containers round time stamps to their unit: a frame that is late by less is on screen already.
    tolerance = min(info.time_base[0] / info.time_base[1] / 2, _MAX_TOLERANCE_SECONDS) + 1e-9
    return np.searchsorted(info.seconds, np.arange(count) / fps + tolerance, side="right") - 1


def picture_size(width: int, height: int, options: FrameOptions) -> tuple[int, int]:
    """Width and height of the pictures of a video.

    >>> picture_size(1920, 1080, FrameOptions(short_side=256)), picture_size(64, 48, FrameOptions(short_side=256))
    ((455, 256), (64, 48))
    """
    if options.size is not None:
        return options.size
    short = min(width, height)
    if options.short_side is None or short <= options.short_side:
        return width, height
    scaled = [(2 * side * options.short_side + short) // (2 * short) for side in (width, height)]
    return scaled[0], scaled[1]


def extract_frames(job: Job, parts: tuple[Path, ...], options: FrameOptions) -> dict[str, Any]:
    """Write the folder of one video; the work of one job.

    Raises:
        DecodeError: the video is damaged, see ``vidflow.media.probe``.
        DataError: it has one frame only and flow is wanted, or the flow cannot be computed.
    """
    import cv2

    (folder,) = parts
    path = Path(job.source)
    info = probe_video(path, on_damage=options.on_damage)
    size = picture_size(info.width, info.height, options)
    compute = flow_function(options.flow.algorithm) if options.flow else None
    folder.mkdir()
    count, before = 0, None
    for count, rgb in enumerate(_pictures(path, info, size, options.fps), 1):
        if options.frames:
            _write(folder / options.name(count), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
        if options.flow is None or compute is None:
            continue
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if before is not None:
            coded = encode_flow(compute(before, grey), options.flow.bound)
            for axis in (0, 1):
                _write(folder / f"flow_{'xy'[axis]}_{count - 1:05d}.jpg", coded[..., axis], options)
        before = grey
    num_flow = count - 1 if options.flow else 0
    if options.flow and not num_flow:
        raise DataError("one frame only; flow needs two")
    note = {"num_frames": count if options.frames else 0, "num_flow": num_flow, "width": size[0], "height": size[1]}
    return note | {"fps": options.fps or info.fps}


def _pictures(path: Path, info: VideoInfo, size: tuple[int, int], fps: float | None) -> Iterator[np.ndarray]:
    """Upright RGB pictures of the wanted size, uint8 [H, W, 3]."""
    import cv2

    shrinks = size[0] * size[1] < info.width * info.height
    wanted = None if fps is None else np.bincount(frames_at(info, fps), minlength=info.num_frames).tolist()
    for number, rgb in enumerate(iter_rgb_frames(path, info)):
        times = 1 if wanted is None else wanted[number]
        if times and size != (info.width, info.height):
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        for _ in range(times):
            yield rgb


def _write(path: Path, picture: np.ndarray, options: FrameOptions) -> None:
    import cv2

    parameters = [cv2.IMWRITE_JPEG_QUALITY, options.quality] if path.suffix.lower() != ".png" else []
    encoded, data = cv2.imencode(path.suffix, picture, parameters)
    assert encoded, path
    path.write_bytes(data.tobytes())


def frame_jobs(found: FoundFiles) -> list[Job]:
    """One folder for each video."""
    names = names_of(found.files)
    return [Job(file.id, file.path, (name,)) for file, name in zip(found.files, names, strict=True)]


def frame_work(options: FrameOptions) -> Work:
    """What workers do."""
    return partial(extract_frames, options=options)
