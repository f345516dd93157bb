"""A packed data set made from another one: chosen samples, in another order, with other labels or splits.

Media are copied as they lie in the shards and never decoded; records are written anew. Runs are atomic, resumable and
deterministic like those of packing, by the same code, and hold one shard's rows at a time beside the source's manifest.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidflow import manifest
from vidflow.dataset import FILE_NAME, PackedDataset
from vidflow.errors import ConfigError, DataError, StorageError
from vidflow.schema import Location, SampleRecord
from vidflow.shards.contents import sample_length
from vidflow.shards.order import ordinal_key
from vidflow.shards.packed_samples import media_members, rows_at
from vidflow.shards.run import Outcome, run_into
from vidflow.shards.sequence import ShardSequence
from vidflow.shards.sources.items import split_rank
from vidflow.shards.sources.splitting import shuffle_key
from vidflow.shards.target import same_place
from vidflow.shards.writer import SourceChangedError
from vidflow.storage import is_remote
from vidflow.version import __version__

# Belong to how the source was written, not to what is in it.
_NOT_INHERITED = ("vidflow", "max_bytes", "max_count", "sources_sha256")
# What an edit can change, and what its resumption must find as it was.
_EDITABLE = {"id", "split", "labels", "group", "segments", "boxes", "questions"}
_USUAL_MAX_BYTES, _USUAL_MAX_COUNT = 256 << 20, 1000


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What becomes of a data set."""

    command: dict[str, object]
    """What was asked for; it joins the list ``edits`` in dataset.json's options."""
    positions: np.ndarray
    """int64 [n], positions in the source's manifest in the order of the new one: split after split."""
    classes: tuple[str, ...]
    change: Callable[[int, SampleRecord], dict[str, Any]] = field(default=lambda position, record: {})
    """Position and record -> fields of the record that become others (not ``key``)."""
    max_bytes: int | None = None
    """Bytes per shard; None keeps the source's."""
    max_count: int | None = None
    """Samples per shard; None keeps the source's."""


def limits(dataset: PackedDataset, max_bytes: int | None, max_count: int | None) -> tuple[int, int]:
    """Bytes and samples per shard: those given, else the source's.

    Raises:
        ConfigError: one is not positive.
    """
    options = dataset.info.options
    given = {"max_bytes": max_bytes, "max_count": max_count}
    usual = {"max_bytes": _USUAL_MAX_BYTES, "max_count": _USUAL_MAX_COUNT}
    for name, value in given.items():
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    chosen = [value if value is not None else options.get(name, usual[name]) for name, value in given.items()]
    return int(str(chosen[0])), int(str(chosen[1]))


def in_order(
    dataset: PackedDataset, positions: np.ndarray, splits: Sequence[str], *, seed: int | None = None
) -> np.ndarray:
    """Positions, int64 [n], split after split; mixed within a split by a seed, or as they were.

    Args:
        splits: split of each sample, [n].
    """
    if seed is None:
        order = sorted(range(len(positions)), key=lambda i: (split_rank(splits[i]), positions[i]))
    else:
        ids = dataset.column("id")[positions].tolist()
        order = sorted(range(len(positions)), key=lambda i: (split_rank(splits[i]), shuffle_key(seed, ids[i]), ids[i]))
    return positions[np.asarray(order, np.int64)]


def refuse_same_place(dataset: PackedDataset, out: str | os.PathLike[str]) -> None:
    """Refuse to write a data set over the one that is read."""
    if same_place(dataset.storage.root, out):
        raise ConfigError(f"{os.fspath(out)}: is the data set that is read; give another folder")


def edited_options(dataset: PackedDataset, command: dict[str, object]) -> dict[str, object]:
    """The source's options as the new data set inherits them, with one more edit noted."""
    options = {name: value for name, value in dataset.info.options.items() if name not in _NOT_INHERITED}
    source = hashlib.sha256(dataset.storage.read(FILE_NAME)).hexdigest()
    earlier = options.get("edits", [])
    assert isinstance(earlier, list)
    return options | {"edits": [*earlier, {**command, "dataset_sha256": source}]}


def edit(
    dataset: PackedDataset,
    out: str | os.PathLike[str],
    edit: Edit,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Write an edited data set; go on where an interrupted run of the same edit stopped.

    Args:
        out: a folder, or ``s3://bucket/prefix``.
        overwrite: replace what is there.
        on_progress: called with the number of samples that are written.

    Raises:
        DataError: nothing is left, ``out`` holds something else, or a source shard is not what the manifest says.
        StorageError: no room, or something cannot be read or written.
    """
    refuse_same_place(dataset, out)
    if not len(edit.positions):
        raise DataError(f"{dataset.storage.root}: no sample is left")
    max_bytes, max_count = limits(dataset, edit.max_bytes, edit.max_count)
    count = len(edit.positions)

    def records(start: int) -> Iterator[tuple[SampleRecord, SampleRecord, Location]]:
        """Old and new records with the old locations, from an ordinal on."""
        positions = edit.positions[start:]
        for ordinal, (position, (record, location)) in enumerate(
            zip(positions.tolist(), rows_at(dataset, positions), strict=True), start
        ):
            update = {"key": ordinal_key(ordinal, count), **edit.change(position, record)}
            yield record, record.model_copy(update=update), location

    def lines() -> Iterator[str]:
        for _, record, place in records(0):
            values = record.model_dump(mode="json", include=_EDITABLE)
            yield json.dumps(values | {"shard": place.shard, "offset": place.offset, "length": place.length})

    def write(sequence: ShardSequence) -> None:
        start = sequence.next_ordinal
        if not is_remote(out):
            _check_room(Path(out), int(dataset.column("length")[edit.positions[start:]].sum()))
        on_progress(start)
        for ordinal, (old, record, place) in enumerate(records(start), start):
            members = media_members(dataset.storage, old, place)
            record_json = record.model_dump_json().encode()
            length = sample_length(record.key, members, record_json)
            writer = sequence.writer_for(record.split, length, ordinal)
            try:
                location = writer.add(record, record_json, members)
            except SourceChangedError as error:
                raise StorageError(f"{dataset.storage.address(place.shard)}: {error}; run the command again") from error
            sequence.add_row(manifest.to_row(record, location))
            on_progress(ordinal + 1)
        sequence.close(count)

    digest = hashlib.sha256()
    for line in lines():
        digest.update(line.encode() + b"\n")
    header = {
        "name": dataset.info.name,
        "task": dataset.info.task,
        "multi_label": dataset.info.multi_label,
        "classes": edit.classes,
        "options": {
            "vidflow": __version__,
            **edited_options(dataset, edit.command),
            "max_bytes": max_bytes,
            "max_count": max_count,
            "sources_sha256": digest.hexdigest(),
        },
    }
    return run_into(
        out if isinstance(out, str) else Path(out),
        header,
        lines,
        write,
        max_bytes=max_bytes,
        max_count=max_count,
        overwrite=overwrite,
    )


def _check_room(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StorageError(f"{out}: needs about {needed:,} bytes, {free:,} are free; make room or give another folder")
