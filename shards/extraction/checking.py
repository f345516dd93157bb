"""Which videos are broken: every one is decoded to its last frame, and nothing is written but a report on request.

The report has one line of JSON per video. A later check with the same report passes over videos whose size and time
have not changed since, so that a check that was interrupted goes on, and one of a grown folder looks at the new files.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from vidflow.errors import ConfigError, DataError, DecodeError, StorageError
from vidflow.media.probe import probe_video
from vidflow.shards.extraction.sources import Found
from vidflow.shards.files import naming_the_path, write_whole
from vidflow.shards.journal import kind_of
from vidflow.shards.prepare import without_path
from vidflow.shards.sources.annotations import USUAL_COLUMNS
from vidflow.shards.sources.lines import read_rows
from vidflow.shards.workers import Crash, map_in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What decoding one video has shown."""

    id: str
    stage: str | None = None
    """``open`` or ``decode`` where it is broken."""
    reason: str | None = None
    """Why it is broken; None where it is whole."""
    size: int | None = None
    mtime_ns: int | None = None
    codec: str | None = None
    num_frames: int | None = None
    duration: float | None = None
    """Seconds."""
    width: int | None = None
    height: int | None = None
    has_audio: bool | None = None

    @property
    def kind(self) -> str:
        """The reason without its numbers and details, for counting."""
        return kind_of(self.stage or "", self.reason or "")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All videos, in the order in which they were given."""

    checked: tuple[Checked, ...]
    num_kept: int
    """Known from the report of an earlier check."""

    @property
    def broken(self) -> tuple[Checked, ...]:
        """Those that cannot be used."""
        return tuple(video for video in self.checked if video.reason is not None)


def check_videos(
    files: Sequence[Found],
    *,
    workers: int,
    report: Path | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> CheckReport:
    """Decode every video once.

    Args:
        workers: processes.
        report: file of an earlier check that is gone on with, and where this one is noted.
        on_progress: called with the number of videos that are settled.

    Raises:
        DataError: the report is of another program.
        StorageError: it cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    known = {} if report is None else _read_report(report)
    kept = {file.id: known[file.id] for file in files if file.id in known and _is_unchanged(file, known[file.id])}
    left = [file for file in files if file.id not in kept]
    found = dict(kept)
    on_progress(len(found))
    if report is not None:
        with naming_the_path(report):
            report.parent.mkdir(parents=True, exist_ok=True)
    with closing(_Notes(report)) as notes:
        for video in _results(left, workers):
            notes.add(video)
            found[video.id] = video
            on_progress(len(found))
    checked = tuple(found[file.id] for file in files)
    if report is not None:
        data = "".join(f"{_line(video)}\n" for video in checked).encode()
        write_whole(report, data, part=report.with_name(f"{report.name}.part"))
    return CheckReport(checked, len(kept))


class _Notes:
    """The report while it grows; nothing where there is none."""

    def __init__(self, report: Path | None) -> None:
        self._file: BinaryIO | None = None
        self._path = report
        if report is not None:
            with naming_the_path(report):
                self._file = report.open("ab", buffering=0)

    def add(self, video: Checked) -> None:
        if self._file is not None and self._path is not None:
            with naming_the_path(self._path):
                self._file.write(f"{_line(video)}\n".encode())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _line(video: Checked) -> str:
    return json.dumps({name: value for name, value in asdict(video).items() if value is not None})


def _read_report(path: Path) -> dict[str, Checked]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"--report {path}: {error.strerror}") from error
    whole = data.rfind(b"\n") + 1
    found = {}
    for number, text in enumerate(data[:whole].splitlines(), 1):
        try:
            video = Checked(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise DataError(f"--report {path}:{number}: not a line of a check; give another file") from error
        found[video.id] = video
    if data and not found:
        raise DataError(f"--report {path}: not the report of a check; give another file")
    if whole < len(data):  # a line that a killed run could not finish
        os.truncate(path, whole)
    return found


def _is_unchanged(file: Found, video: Checked) -> bool:
    try:
        status = os.stat(file.path)  # noqa: PTH116 -- the path may not be UTF-8 and stays a plain string
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (video.size, video.mtime_ns)


def _results(files: Sequence[Found], workers: int) -> Iterator[Checked]:
    if not files:
        return
    with closing(map_in_order(check_video, files, workers=min(workers, len(files)))) as results:
        for file, result in results:
            yield Checked(id=file.id, stage="decode", reason=result.reason) if isinstance(result, Crash) else result


def check_video(file: Found) -> Checked:
    """Decode one video; in a worker process."""
    try:
        status = os.stat(file.path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            return Checked(id=file.id, stage="open", reason="not a regular file")
        Path(file.path).open("rb").close()
    except OSError as error:
        return Checked(id=file.id, stage="open", reason=error.strerror or str(error))
    size, mtime_ns = status.st_size, status.st_mtime_ns
    try:
        info = probe_video(Path(file.path))
    except DecodeError as error:
        reason = without_path(str(error), file.path)
        return Checked(id=file.id, stage="decode", reason=reason, size=size, mtime_ns=mtime_ns)
    return Checked(
        id=file.id, codec=info.codec, num_frames=info.num_frames, duration=round(info.duration, 6), width=info.width,
        height=info.height, has_audio=info.has_audio, size=size, mtime_ns=mtime_ns,
    )  # fmt: skip


def listed_videos(lists: Sequence[Path], root: Path | None) -> tuple[Found, ...]:
    """The files that annotation lists name, each once, in their order; labels do not matter.

    A path that two lists mean differently, each in its own folder, is called by the whole of it.

    Args:
        root: folder that paths are relative to; None takes each list's own.

    Raises:
        DataError: a list cannot be read.
    """
    found: dict[str, Found] = {}
    names: dict[str, str] = {}
    for file in lists:
        folder = file.parent if root is None else root
        for row in read_rows(file, columns=USUAL_COLUMNS, multi_label=True):
            path = os.path.normpath(os.path.join(folder, row.path))  # noqa: PTH118 -- perhaps not UTF-8
            name = row.path if names.setdefault(row.path, path) == path else path
            found.setdefault(path, Found(path, name))
    return tuple(found.values())
