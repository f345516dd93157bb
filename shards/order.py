"""Keys and order of the samples, fixed by the list of sources alone, and what tells two lists apart."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, is_dataclass, replace

import numpy as np

from vidflow.shards.files import FileState
from vidflow.shards.prepare import Task
from vidflow.shards.sources.items import SourceItem, split_rank
from vidflow.shards.sources.splitting import check_split_names, shuffle_key
from vidflow.storage import is_remote, locate
from vidflow.storage.remote import MissingError, RemoteStorage

_MIN_DIGITS = 6
_REQUESTS = 32  # to servers, at once


def ordinal_key(ordinal: int, count: int) -> str:
    """The key of a sample by its place among ``count``: zero-padded, at least six digits.

    >>> ordinal_key(7, 100)
    '000007'
    """
    return f"{ordinal:0{max(_MIN_DIGITS, len(str(count - 1)))}d}"


def order_tasks(items: Sequence[SourceItem], *, seed: int, shuffle: bool) -> list[Task]:
    """Tasks split after split, shuffled within each, with zero-padded ordinals as keys.

    Raises:
        DataError: the names of two splits differ in case alone.
    """
    check_split_names((item.split, item.id) for item in items)
    if shuffle:
        ordered = sorted(items, key=lambda item: (split_rank(item.split), shuffle_key(seed, item.id), item.id))
    else:
        ordered = sorted(items, key=lambda item: split_rank(item.split))
    return [Task(ordinal, ordinal_key(ordinal, len(ordered)), item) for ordinal, item in enumerate(ordered)]


def file_states(tasks: Sequence[Task]) -> list[FileState | None]:
    """Size and date (or version) of each source; None where there is no file.

    Raises:
        StorageError: a server does not answer for a reason that is not the file's.
    """
    asked = {task.item.path for task in tasks if task.item.state is None and is_remote(task.item.path)}
    with ThreadPoolExecutor(_REQUESTS) as threads:
        found = dict(zip(asked, threads.map(_remote_state, asked), strict=True))
    return [
        task.item.state or (found[task.item.path] if task.item.path in found else _state(task.item.path))
        for task in tasks
    ]


def _remote_state(address: str) -> FileState | None:
    storage, name = locate(address)
    assert isinstance(storage, RemoteStorage)
    try:
        return FileState(storage.size(name), 0, 0, storage.info(name).version)
    except MissingError:
        return None


def _state(path: str) -> FileState | None:
    try:
        status = os.stat(path)  # noqa: PTH116 -- called for each of perhaps a million paths
        state = FileState.of(status)
        # A folder's size says how the file system stores it, not what is in it.
        return replace(state, size=_num_entries(path)) if stat.S_ISDIR(status.st_mode) else state
    except OSError:
        return None


def _num_entries(folder: str) -> int:
    with os.scandir(folder) as entries:
        return sum(not entry.name.startswith(".") for entry in entries)


def source_lines(tasks: Sequence[Task], states: Sequence[FileState | None]) -> Iterator[str]:
    """One line per source with all that a resumed run must find unchanged."""
    for task, state in zip(tasks, states, strict=True):
        item = task.item
        values: dict[str, object] = {"id": item.id, "split": item.split, "labels": item.labels, "group": item.group}
        values |= {"size": state.size, "mtime_ns": state.mtime_ns} if state else {"size": None, "mtime_ns": None}
        if state and state.version:
            values["version"] = state.version
        values |= _annotations(item)
        if reading := _reading(item.reader):
            values["reading"] = reading
        if item.span is not None:
            values["span"] = item.span
        if item.window is not None:
            values["window"] = asdict(item.window)
        if item.companion is not None:
            skeletons = _state(item.companion.path)
            values["skeletons"] = [skeletons.size, skeletons.mtime_ns] if skeletons else None
        yield json.dumps(values)


def _annotations(item: SourceItem) -> dict[str, object]:
    """What a source says beside labels, as plain values; nothing where it says nothing."""
    if item.annotations is None:
        return {}
    found = item.annotations
    return {
        "segments": [segment.model_dump() for segment in found.segments],
        "boxes": [box.model_dump() for box in found.boxes],
        "captions": found.captions,
        **({"moments": [moment.model_dump() for moment in found.moments]} if found.moments else {}),
        **({"questions": [question.model_dump() for question in found.questions]} if found.questions else {}),
    }


def _reading(reader: object) -> dict[str, object]:
    """What a source says of how a sample is read, such as its frames in a folder; nothing where that is the usual."""
    if not is_dataclass(reader):
        return {}
    found: dict[str, object] = {}
    for field in fields(reader):
        value = getattr(reader, field.name)
        if isinstance(value, np.ndarray):
            found[field.name] = [value.dtype.str, value.shape, _checksum(value)]
        elif is_dataclass(value):  # a policy, or another reader
            found |= {f"{field.name}.{name}": inner for name, inner in _reading(value).items()}
        elif _is_plain(value) and value != field.default:
            found[field.name] = value
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _checksum(array: np.ndarray) -> str:
    # Objects are refused when they are read, and their bytes are addresses in memory.
    return hashlib.blake2b(b"" if array.dtype.hasobject else array.tobytes(), digest_size=16).hexdigest()


def _ways(item: SourceItem) -> list[object]:
    """How a sample is read and which stretch of a video it is; nothing for a whole video."""
    reading = _reading(item.reader)
    return [*([reading] if reading else []), *([] if item.window is None else [asdict(item.window)])]


def listing_hash(tasks: Sequence[Task]) -> str:
    """SHA-256 over all that a source lists, in packing order, without a look at the files."""
    digest = hashlib.sha256()
    for task in tasks:
        item = task.item
        values: list[object] = [item.id, item.split, item.labels, item.group, item.span]
        values += [*_annotations(item).values(), *_ways(item)]
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()


def sources_hash(tasks: Sequence[Task], states: Sequence[FileState | None]) -> str:
    """SHA-256 over ids, splits, labels, groups, annotations, sizes and ways of reading in packing order.

    Dates are left out: a copy is alike.
    """
    digest = hashlib.sha256()
    for task, state in zip(tasks, states, strict=True):
        item = task.item
        values: list[object] = [item.id, item.split, item.labels, item.group, state.size if state else None]
        if item.companion is not None:
            skeletons = _state(item.companion.path)
            values.append(skeletons.size if skeletons else None)
        values += [*_annotations(item).values(), *_ways(item)]
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()
