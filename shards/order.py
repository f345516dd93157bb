"""Keys and order of the samples, fixed by the list of sources alone, and what tells two lists apart."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence

from vidflow.shards.files import FileState
from vidflow.shards.prepare import Task
from vidflow.shards.sources.items import SourceItem, split_rank
from vidflow.shards.sources.splitting import shuffle_key

_MIN_DIGITS = 6


def order_tasks(items: Sequence[SourceItem], *, seed: int, shuffle: bool) -> list[Task]:
    """Tasks split after split, shuffled within each, with zero-padded ordinals as keys."""
    if shuffle:
        ordered = sorted(items, key=lambda item: (split_rank(item.split), shuffle_key(seed, item.id), item.id))
    else:
        ordered = sorted(items, key=lambda item: split_rank(item.split))
    digits = max(_MIN_DIGITS, len(str(len(ordered) - 1)))
    return [Task(ordinal, f"{ordinal:0{digits}d}", item) for ordinal, item in enumerate(ordered)]


def file_states(tasks: Sequence[Task]) -> list[FileState | None]:
    """Size and date of each source; None where there is no file to ask."""
    return [_state(task.item.path) for task in tasks]


def _state(path: str) -> FileState | None:
    try:
        return FileState.of(os.stat(path))  # noqa: PTH116 -- called for each of perhaps a million paths
    except OSError:
        return None


def source_lines(tasks: Sequence[Task], states: Sequence[FileState | None]) -> Iterator[str]:
    """One line per source with all that a resumed run must find unchanged."""
    for task, state in zip(tasks, states, strict=True):
        item = task.item
        values: dict[str, object] = {"id": item.id, "split": item.split, "labels": item.labels, "group": item.group}
        values |= {"size": state.size, "mtime_ns": state.mtime_ns} if state else {"size": None, "mtime_ns": None}
        yield json.dumps(values)


def sources_hash(tasks: Sequence[Task], states: Sequence[FileState | None]) -> str:
    """SHA-256 over ids, splits, labels, groups and sizes in packing order. Dates are left out: a copy is alike."""
    digest = hashlib.sha256()
    for task, state in zip(tasks, states, strict=True):
        item = task.item
        digest.update(
            json.dumps([item.id, item.split, item.labels, item.group, state.size if state else None]).encode() + b"\n"
        )
    return digest.hexdigest()
