"""WebDataset tars that others have written, without a manifest: their members by key, as a list of videos with labels.

Members are grouped as webdataset groups them (the key is the name up to the first dot of its last part), but what it
passes over in silence is counted or refused here: a sample whose members lie apart, a field that is there twice, links,
names that lead out of a folder. Nothing is unpacked by its name, and pickles are never read.
"""

import glob
import json
import os
import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidflow.errors import ConfigError, DataError
from vidflow.shards.files import is_there
from vidflow.shards.sources.items import VIDEO_EXTENSIONS, SourceItem, SourceList, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row, raise_all
from vidflow.shards.sources.splitting import assign_groups, check_groups, check_ratio, split_by_ratio
from vidflow.storage import is_remote, open_storage

# webdataset.tariterators.base_plus_ext and its skip_meta
_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_USUAL_LABELS = ("cls", "json.label")
_END = 2 * tarfile.BLOCKSIZE  # zeros that end an archive
_MAX_LABEL_BYTES = 16 << 20


@dataclass(frozen=True)
class _Field:
    """One member of a sample."""

    offset: int
    size: int
    data: bytes | None
    """Content, where a label may stand in it."""


@dataclass(frozen=True)
class _Group:
    """One sample."""

    key: str
    fields: dict[str, _Field]


class _Tar:
    """One foreign tar: its groups, and what is wrong with it."""

    def __init__(self, address: str, label_fields: Sequence[str]) -> None:
        self.address = address
        self.skipped: Counter[str] = Counter()
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._read_fields = {*label_fields, *(name.partition(".")[0] for name in label_fields)}

    def groups(self) -> Iterator[_Group]:
        """Samples in the order of the tar; look at ``problems`` afterwards."""
        key, fields, closed = "", dict[str, _Field](), set[str]()
        for member_key, name, field in self._members():
            if member_key != key:
                if key:
                    closed.add(key)
                    yield _Group(key, fields)
                key, fields = member_key, {}
                if key in closed:
                    self.problems.append(f"{self.address}: members of sample {text_of(key)!r} lie apart")
            if name in fields:
                self.problems.append(f"{self.address}: sample {text_of(key)!r} has the field {name!r} twice")
            fields[name] = field
        if key:
            yield _Group(key, fields)

    def _members(self) -> Iterator[tuple[str, str, _Field]]:
        """Key, field and place of each usable member."""
        folder, name = posixpath.split(self.address)
        remote = is_remote(self.address)
        storage = open_storage(folder)
        size = storage.size(name)
        if not remote and not os.path.isfile(self.address):  # noqa: PTH113 -- the path may not be UTF-8
            raise DataError(f"{self.address}: not a file")
        try:
            with (
                storage.open(name) if remote else open(self.address, "rb") as stream,  # noqa: PTH123
                tarfile.open(fileobj=stream, mode="r|" if remote else "r:", errors="surrogateescape") as archive,
            ):
                for member in archive:
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError("ends in the middle of a member")
                    yield from self._usable(archive, member)
        except (tarfile.TarError, EOFError) as error:
            raise DataError(
                f"{self.address}: not a whole, uncompressed tar file ({error}); unpack or fetch it again"
            ) from error
        if size < _END or storage.read(name, size - _END, _END) != bytes(_END):
            self.warnings.append(f"{self.address}: has no end marker; it may have been cut at a member's end")

    def _usable(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[tuple[str, str, _Field]]:
        shown = text_of(member.name)
        if member.name.startswith("/") or ".." in member.name.split("/"):
            self.problems.append(f"{self.address}: the name {shown!r} leads out of any folder")
        elif member.isdir() or _META.match(posixpath.basename(member.name)):
            return
        elif not member.isreg() or member.issparse():
            self._skip("link or other special member", shown)
        elif (match := _NAME.fullmatch(member.name)) is None:
            self._skip("hidden name, or no extension", shown)
        elif match[2].lower().endswith("tar"):
            self._skip("tar inside the tar", shown)
        else:
            field = match[2].lower()
            data = None
            if field in self._read_fields and member.size <= _MAX_LABEL_BYTES:
                file = archive.extractfile(member)
                assert file is not None
                data = file.read()
            yield match[1], field, _Field(member.offset_data, member.size, data)

    def _skip(self, reason: str, name: str) -> None:
        self.skipped[reason] += 1
        if self.skipped[reason] == 1:
            self.warnings.append(f"{self.address}: {name!r} is passed over ({reason})")


def find_tars(arguments: Sequence[str]) -> list[tuple[str | None, str]]:
    """(split, path) of each tar; arguments are ``[SPLIT=]PATH``, a path may be an address or a glob pattern.

    Raises:
        DataError: a pattern that matches nothing, or a tar that is named twice.
    """
    found: list[tuple[str | None, str]] = []
    for argument in arguments:
        split, separator, rest = argument.partition("=")
        named = bool(separator) and _SPLIT_NAME.fullmatch(split) is not None and not is_there(argument)
        pattern = rest if named else argument
        is_whole = is_remote(pattern) or is_there(pattern)  # even where it has brackets in its name
        paths = [pattern] if is_whole else sorted(glob.glob(pattern), key=os.fsencode)  # noqa: PTH207 -- absolute ones
        if not paths:
            raise DataError(f"{argument}: no such file, and no file matches it as a pattern")
        found += [(split if named else None, path) for path in paths]
    names = Counter(path for _, path in found)
    if twice := [path for path, count in names.items() if count > 1]:
        raise DataError(f"{twice[0]}: named twice; leave one out")
    return found


def _below_common_folder(paths: Sequence[str]) -> list[str]:
    """Names of the tars for ids: without extension, from the folder that all share."""
    folders = [posixpath.dirname(path).split("/") for path in paths]
    shared = len(posixpath.commonprefix(folders))
    return ["/".join(path.split("/")[shared:]).removesuffix(".tar") for path in paths]


def _labels(group: _Group, label_field: str | None, where: str) -> tuple[str, ...] | None:
    """Labels as texts; None where the sample has none."""
    for name in (label_field,) if label_field else _USUAL_LABELS:
        field, _, path = (name, "", "") if name in group.fields else name.partition(".")
        found = group.fields.get(field)
        if found is None:
            continue
        if found.data is None:
            raise DataError(f"{where}: the field {field!r} is too large for a label")
        try:
            value: object = found.data.decode().strip() if not path and field != "json" else json.loads(found.data)
        except ValueError as error:
            raise DataError(f"{where}: the field {field!r} is neither text nor JSON ({error})") from error
        for step in path.split(".") if path else ():
            value = value.get(step) if isinstance(value, dict) else None
        if value is None or value == "":
            continue
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, bool) or not isinstance(one, int | str) for one in values):
            raise DataError(f"{where}: the label {value!r} is neither a whole number nor a name")
        return tuple(str(one) for one in values)
    return None


def _video_field(group: _Group, wanted: str | None, where: str) -> str | None:
    if wanted is not None:
        return wanted if wanted in group.fields else None
    videos = [name for name in group.fields if name.rpartition(".")[2] in VIDEO_EXTENSIONS]
    if len(videos) > 1:
        raise ConfigError(f"{where}: has several videos ({', '.join(videos)}); give --video-field, such as {videos[0]}")
    return videos[0] if videos else None


def read_foreign_tars(
    arguments: Sequence[str],
    *,
    label_field: str | None = None,
    video_field: str | None = None,
    split: float | None = None,
    seed: int = 0,
    group_regex: str | None = None,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    first_label: int = 0,
    multi_label: bool = False,
) -> SourceList:
    """List the videos in foreign WebDataset tars; their bytes are read when they are packed.

    Args:
        arguments: ``[SPLIT=]PATH``, see ``find_tars``; without a split all is ``train``.
        label_field: ``cls`` or another text member, or a JSON member and keys in it: ``json.action.id``. None takes
            ``cls``, else ``json.label``.
        video_field: the member that is the video, where a sample has several.
        split: share of train, where the arguments say no split.
        seed: decides the split.
        group_regex: clips of one source stay together; see ``assign_groups``.
        classes: class names in the order of their indices.
        num_classes: how many there are, where labels are numbers.
        first_label: the number of the first class, 0 or 1.
        multi_label: any number of labels per sample.

    Raises:
        DataError: no such tars, a damaged one, names that lead out of a folder, samples whose members lie apart or
            repeat, no label or several, labels that do not fit; all that is found at once.
        ConfigError: options that contradict each other or are needed.
    """
    tars = find_tars(arguments)
    named = [given for given, _ in tars if given is not None]
    if split is not None:
        check_ratio(split)
        if named:
            raise ConfigError(f"split {named[0]!r} is given with the tars; leave --split out")
    label_fields = (label_field,) if label_field else _USUAL_LABELS
    rows: list[Row] = []
    items: list[SourceItem] = []
    skipped: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    problems: list[str] = []
    warnings: list[str] = []
    names = _below_common_folder([path for _, path in tars])
    for (given, path), name in zip(tars, names, strict=True):
        tar = _Tar(path, label_fields)
        for group in tar.groups():
            where = f"{text_of(path)}: sample {text_of(group.key)!r}"
            video = _video_field(group, video_field, where)
            if video is None:
                skipped["sample without a video"] += 1
                continue
            labels = _labels(group, label_field, where)
            if labels is None and not multi_label:
                problems.append(f"{where}: no label in {' or '.join(label_fields)}")
            if labels is not None and len(labels) != 1 and not multi_label:
                problems.append(f"{where}: {len(labels)} labels; give --multi-label if that is meant")
            dropped.update(field for field in group.fields if field != video and field not in label_fields)
            found = group.fields[video]
            sample_id = text_of(f"{name}/{posixpath.normpath(group.key)}.{video}")
            items.append(SourceItem(path, sample_id, given or "train", (), span=(found.offset, found.size)))
            rows.append(Row(where, sample_id, labels or ()))
        skipped += tar.skipped
        problems += tar.problems
        warnings += tar.warnings
    raise_all(problems, "things in the tars do not fit:")
    if not items:
        raise DataError(f"{len(tars)} tars hold no video: {dict(skipped) or 'they are empty'}")
    indices, class_names, more = resolve_labels(rows, classes=classes, num_classes=num_classes, first_label=first_label)
    items = [replace(item, labels=found) for item, found in zip(items, indices, strict=True)]
    warnings += more
    if dropped:
        listed = ", ".join(f"{field} ({count})" for field, count in sorted(dropped.items()))
        warnings.append(f"these fields are not kept: {listed}")
    if group_regex is not None:
        items, unmatched = assign_groups(items, group_regex)
        warnings += unmatched
    if split is not None:
        items = split_by_ratio(items, ratio=split, seed=seed)
    check_groups(items)
    options: dict[str, object] = {
        "source": "webdataset tars",
        "label_field": label_field,
        "video_field": video_field,
        "first_label": first_label,
        "split": split,
        "group_regex": group_regex,
    }
    if split is not None:
        options["split_seed"] = seed
    folder = posixpath.dirname(tars[0][1])
    title = posixpath.basename(folder if is_remote(folder) else str(Path(folder).resolve())) or "tars"
    return SourceList(title, tuple(items), class_names, multi_label, skipped, tuple(warnings), options)
