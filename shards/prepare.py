"""What a worker does with one source: check the file, probe it, re-encode it where the profile says so."""

import os
import re
import stat
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from vidflow.errors import DataError, DecodeError, StorageError
from vidflow.media.probe import probe_video
from vidflow.media.window import Window
from vidflow.schema import SkeletonInfo, VideoInfo
from vidflow.shards.contents import Contents, Member
from vidflow.shards.cutting.encoded import encode_window
from vidflow.shards.files import NO_ROOM, FileState, naming_the_path
from vidflow.shards.profiles import EncodeError, Profile
from vidflow.shards.reencoding import reencode_video
from vidflow.shards.sources.frame_folders import FrameFolder
from vidflow.shards.sources.items import Companion, SampleReader, SourceItem
from vidflow.storage import is_remote, locate
from vidflow.storage.remote import MissingError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """One source under its key."""

    ordinal: int
    key: str
    item: SourceItem


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample that is ready to be written."""

    contents: Contents
    staged: str | None = None
    """A file that was made here and shall go once it is written."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A sample that cannot be packed."""

    stage: Literal["open", "probe", "encode", "copy"]
    reason: str


def without_path(message: str, path: str) -> str:
    """A message without the path that it starts with; the id says it already, and does not depend on the machine.

    >>> without_path("/data/a.txt:7: is no number", "/data/a.txt")
    'line 7: is no number'
    """
    if message.startswith(f"{path}:") and (found := re.match(r":(\d+): ", message[len(path) :])):
        return f"line {found[1]}: {message[len(path) + found.end() :]}"
    return message.removeprefix(f"{path}: ")


def prepare(task: Task, profile: Profile, on_damage: Literal["error", "conceal"], staging: str) -> Prepared | Refused:
    """Probe one source, and re-encode it into the staging folder unless the profile keeps the bytes.

    Raises:
        StorageError: the staging folder has no room.
    """
    result = _prepare_alone(task, profile, on_damage, staging)
    if task.item.companion is None or isinstance(result, Refused):
        return result
    found = _with_skeletons(result.contents, task.item.companion, conceal=on_damage == "conceal")
    if isinstance(found, Contents):
        return replace(result, contents=found)
    if result.staged is not None:
        Path(result.staged).unlink()
    return found


def _with_skeletons(contents: Contents, companion: Companion, *, conceal: bool) -> Contents | Refused:
    """A video and the skeletons of its frames."""
    found = _read(companion.path, companion.reader, conceal=conceal)
    if isinstance(found, Refused):
        return replace(found, reason=f"skeletons: {found.reason}")
    video, info = contents.info, found.contents.info
    assert isinstance(video, VideoInfo)
    assert isinstance(info, SkeletonInfo)
    if info.num_frames != video.num_frames:
        return Refused(
            "probe", f"skeletons: are of {info.num_frames} frames, and {video.num_frames} decode; extract them again"
        )
    return Contents(video, (*contents.members, *found.contents.members), skeleton=info)


def _prepare_alone(
    task: Task, profile: Profile, on_damage: Literal["error", "conceal"], staging: str
) -> Prepared | Refused:
    """As ``prepare``, without the skeletons that belong to a video."""
    if task.item.span is not None:
        return _prepare_part(task, profile, on_damage, staging)
    if is_remote(task.item.path):
        return _prepare_remote(task, profile, on_damage, staging)
    if task.item.reader is not None:
        return _read(task.item.path, task.item.reader, conceal=on_damage == "conceal")
    if task.item.window is not None:
        return _cut(task, task.item.window, profile, staging)
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
        return Prepared(Contents(video, (Member(video.container, path=task.item.path, state=before),)))

    out = Path(staging) / f"{task.key}.mp4"
    try:
        video = reencode_video(path, video, out, profile)
    except (EncodeError, DecodeError) as error:
        out.unlink(missing_ok=True)
        return Refused("encode", without_path(str(error), task.item.path))
    except OSError as error:
        out.unlink(missing_ok=True)
        if error.errno not in NO_ROOM and _state_now(path) is None:
            return Refused("open", error.strerror or str(error))
        with naming_the_path(out):
            raise
    if _state_now(path) != before:
        out.unlink()
        return Refused("copy", "has changed while it was packed")
    member = Member(video.container, path=str(out), state=FileState.of(out.stat()))
    return Prepared(Contents(video, (member,)), staged=str(out))


def _state_now(path: Path) -> FileState | None:
    """None where the file is gone."""
    try:
        return FileState.of(path.stat())
    except OSError:
        return None


def _cut(task: Task, window: Window, profile: Profile, staging: str) -> Prepared | Refused:
    """A stretch of a longer video is encoded as a video of its own."""
    path, out = Path(task.item.path), Path(staging) / f"{task.key}.mp4"
    try:
        before = FileState.of(path.stat())
        video = encode_window(path, window, out, profile).info
        changed = FileState.of(path.stat()) != before
    except DecodeError as error:
        out.unlink(missing_ok=True)
        return Refused("probe", without_path(str(error), task.item.path))
    except EncodeError as error:
        out.unlink(missing_ok=True)
        return Refused("encode", without_path(str(error), task.item.path))
    except OSError as error:
        if error.errno in NO_ROOM:
            with naming_the_path(out):
                raise
        return Refused("open", error.strerror or str(error))
    if changed:
        out.unlink()
        return Refused("copy", "has changed while it was packed")
    boxes = task.item.annotations.boxes if task.item.annotations else ()
    if late := [box.time for box in boxes if box.time > video.duration]:
        out.unlink()
        return Refused("probe", f"ends {max(late) - video.duration:.3g} s before its last box")
    member = Member(video.container, path=str(out), state=FileState.of(out.stat()))
    return Prepared(Contents(video, (member,)), staged=str(out))


def _prepare_remote(
    task: Task, profile: Profile, on_damage: Literal["error", "conceal"], staging: str
) -> Prepared | Refused:
    """A video on a server is fetched first. One that is not there is refused; a server that fails ends the run."""
    if isinstance(task.item.reader, FrameFolder):
        return Refused("open", "frame folders are read from local folders only")
    storage, name = locate(task.item.path)
    try:
        span = (0, storage.size(name))
    except MissingError:
        return Refused("open", "no such file on the server")
    return _prepare_part(replace(task, item=replace(task.item, span=span)), profile, on_damage, staging)


def _prepare_part(
    task: Task, profile: Profile, on_damage: Literal["error", "conceal"], staging: str
) -> Prepared | Refused:
    """A video that is a part of a larger file is copied out first."""
    item = task.item
    # Readers go by the extension; videos are told by what is in them.
    extension = PurePosixPath(item.path.partition("?")[0]).suffix if item.reader is not None else ""
    whole = Path(staging) / f"{task.key}.part{extension}"
    assert item.span is not None
    before = None
    try:
        if not is_remote(item.path):
            before = FileState.of(os.stat(item.path))  # noqa: PTH116
        storage, name = locate(item.path)
        with naming_the_path(whole), whole.open("wb") as file:
            for data in iter(partial(storage.open(name, *item.span).read, _CHUNK), b""):
                file.write(data)
    except OSError as error:
        if is_remote(item.path):
            return Refused("open", error.strerror or str(error))
        # Not one sample but a shard of a data set is out of reach, and with it perhaps thousands.
        raise StorageError(f"{item.path}: {error.strerror or error}; run `vidflow verify` on the data set") from error
    result = _prepare_alone(
        Task(task.ordinal, task.key, replace(item, path=str(whole), span=None)), profile, on_damage, staging
    )
    if isinstance(result, Refused) or result.staged is not None:
        whole.unlink()
        return result
    if before is None:
        return replace(result, staged=str(whole))
    whole.unlink()  # the bytes are copied from where they lie
    (member,) = result.contents.members
    member = replace(member, path=item.path, state=before, span=item.span)
    return Prepared(Contents(result.contents.info, (member,)))


def _read(path: str, reader: SampleReader, *, conceal: bool) -> Prepared | Refused:
    """A sample of another kind than video, by its own reader."""
    try:
        # The path may not be UTF-8 and stays a plain string.
        before = None if is_remote(path) else FileState.of(os.stat(path))  # noqa: PTH116
        contents = reader.read(path, conceal=conceal)
        if before is not None and FileState.of(os.stat(path)) != before:  # noqa: PTH116
            return Refused("copy", "has changed while it was packed")
    except OSError as error:
        if error.errno in NO_ROOM:  # of the folder for temporary files, and no fault of the source
            with naming_the_path(Path(os.fsdecode(error.filename) if error.filename else tempfile.gettempdir())):
                raise
        return Refused("open", error.strerror or str(error))
    except DataError as error:
        return Refused("probe", without_path(str(error), path))
    return Prepared(contents)
