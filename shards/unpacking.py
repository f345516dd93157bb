"""From a packed data set back to files, with a list that packs them again.

Ids become paths below the output folder, class folders and all. What could lead out of it or cannot be a file's name
there is changed and reported: an absolute path loses its first slash, ``..`` becomes ``__``, and of two samples of one
path the second gets its key into the name. Names depend on the whole data set only, so that a selection gives the same.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, StorageError
from vidflow.members import KEYPOINT, SCORE
from vidflow.schema import ANNOTATIONS, FeatureInfo, Location, SampleRecord
from vidflow.shards.contents import Member
from vidflow.shards.files import naming_the_path
from vidflow.shards.packed_samples import media_members, rows_at
from vidflow.shards.sources.items import class_name, text_of
from vidflow.shards.sources.unpacked_arrays import INFO_NAME, info_json

LIST_NAME = "annotations.csv"
CLASSES_NAME = "classes.txt"
SKELETONS_NAME = "skeletons"
"""Folder of the skeletons of videos, a folder for each under the video's own path."""

_CHUNK = 1 << 20
_MAX_LISTED = 5
_ESCAPE = re.compile(r"\\ud[c-f][0-9a-f]{2}")
_PICTURE = re.compile(r"(rgb|flow_x|flow_y)\.(\d+)\.(\w+)")
_SEPARATORS = re.compile(r"[\s,;|]")


@dataclass(frozen=True, kw_only=True)
class UnpackReport:
    """How it ended; counts are of samples."""

    num_samples: int
    num_written: int
    num_kept: int
    """Samples whose files were there already, with the same content."""
    size: int
    """Bytes of all their files."""
    warnings: tuple[str, ...]


def file_name_of(sample_id: str) -> str:
    """An id as a file name: escapes of bytes that are not UTF-8 are those bytes again (as Python's surrogates).

    >>> import os
    >>> os.fsencode(file_name_of("caf\\\\udce9.mp4"))
    b'caf\\xe9.mp4'
    """
    name = _ESCAPE.sub(lambda match: chr(int(match[0][2:], 16)), sample_id)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # an escape that stands for no byte
        return sample_id
    # Escapes that would make valid UTF-8 were typed by a person: such a name would not come back.
    restored = os.fsdecode(os.fsencode(name))
    return name if text_of(restored) == sample_id else sample_id


def safe_path(sample_id: str) -> str:
    """An id as a relative path that stays below the folder that it is joined to.

    >>> safe_path("/data/../a//b.mp4"), safe_path("..")
    ('data/__/a/b.mp4', '__')
    """
    parts = [part for part in file_name_of(sample_id).replace("\0", "_").split("/") if part not in ("", ".")]
    return "/".join("__" if part == ".." else part for part in parts) or "_"


def path_names(dataset: PackedDataset) -> list[str]:
    """The path of each sample, by position in the manifest; no two are equal, and none is a folder of another."""
    names = [safe_path(sample_id) for sample_id in dataset.column("id").tolist()]
    keys = dataset.column("key").tolist()
    folders = {str(parent) for name in set(names) for parent in PurePosixPath(name).parents}
    taken = {LIST_NAME, CLASSES_NAME, *folders}
    for position, (name, key) in enumerate(zip(names, keys, strict=True)):
        if name in taken:
            path = PurePosixPath(name)
            name = str(path.with_name(f"{path.stem}.{key}{path.suffix}"))
            while name in taken:
                name += f".{key}"
            names[position] = name
        taken.add(name)
    return names


def unpack(
    dataset: PackedDataset,
    out: Path,
    positions: np.ndarray,
    *,
    on_progress: Callable[[int], None] = lambda done: None,
) -> UnpackReport:
    """Write samples as files, and ``annotations.csv`` and ``classes.txt`` beside them.

    A file appears whole or not at all; files with the same content are kept, so that an interrupted run can go on.

    Args:
        positions: int64 [n], positions in the manifest.
        on_progress: called with the number of samples that are done.

    Raises:
        DataError: a file is there with other content, or a shard holds something else than the manifest says.
        StorageError: something cannot be read or written.
    """
    with naming_the_path(out):
        out.mkdir(parents=True, exist_ok=True)
    names = path_names(dataset)
    ids = dataset.column("id")
    changed = [int(position) for position in positions if names[position] != file_name_of(ids[position])]
    folders = _Folders(out)
    in_order = np.sort(positions)  # as the samples lie in the shards
    lists, warnings = _lists(dataset, in_order, names)
    for name, data in lists.items():
        if (out / name).exists() and (out / name).read_bytes() != data:
            raise DataError(f"{out / name}: is there with other content; remove it, or give another folder")
    counts: Counter[str] = Counter()
    size = 0
    for done, (position, (record, location)) in enumerate(
        zip(in_order.tolist(), rows_at(dataset, in_order), strict=True), 1
    ):
        written = False
        for name, member in _files(dataset, record, location, names[position]):
            written |= _write(folders, name, member, record)
            size += member.size
        counts["written" if written else "kept"] += 1
        on_progress(done)
    for name, data in lists.items():
        part = out / f".{name}.part"
        with naming_the_path(part):
            part.write_bytes(data)
            part.replace(out / name)
    if changed:
        listed = ", ".join(f"{ids[position]!r} as {names[position]!r}" for position in changed[:_MAX_LISTED])
        warnings.append(f"{len(changed)} samples could not keep their path and lie elsewhere: {listed}")
    return UnpackReport(
        num_samples=len(positions),
        num_written=counts["written"],
        num_kept=counts["kept"],
        size=size,
        warnings=tuple(warnings),
    )


def _files(dataset: PackedDataset, record: SampleRecord, location: Location, name: str) -> Iterator[tuple[str, Member]]:
    """The files of one sample: relative path and content."""
    for member in media_members(dataset.storage, record, location):
        if member.suffix in (KEYPOINT, SCORE) and record.kind != "skeleton":
            yield f"{SKELETONS_NAME}/{name}/{member.suffix}", member
        elif record.kind in ("video", "audio"):
            yield name, member
        elif record.kind == "frames":
            picture = _PICTURE.fullmatch(member.suffix)
            assert picture is not None, member.suffix
            stem = "img" if picture[1] == "rgb" else picture[1]
            yield f"{name}/{stem}_{picture[2]}.{picture[3]}", member
        elif record.feature is not None and _says_itself(record.feature, name):
            yield name, member
        else:
            yield f"{name}/{member.suffix}", member
    if record.skeleton is not None and record.kind != "skeleton":
        yield f"{SKELETONS_NAME}/{name}/{INFO_NAME}", Member(INFO_NAME, info_json(record.skeleton, "skeleton"))
        return
    info = record.skeleton or record.feature
    if info is not None and not (isinstance(info, FeatureInfo) and _says_itself(info, name)):
        yield f"{name}/{INFO_NAME}", Member(INFO_NAME, info_json(info, record.kind))


def _says_itself(info: FeatureInfo, name: str) -> bool:
    """Whether the array alone, under the sample's own name, holds all that is known of it."""
    return name.endswith(".npy") and info.duration is None and info.seconds_per_step is None


class _Folders:
    """Folders below the output, made when they are needed, and never left through a link."""

    def __init__(self, out: Path) -> None:
        self.out, self.root = out, out.resolve()
        self._made: set[str] = set()

    def path(self, name: str) -> Path:
        """Where a file goes; its folder is there then."""
        path = self.out / name
        folder = str(path.parent)
        if folder not in self._made:
            if not path.parent.resolve().is_relative_to(self.root):
                raise StorageError(f"{path.parent}: a link leads out of {self.out}; remove it, or give another folder")
            with naming_the_path(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        return path


def _write(folders: _Folders, name: str, member: Member, record: SampleRecord) -> bool:
    """Write one file; False where it was there already."""
    path = folders.path(name)
    part = path.with_name(f".{record.key}.part")  # not the file's own name, which may be as long as names can be
    if os.path.lexists(path):
        if path.is_file() and not path.is_symlink() and _is_equal(path, member):
            return False
        raise DataError(f"{path}: is there with other content than {record.id}; remove it, or give another folder")
    try:
        with naming_the_path(path), part.open("wb") as file:
            for chunk in chunks(member):
                file.write(chunk)
        with naming_the_path(path):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


def chunks(member: Member) -> Iterator[bytes | memoryview]:
    """The content of a member, piece by piece.

    Raises:
        StorageError: its file cannot be read, or ends early.
    """
    if member.path is None:
        yield bytes(member.data)
        return
    offset, left = member.span or (0, member.size)
    try:
        with Path(member.path).open("rb") as file:
            file.seek(offset)
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise StorageError(f"{member.path}: ends {left} bytes early; run `vidflow verify`")
                yield chunk
                left -= len(chunk)
    except OSError as error:
        raise StorageError(f"{member.path}: {error.strerror}") from error


def _is_equal(path: Path, member: Member) -> bool:
    if path.stat().st_size != member.size:
        return False
    with path.open("rb") as file:
        return all(file.read(len(chunk)) == chunk for chunk in chunks(member))


def _lists(dataset: PackedDataset, positions: np.ndarray, names: list[str]) -> tuple[dict[str, bytes], list[str]]:
    """Name -> content of the annotation list and the class names, and warnings."""
    info = dataset.info
    strange = [
        name
        for name in info.classes
        if not name.strip() or name != class_name(name.strip()) or re.search(r"[\r\n]", name)
    ]
    if strange:
        return {}, [
            f"no {LIST_NAME}: it cannot hold class names such as {strange[0]!r}; `vidflow relabel` changes them"
        ]
    tokens = [_label_token(info.classes, index, multi_label=info.multi_label) for index in range(len(info.classes))]
    lost = []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group"])
    noted = 0
    for position, (record, _) in zip(positions.tolist(), rows_at(dataset, positions), strict=True):
        name = os.fsdecode(os.fsencode(names[position]))
        if name != name.strip() or "\r" in name or re.search(r"\n\s*\n", name):
            lost.append(name)
        writer.writerow([name, "|".join(tokens[label] for label in record.labels), record.split, record.group or ""])
        noted += any(getattr(record, name) for name in ANNOTATIONS)
    lists = {
        LIST_NAME: text.getvalue().encode("utf-8", "surrogateescape"),
        CLASSES_NAME: "".join(f"{name}\n" for name in info.classes).encode(),
    }
    warnings = []
    if lost:
        warnings.append(f"{len(lost)} paths cannot stand in {LIST_NAME} as they are, such as {text_of(lost[0])!r}")
    if noted:
        warnings.append(
            f"{noted} samples have {', '.join(ANNOTATIONS)}, or some of these, which {LIST_NAME} does not hold"
        )
    return lists, warnings


def _label_token(classes: tuple[str, ...], index: int, *, multi_label: bool) -> str:
    """How a class is written in the list: by name where that reads back as one label, else by number."""
    name = classes[index]
    number = str(index)
    if not multi_label or not _SEPARATORS.search(name):
        return name
    if number in classes and classes.index(number) != index:
        raise DataError(
            f"class {name!r} can stand in a list neither by name nor by its number {index}, which is another class's "
            "name; rename one with `vidflow relabel`"
        )
    return number
