"""Frames that a tool has extracted before: one folder per video, with flow beside them or not.

How the files are called and whether they count from 0 or 1 is found in each folder, never assumed: names are a prefix,
a number and ``.jpg`` or ``.png``. Flow lies in the same folder, as two series of pictures: ``flow_x_00001.jpg`` and
``flow_y_00001.jpg``, or ``x_00001.jpg`` and ``y_00001.jpg``.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vidflow.errors import ConfigError, DataError
from vidflow.media.picture import probe_picture
from vidflow.members import flow_suffix, frame_suffix
from vidflow.schema import FramesInfo
from vidflow.shards.contents import Contents, Member
from vidflow.shards.files import FileState
from vidflow.shards.sources.class_folders import enter_folder, entries_of, is_folder
from vidflow.shards.sources.items import text_of

_NUMBERED = re.compile(r"(.*?)(\d+)\.(jpe?g|png)", re.IGNORECASE | re.DOTALL)
_FLOW_PREFIX = re.compile(r"(?:flow[_-]?)?([xy])[_-]?", re.IGNORECASE)
_FIELD = re.compile(r"%0?\d*d|\{:0?\d*d?\}")
_MAX_LISTED = 5


def template_prefix(template: str) -> str:
    """What stands before the number in ``img_%05d.jpg`` or ``img_{:05d}.jpg``.

    >>> template_prefix("img_%05d.jpg"), template_prefix("{:05}.png")
    ('img_', '')

    Raises:
        ConfigError: no such pattern.
    """
    parts = _FIELD.split(template)
    if len(parts) != 2 or parts[1].lower() not in (".jpg", ".jpeg", ".png") or "/" in template:
        raise ConfigError(f"--template {template!r}: write one such as img_%05d.jpg or img_{{:05d}}.jpg")
    return parts[0]


def is_flow_prefix(prefix: str) -> bool:
    """Whether pictures with this before their number are taken for flow."""
    return _FLOW_PREFIX.fullmatch(prefix) is not None


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """Reader of a folder of frames."""

    template: str | None = None
    """Names of the frames; None finds them."""
    offset: int = 0
    """Frames of the folder that lie before the sample's first one."""
    num_frames: int | None = None
    """Frames of the sample; None takes all from ``offset`` on."""
    fps: float | None = None

    def read(self, path: str, *, conceal: bool) -> Contents:
        """All frames and flow of the sample, once each has been decoded and found to be of one size."""
        series = _series(path)
        rgb = self._rgb(series)
        wanted = self._wanted(rgb, "frame")
        flow = self._flow(series, wanted)
        frames = [_probed(path, rgb[number]) for number in wanted]
        formats = {name for name, *_ in frames}
        if len(formats) > 1:
            raise DataError(f"frames of several formats: {', '.join(sorted(formats))}")
        name, width, height, _ = frames[0]
        pictures = [(axis, [_probed(path, files[number]) for number in numbers]) for axis, files, numbers in flow]
        for file, found in [*zip((rgb[number] for number in wanted), frames, strict=True)] + [
            (files[number], found)
            for (_, files, numbers), (_, axis) in zip(flow, pictures, strict=True)
            for number, found in zip(numbers, axis, strict=True)
        ]:
            if found[1:3] != (width, height):
                raise DataError(f"{text_of(file)} has {found[1]}x{found[2]} pixels, the first frame {width}x{height}")
        num_flow = len(pictures[0][1]) if pictures else 0
        if any(found[0] != "jpg" for _, axis in pictures for found in axis):
            raise DataError("flow pictures must be JPEG")
        info = FramesInfo(
            container="jpg" if name == "jpg" else "png",
            num_frames=len(frames),
            width=width,
            height=height,
            fps=self.fps,
            duration=len(frames) / self.fps if self.fps else None,
            num_flow=num_flow,
        )
        members = [Member(frame_suffix(info, i), path=m.path, state=m.state) for i, (*_, m) in enumerate(frames)]
        for step in range(num_flow):
            for axis, of_axis in pictures:
                source = of_axis[step][3]
                members.append(Member(flow_suffix(axis, step), path=source.path, state=source.state))
        return Contents(info, tuple(members))

    def _rgb(self, series: dict[str, dict[int, str]]) -> dict[int, str]:
        """Number -> file name of the frames."""
        if self.template is not None:
            prefix = template_prefix(self.template)
            if prefix not in series:
                raise DataError(f"no file is called like {self.template}; there are {_listed(series)}")
            return series[prefix]
        found = {prefix: files for prefix, files in series.items() if not is_flow_prefix(prefix)}
        if len(found) != 1:
            raise DataError(
                f"{'several series of' if found else 'no'} frames; there are {_listed(series)}; "
                "give --template, such as img_%05d.jpg"
            )
        return next(iter(found.values()))

    def _wanted(self, files: dict[int, str], what: str) -> range:
        """Numbers of the sample's frames, all of which are there."""
        first = min(files)
        if first > 1 and not self.offset:
            raise DataError(f"{what}s begin with number {first}; 0 or 1 is missing")
        start = min(first, 1) + self.offset
        end = max(files) + 1 if self.num_frames is None else start + self.num_frames
        num_missing = max(end - start, 0) - sum(start <= number < end for number in files)
        if num_missing or start >= end:
            # A wrong total may be so large that not even a list of the missing ones has room.
            missing = (str(number) for number in range(start, end) if number not in files)
            shown = ", ".join(islice(missing, _MAX_LISTED))
            raise DataError(
                f"{what} number {shown or start} is missing ({num_missing} in all); "
                f"the numbers go from {first} to {max(files)}"
            )
        return range(start, end)

    def _flow(self, series: dict[str, dict[int, str]], wanted: range) -> list[tuple[str, dict[int, str], range]]:
        """(axis, number -> file, numbers) for x and y: as many as there are for the sample's frames."""
        found: dict[str, dict[int, str]] = {}
        for prefix, files in series.items():
            if match := _FLOW_PREFIX.fullmatch(prefix):
                if match[1].lower() in found:
                    raise DataError(f"several series of flow; there are {_listed(series)}")
                found[match[1].lower()] = files
        if not found:
            return []
        if len(found) == 1:
            raise DataError(f"flow has {next(iter(found))} only; there are {_listed(series)}")
        if min(found["x"]) != min(found["y"]) or max(found["x"]) != max(found["y"]):
            raise DataError(f"flow x and y are not of the same length; there are {_listed(series)}")
        # Flow may count from another number than the frames do.
        start = min(min(found["x"]), 1) + self.offset
        end = min(max(found["x"]) + 1, start + len(wanted))
        for axis, files in found.items():
            if missing := [number for number in range(start, end) if number not in files]:
                raise DataError(f"flow {axis} number {missing[0]} is missing ({len(missing)} in all)")
        return [(axis, found[axis], range(start, max(start, end))) for axis in "xy"]


def _series(folder: str) -> dict[str, dict[int, str]]:
    """Prefix -> number -> file name, of all numbered pictures in a folder."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    with os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries):
            if name.startswith(".") or not (match := _NUMBERED.fullmatch(name)):
                continue
            number = int(match[2])
            if number in found[match[1]]:
                raise DataError(f"{text_of(found[match[1]][number])} and {text_of(name)} have the same number")
            found[match[1]][number] = name
    if not found:
        raise DataError("holds no numbered .jpg or .png files")
    return found


def _listed(series: dict[str, dict[int, str]]) -> str:
    names = [text_of(files[min(files)]) for files in series.values()]
    return ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    )


def _probed(folder: str, name: str) -> tuple[str, int, int, Member]:
    """Format, width, height, and the file as a member whose suffix is not known yet."""
    path = Path(folder, name)
    state = FileState.of(path.stat())
    return *probe_picture(path.read_bytes(), text_of(name)), Member("", path=str(path), state=state)


def walk_frame_folders(
    folder: str, skipped: Counter[str], ancestors: tuple[tuple[int, int], ...] = ()
) -> Iterator[str]:
    """Folders at any depth that hold numbered pictures, in byte order. Links are followed, but not to ``ancestors``.

    Raises:
        DataError: a folder cannot be read.
    """
    yield from _walk(folder, ancestors, skipped)


def _walk(folder: str, ancestors: tuple[tuple[int, int], ...], skipped: Counter[str]) -> Iterator[str]:
    here = enter_folder(folder, ancestors, skipped)
    if here is None:
        return
    folders, files = [], []
    for entry in entries_of(folder):
        if is_folder(entry):
            folders.append(entry)
        else:
            files.append(entry.name)
    if any(_NUMBERED.fullmatch(name) for name in files):
        yield folder
    elif files:
        skipped["another kind of file"] += len(files)
    for entry in folders:
        if not entry.name.startswith("."):
            yield from _walk(entry.path, here, skipped)
