"""One video that shall be packed, and the list of them that a source gives."""

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from vidflow.media.window import Window
from vidflow.schema import Moment, Question, Segment, TimedBox
from vidflow.shards.contents import Contents
from vidflow.shards.files import FileState
from vidflow.shards.sources.box_table import BoxTable

# Compared in lower case: cameras write .MP4 and .MOV.
VIDEO_EXTENSIONS = frozenset(
    {
        *(
            "3g2",
            "3gp",
            "asf",
            "avi",
            "divx",
            "f4v",
            "flv",
            "gif",
            "h264",
            "hevc",
            "m1v",
            "m2ts",
            "m2v",
            "m4v",
            "mjpeg",
        ),
        *(
            "mjpg",
            "mkv",
            "mov",
            "mp4",
            "mpe",
            "mpeg",
            "mpg",
            "mts",
            "mxf",
            "nut",
            "ogm",
            "ogv",
            "ps",
            "qt",
            "rm",
            "rmvb",
        ),
        *("ts", "vob", "webm", "wmv", "xvid", "y4m"),
    }
)
SPLIT_ORDER = ("train", "val", "test")


class SampleReader(Protocol):
    """How a sample of another kind than video is read. Workers call it, so it must be picklable."""

    def read(self, path: str, *, conceal: bool) -> Contents:
        """What the sample at ``path`` holds.

        Args:
            conceal: whether damage that can be marked as such is let through.

        Raises:
            DataError: it cannot be packed; the message says why.
            OSError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is known of a sample beside its labels; fields as in ``SampleRecord``."""

    segments: tuple[Segment, ...] = ()
    boxes: tuple[TimedBox, ...] | BoxTable = ()
    captions: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Companion:
    """A file with the skeletons of a video's people, frame by frame."""

    path: str
    reader: SampleReader


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One video (or sample of another kind) and what is known about it without opening it."""

    path: str
    """Where the file lies; a name that is not UTF-8 carries Python's surrogate escapes."""
    id: str
    """The path as the source names it, as text (see ``text_of``)."""
    split: str
    labels: tuple[int, ...]
    group: str | None = None
    reader: SampleReader | None = None
    """How a sample of another kind than video is read; None for a video."""
    annotations: Annotations | None = None
    state: FileState | None = None
    """What the listing of a server said of the file; None where it must be asked for."""
    span: tuple[int, int] | None = None
    """Offset and bytes, where the video is a part of the file at ``path`` (which may be an address then)."""
    window: Window | None = None
    """The stretch of the video that is the sample, which is encoded anew for it; None takes the whole."""
    companion: Companion | None = None
    """Skeletons that are packed with the video."""


@dataclass(frozen=True, slots=True)
class SourceList:
    """All that a source gives, and what it passed over."""

    name: str
    items: tuple[SourceItem, ...]
    classes: tuple[str, ...]
    multi_label: bool = False
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> number of files or lines that are no samples."""
    warnings: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    """The choices that made this list, for dataset.json."""
    task: str = "recognition"
    """See ``DatasetInfo.task``."""


def text_of(name: str) -> str:
    """A file name as clean text: a byte that is not UTF-8 becomes the six characters ``\\udcXX``, all else stays.

    >>> import os
    >>> text_of(os.fsdecode(b"caf\\xe9.mp4"))
    'caf\\\\udce9.mp4'
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def class_name(name: str) -> str:
    """A class name in one spelling: macOS writes accents decomposed (NFD), most others composed (NFC)."""
    return unicodedata.normalize("NFC", text_of(name))


def has_video_extension(name: str) -> bool:
    """Whether a file name ends like a video's, in any case."""
    return PurePath(name).suffix[1:].lower() in VIDEO_EXTENSIONS


def split_rank(split: str) -> tuple[int, str]:
    """Sort key of splits: train, val, test, then any others by name."""
    return (SPLIT_ORDER.index(split) if split in SPLIT_ORDER else len(SPLIT_ORDER), split)
