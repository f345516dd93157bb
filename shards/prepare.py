"""What a worker does with one source: check the file, probe it, re-encode it where the profile says so."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.schema import VideoInfo
from vidflow.shards.files import FileState, naming_the_path
from vidflow.shards.profiles import NO_ROOM, EncodeError, Profile, encode
from vidflow.shards.sources.items import SourceItem

_MAX_TIME_ERROR = 1e-4  # seconds


@dataclass(frozen=True, slots=True)
class Task:
    """One source under its key."""

    ordinal: int
    key: str
    item: SourceItem


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample that is ready to be written: what it is, and which file holds its bytes."""

    video: VideoInfo
    path: str
    state: FileState
    staged: bool
    """Whether the file was made here and shall go once it is written."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A sample that cannot be packed."""

    stage: Literal["open", "probe", "encode", "copy"]
    reason: str


def without_path(message: str, path: str) -> str:
    """A message without the path that it starts with; the id says it already, and does not depend on the machine."""
    return message.removeprefix(f"{path}: ")


def prepare(task: Task, profile: Profile, on_damage: Literal["error", "conceal"], staging: str) -> Prepared | Refused:
    """Probe one source, and re-encode it into the staging folder unless the profile keeps the bytes.

    Raises:
        StorageError: the staging folder has no room.
    """
    path = Path(task.item.path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Refused("open", "not a regular file")
        path.open("rb").close()
    except OSError as error:
        return Refused("open", error.strerror or str(error))
    before = FileState.of(status)
    try:
        video = probe_video(path, on_damage=on_damage)
    except DecodeError as error:
        return Refused("probe", without_path(str(error), task.item.path))
    if not profile.encodes:
        return Prepared(video, task.item.path, before, staged=False)

    out = Path(staging) / f"{task.key}.mp4"
    try:
        encode(path, video, out, profile)
        encoded = probe_video(out)
    except (EncodeError, DecodeError) as error:
        out.unlink(missing_ok=True)
        return Refused("encode", without_path(without_path(str(error), task.item.path), str(out)))
    except OSError as error:
        if error.errno in NO_ROOM:
            with naming_the_path(out):
                raise
        raise
    if FileState.of(path.stat()) != before:
        return Refused("copy", "has changed while it was packed")
    if encoded.num_frames != video.num_frames:
        return Refused("encode", f"gave {encoded.num_frames} frames for {video.num_frames}")
    if np.abs(encoded.seconds - video.seconds).max() > _MAX_TIME_ERROR:
        return Refused("encode", "time stamps that MP4 cannot hold")
    video = encoded.model_copy(update={"num_damaged": video.num_damaged, "has_audio": False})
    return Prepared(video, str(out), FileState.of(out.stat()), staged=True)
