"""From what a user names to samples as the loader gives them: a record and its content, read as packing reads it."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vidflow.errors import ConfigError, DataError
from vidflow.inference.drawn_video import Figures
from vidflow.media.probe import OnDamage, probe_video
from vidflow.members import skeleton_arrays
from vidflow.pipelines.inputs import Content
from vidflow.schema import KINDS, MediaInfo, SampleRecord, SkeletonInfo, VideoInfo
from vidflow.shards.contents import Contents, Member
from vidflow.shards.pose.extracting import PoseOptions, estimate_skeletons
from vidflow.shards.sources import skeleton_entries
from vidflow.shards.sources.items import SampleReader, has_video_extension, text_of
from vidflow.shards.sources.skeleton_archives import archive_contents
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.sound_files import SoundFile, has_audio_extension
from vidflow.skeletons.layouts import LAYOUTS, find_layout

Reads = Literal["clip", "skeleton", "audio", "rgb_pose"]
"""Kinds of pipelines."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSample:
    """One sample as the loader would give it, and what can be drawn of it."""

    record: SampleRecord
    data: Content | Path
    """A video's stream may stay in its file."""
    video: tuple[Path, VideoInfo] | None = None

    def figures(self, layout: str | Mapping[str, Any] | None = None) -> Figures | None:
        """The people that are seen in it; None where it holds no skeletons.

        Args:
            layout: says which keypoints to join, as in a config; None takes the sample's own.
        """
        info = self.record.skeleton
        if info is None:
            return None
        assert not isinstance(self.data, bytes | Path)
        keypoints, scores = skeleton_arrays(self.record, self.data)
        known = layout if layout is not None else LAYOUTS.get(info.layout)
        limbs = () if known is None else find_layout(known).limbs
        size = (info.width, info.height) if info.width and info.height else None
        return Figures(keypoints=keypoints, scores=scores, limbs=limbs, size=size, fps=info.fps)


@dataclass(frozen=True, slots=True)
class FileSample:
    """Something that can be predicted: a file, or one of several samples in it."""

    name: str
    """The path as it was given, and ``[entry]`` behind it where the file holds several; bytes that are not UTF-8 as
    escapes."""
    path: Path
    """The file, or the folder of ``vidflow unpack``, as it was given."""
    open: Callable[[], OpenedSample]
    """Reads it; raises ``DataError`` or ``OSError``."""


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """Which files are read for a pipeline, and how.

    Raises:
        ConfigError: ``pose`` for a pipeline that reads no skeletons, or none for one that reads videos with skeletons.
    """

    reads: Reads
    on_damage: OnDamage = "error"
    pose: PoseOptions | None = None
    """Estimates skeletons of videos; None reads none of them."""
    frame_times: bool = False
    """Whether the sound of videos is read together with the times of their frames, which takes decoding these."""
    skeletons: SkeletonPolicy = field(default_factory=lambda: SkeletonPolicy(nobody="keep"))
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.pose is not None and self.reads not in ("skeleton", "rgb_pose"):
            raise ConfigError(f"--pose: the model reads {_WORDS[self.reads]}, not skeletons; leave it out")

    def samples_of(self, paths: Iterable[str | os.PathLike[str]]) -> list[FileSample]:
        """The samples of files, and of the fitting files at any depth below folders, in byte order of their paths.

        A file that is named itself need not look right, nor exist: opening it will tell. Hidden names in folders are
        passed over, and links to folders are not followed.

        Raises:
            ConfigError: an empty path, which would stand for the working folder.
            DataError: a folder without any fitting file, or one that cannot be read.
        """
        given = [os.fspath(path) for path in paths]
        if "" in given:
            raise ConfigError(f"path {given.index('') + 1} of {len(given)} is empty; name a file, or . for this folder")
        found: list[FileSample] = []
        for path in map(Path, given):
            if not path.is_dir() or self._is_one_sample(path):
                found += self._of_file(path)
                continue
            inside = sorted(self._walk(path), key=os.fsencode)
            if not inside:
                raise DataError(
                    f"{text_of(str(path))}: has no {_FILES[self.reads]} at any depth; name the files themselves"
                )
            found += [sample for file in inside for sample in self._of_file(file)]
        return found

    def _is_one_sample(self, folder: Path) -> bool:
        return self.reads == "skeleton" and skeleton_entries.is_unpacked_skeleton(folder)

    def _accepts(self, file: Path) -> bool:
        if self.reads == "audio":
            return has_audio_extension(file.name)
        if self.reads == "skeleton" and skeleton_entries.looks_like_skeletons(file):
            return True
        return has_video_extension(file.name) and (self.reads != "skeleton" or self.pose is not None)

    def _walk(self, folder: Path) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise DataError(
                f"{text_of(str(error.filename))}: {error.strerror}; make it readable, or name the files themselves"
            )

        for place, folders, names in os.walk(folder, onerror=refuse):
            here = Path(place)
            if self._is_one_sample(here):
                folders.clear()
                yield here
                continue
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (here / name for name in names if not name.startswith(".") and self._accepts(here / name))

    def _of_file(self, path: Path) -> list[FileSample]:
        name = text_of(str(path))
        if self.reads == "skeleton" and not has_video_extension(path.name):
            try:
                entries = skeleton_entries.list_entries(path, self.skeletons)
            except (DataError, OSError) as error:
                return [FileSample(name, path, partial(_raise, error))]
            names = [f"{name}[{entry.name}]" if entry.name else name for entry in entries]
            return [
                FileSample(shown, path, partial(self._read, entry.path, entry.reader, shown))
                for shown, entry in zip(names, entries, strict=True)
            ]
        if self.reads in ("skeleton", "rgb_pose"):
            return [FileSample(name, path, partial(self._skeletons_of_video, path))]
        if self.reads == "audio" and not (self.frame_times and has_video_extension(path.name)):
            return [FileSample(name, path, partial(self._read, str(path), SoundFile(), name))]
        return [FileSample(name, path, partial(self._video, path))]

    # -- opening -----------------------------------------------------------------------------------------------------

    def _video(self, path: Path) -> OpenedSample:
        info = self._probed(path)
        if self.reads == "audio" and not info.has_audio:
            raise DataError(f"{path}: no sound stream")
        data: Content | Path = path if self.reads == "clip" else path.read_bytes()
        return OpenedSample(_record(text_of(str(path)), info), data, (path, info))

    def _probed(self, path: Path) -> VideoInfo:
        if not path.is_file():
            raise DataError(f"{path}: is no file" if path.exists() else f"{path}: no such file")
        return probe_video(path, on_damage=self.on_damage)

    def _skeletons_of_video(self, path: Path) -> OpenedSample:
        name = text_of(str(path))
        if self.pose is None:
            raise DataError(f"{name}: is a video, and the model reads skeletons; give --pose to find them in it")
        info = self._probed(path)
        with self._one_at_a_time:  # estimators make no promise for several threads
            archive = estimate_skeletons(path, info, self.pose)
        contents = archive_contents(archive, self.skeletons, conceal=False)
        opened = _opened(name, contents, f"{name}: nobody was found in it")
        if self.reads == "skeleton":
            return replace(opened, video=(path, info))
        assert isinstance(opened.data, dict)
        record = _record(name, info, opened.record.skeleton)
        return OpenedSample(record, {info.container: path.read_bytes(), **opened.data}, (path, info))

    def _read(self, path: str, reader: SampleReader, name: str) -> OpenedSample:
        try:
            contents = reader.read(path, conceal=self.on_damage == "conceal")
        except DataError as error:
            # Packing writes the name beside the reason.
            raise DataError(str(error) if name in str(error) else f"{name}: {error}") from error
        return _opened(name, contents, f"{name}: holds nobody, no keypoint is there")


_WORDS = {"clip": "videos", "audio": "sound"}
_FILES = {
    "clip": "file with a video's extension",
    "skeleton": f"skeleton file ({', '.join(skeleton_entries.EXTENSIONS)})",
    "audio": "sound file, video or array of mel features",
    "rgb_pose": "file with a video's extension",
}


_KEY = "0"


def without_key(message: str, name: str) -> str:
    """A message of the pipeline, which calls a sample by its key as well, with the name alone: a file has no key.

    >>> without_key("sample 0 (a.npy): has 5 keypoints", "a.npy")
    'a.npy: has 5 keypoints'
    """
    return message.replace(f"sample {_KEY} ({name})", name)


def _raise(error: Exception) -> OpenedSample:
    raise error


def _record(name: str, info: MediaInfo, skeleton: SkeletonInfo | None = None) -> SampleRecord:
    kind = next(kind for kind, media in KINDS.items() if isinstance(info, media))
    people = {} if skeleton is None else {"skeleton": skeleton}
    return SampleRecord.model_validate({"key": _KEY, "id": name, "split": "none", "kind": kind, kind: info} | people)


def _opened(name: str, contents: Contents, nobody: str) -> OpenedSample:
    """A sample from what packing would write.

    Raises:
        DataError: skeletons of nobody, with the message ``nobody``.
    """
    record = _record(name, contents.info)
    data = {member.suffix: _content(member) for member in contents.members}
    if record.skeleton is not None and not skeleton_arrays(record, data)[0].any():
        raise DataError(nobody)
    return OpenedSample(record, data)


def _content(member: Member) -> bytes:
    return bytes(member.data) if member.path is None else Path(member.path).read_bytes()
