"""The output folder as a whole: what it holds already, clearing it, and publishing manifest and dataset.json."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from vidflow import manifest
from vidflow.dataset import FILE_NAME, REJECTED_NAME, DatasetInfo, ShardInfo, SplitInfo
from vidflow.errors import DataError
from vidflow.schema import SCHEMA_VERSION
from vidflow.shards.files import naming_the_path, publish, sync_folder, write_whole
from vidflow.shards.journal import Journal, Rejected, differences
from vidflow.shards.target import CLAIM_NAME, Target

_SHARD_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)-\d{6,}\.tar")
# In this order: a data set without its dataset.json counts as none.
_FILES = (FILE_NAME, manifest.FILE_NAME, REJECTED_NAME)
_MAX_LISTED = 5


def shard_name(split: str, number: int) -> str:
    """File name of a shard, numbered from 0 in each split."""
    return f"{split}-{number:06d}.tar"


def _shards(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if _SHARD_NAME.fullmatch(name))


def complete_dataset(target: Target, expected: dict[str, Any]) -> DatasetInfo | None:
    """The finished data set that is there, or None where there is none.

    Args:
        expected: the header that packing would write, see ``header_of``.

    Raises:
        DataError: it was packed otherwise, or is damaged.
    """
    sizes = target.sizes()
    if FILE_NAME not in sizes:
        return None
    path, out = f"{target.root}/{FILE_NAME}", target.root
    other = DataError(
        f"{path}: not the dataset.json of this version; give --overwrite to replace the data set, or another --out"
    )
    try:
        info = DatasetInfo.model_validate_json(target.read(FILE_NAME))
    except ValidationError as error:
        raise other from error
    if info.schema_version != SCHEMA_VERSION:
        raise other
    found = differences(header_of(info), json.loads(json.dumps(expected)))
    if found:
        raise DataError(
            f"{out}: holds a data set that was packed otherwise: {'; '.join(found)}; "
            "give --overwrite to replace it, or another --out"
        )
    for shard in info.shards:
        if sizes.get(shard.name) != shard.size:
            raise DataError(
                f"{out}/{shard.name}: missing or cut, {path} lists it with {shard.size} bytes; "
                "give --overwrite to pack again"
            )
    missing = [name for name in _FILES if name not in sizes]
    if missing:
        raise DataError(f"{out}: {', '.join(missing)} is missing; give --overwrite to pack again")
    return info


def read_rejected(target: Target) -> tuple[Rejected, ...]:
    """The samples that a finished data set has left out."""
    return tuple(Rejected.model_validate_json(line) for line in target.read(REJECTED_NAME).splitlines())


def header_of(info: DatasetInfo) -> dict[str, Any]:
    """What decides a data set's content: options, classes and names."""
    values = info.model_dump(mode="json", include={"name", "task", "multi_label", "classes"})
    return values | dict(info.options)


def refuse_strange_files(target: Target, known: Mapping[str, int] = MappingProxyType({})) -> None:
    """Refuse a folder with files of our names that no journal and no dataset.json explains.

    Args:
        known: names and bytes of shards that may be there already, to be checked by the caller.
    """
    sizes = target.sizes()
    _refuse_strange_shards(target, [name for name in _shards(sizes) if known.get(name) != sizes[name]])
    if found := [name for name in _FILES if name in sizes]:
        raise DataError(
            f"{target.root}: holds {', '.join(found)} of unknown origin; give --overwrite to replace them, or another "
            "--out"
        )


def _refuse_strange_shards(target: Target, names: list[str]) -> None:
    if names:
        raise DataError(
            f"{target.root}: holds {', '.join(names[:_MAX_LISTED])} of unknown origin; move them elsewhere, or give "
            "another --out"
        )


def _own_shards(journal: Journal) -> set[str]:
    """Shards that a data set's dataset.json lists, or that are known to be of a run."""
    sizes = journal.target.sizes()
    if journal.started or CLAIM_NAME in sizes:
        return set(_shards(sizes))  # there were no others when the run started
    names = set(journal.clearing)
    if FILE_NAME in sizes:
        # Of any version, and also of a data set that is not whole.
        with suppress(ValueError, TypeError, KeyError):
            names |= {str(shard["name"]) for shard in json.loads(journal.target.read(FILE_NAME))["shards"]}
    return names & set(_shards(sizes))


def clear(journal: Journal) -> None:
    """Remove a data set, finished or not; files that packing has not written stay.

    Raises:
        DataError: there are files with names of shards that it has not written; nothing is removed.
    """
    sizes = journal.target.sizes()
    own = _own_shards(journal)
    _refuse_strange_shards(journal.target, [name for name in _shards(sizes) if name not in own])
    if not journal.started:  # a run's own journal tells already, and its disk may be full
        journal.note_clearing(own)
    for name in (*_FILES, *sorted(own)):
        if name in sizes:
            journal.target.remove(name)
    if journal.target.is_remote:
        journal.target.remove(CLAIM_NAME)  # whoever's it is
        for name in _shards(path.name for path in journal.out.iterdir()):
            (journal.out / name).unlink()  # made here, and not sent
    shutil.rmtree(journal.folder, ignore_errors=True)


def finish(journal: Journal, shards: list[str], rejected: Iterable[Rejected], header: dict[str, Any]) -> DatasetInfo:
    """Write manifest, rejected.jsonl and, last, dataset.json; then the journal goes.

    Args:
        shards: names of the published shards, in packing order.
        rejected: all of them, in packing order.
        header: name, classes and the like, and ``options``.
    """
    out, target = journal.out, journal.target
    infos, splits = _write_manifest(journal, shards)
    target.put(out / manifest.FILE_NAME)
    lines = [entry.model_dump_json() + "\n" for entry in rejected]
    write_whole(out / REJECTED_NAME, "".join(lines).encode(), part=journal.part(REJECTED_NAME))
    target.put(out / REJECTED_NAME)
    return finish_with(journal, DatasetInfo(splits=splits, shards=tuple(infos), num_rejected=len(lines), **header))


def finish_with(journal: Journal, info: DatasetInfo) -> DatasetInfo:
    """Publish dataset.json beside all that it lists; then the journal goes."""
    out, target, shards = journal.out, journal.target, [shard.name for shard in info.shards]
    for name in set(_shards(target.sizes())) - set(shards):
        target.remove(name)  # published by a run that was killed before it could note it, and not needed now
    target.confirm_claim()
    write_whole(out / FILE_NAME, (info.model_dump_json(indent=2) + "\n").encode(), part=journal.part(FILE_NAME))
    target.put(out / FILE_NAME)
    journal.release()
    journal.remove()
    sync_folder(out)
    return info


def _write_manifest(journal: Journal, shards: list[str]) -> tuple[list[ShardInfo], dict[str, SplitInfo]]:
    """One row group per shard, so that memory holds one shard's rows at a time."""
    infos: list[ShardInfo] = []
    sums: dict[str, dict[str, Any]] = {}
    part = journal.part(manifest.FILE_NAME)
    with naming_the_path(part):
        with pq.ParquetWriter(part, manifest.SCHEMA, compression="zstd") as writer:
            for entry in journal.entries(shards):
                writer.write_table(manifest.to_table(entry.rows))
                infos.append(entry.shard)
                total = sums.setdefault(
                    entry.shard.split, {"num_samples": 0, "num_frames": 0, "duration": 0.0, "size": 0}
                )
                total["num_samples"] += len(entry.rows)
                total["num_frames"] += sum(row["num_frames"] or 0 for row in entry.rows)
                total["duration"] += sum(row["duration"] or 0 for row in entry.rows)
                total["size"] += entry.shard.size
        with part.open("rb") as file:
            os.fsync(file.fileno())
    publish(part, journal.out / manifest.FILE_NAME)
    return infos, {split: SplitInfo(**values) for split, values in sums.items()}
