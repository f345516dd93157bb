"""The output folder as a whole: what it holds already, clearing it, and publishing manifest and dataset.json."""

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from vidflow import manifest
from vidflow.dataset import FILE_NAME, REJECTED_NAME, DatasetInfo, ShardInfo, SplitInfo
from vidflow.errors import DataError
from vidflow.shards.files import naming_the_path, publish, sync_folder, write_whole
from vidflow.shards.journal import FOLDER_NAME, Journal, Rejected, differences

_SHARD_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)-\d{6,}\.tar")
# In this order: a data set without its dataset.json counts as none.
_FILES = (FILE_NAME, manifest.FILE_NAME, REJECTED_NAME)


def shard_name(split: str, number: int) -> str:
    """File name of a shard, numbered from 0 in each split."""
    return f"{split}-{number:06d}.tar"


def _shards(out: Path) -> list[Path]:
    return sorted(path for path in out.iterdir() if _SHARD_NAME.fullmatch(path.name))


def complete_dataset(out: Path, expected: dict[str, Any]) -> DatasetInfo | None:
    """The finished data set in the folder, or None where there is none.

    Args:
        expected: the header that packing would write, see ``header_of``.

    Raises:
        DataError: it was packed otherwise, or is damaged.
    """
    path = out / FILE_NAME
    if not path.exists():
        return None
    try:
        info = DatasetInfo.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(
            f"{path}: not the dataset.json of this version; give --overwrite to replace the data set, or another --out"
        ) from error
    found = differences(header_of(info), json.loads(json.dumps(expected)))
    if found:
        raise DataError(
            f"{out}: holds a data set that was packed otherwise: {'; '.join(found)}; "
            "give --overwrite to replace it, or another --out"
        )
    for shard in info.shards:
        file = out / shard.name
        if not file.is_file() or file.stat().st_size != shard.size:
            raise DataError(
                f"{file}: missing or cut, {path} lists it with {shard.size} bytes; give --overwrite to pack again"
            )
    missing = [name for name in _FILES if not (out / name).is_file()]
    if missing:
        raise DataError(f"{out}: {', '.join(missing)} is missing; give --overwrite to pack again")
    return info


def read_rejected(out: Path) -> tuple[Rejected, ...]:
    """The samples that a finished data set has left out."""
    return tuple(Rejected.model_validate_json(line) for line in (out / REJECTED_NAME).read_bytes().splitlines())


def header_of(info: DatasetInfo) -> dict[str, Any]:
    """What decides a data set's content: options, classes and names."""
    values = info.model_dump(mode="json", include={"name", "task", "multi_label", "classes"})
    return values | dict(info.options)


def refuse_strange_files(out: Path) -> None:
    """Refuse a folder with files of our names that no journal and no dataset.json explains."""
    found = [name for name in _FILES if (out / name).exists()] + [path.name for path in _shards(out)]
    if found:
        raise DataError(
            f"{out}: holds {', '.join(found[:5])} of unknown origin; give --overwrite to replace them, or another --out"
        )


def clear(out: Path) -> None:
    """Remove a data set, finished or not; files that packing does not write stay."""
    for name in _FILES:
        (out / name).unlink(missing_ok=True)
    for path in _shards(out):
        path.unlink()
    shutil.rmtree(out / FOLDER_NAME, ignore_errors=True)


def finish(journal: Journal, shards: list[str], rejected: Iterable[Rejected], header: dict[str, Any]) -> DatasetInfo:
    """Write manifest, rejected.jsonl and, last, dataset.json; then the journal goes.

    Args:
        shards: names of the published shards, in packing order.
        rejected: all of them, in packing order.
        header: name, classes and the like, and ``options``.
    """
    out = journal.out
    infos, splits = _write_manifest(journal, shards)
    lines = [entry.model_dump_json() + "\n" for entry in rejected]
    write_whole(out / REJECTED_NAME, "".join(lines).encode(), part=journal.part(REJECTED_NAME))
    info = DatasetInfo(splits=splits, shards=tuple(infos), num_rejected=len(lines), **header)
    for path in _shards(out):
        if path.name not in shards:  # published by a run that was killed before it could note it, and not needed now
            path.unlink()
    write_whole(out / FILE_NAME, (info.model_dump_json(indent=2) + "\n").encode(), part=journal.part(FILE_NAME))
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
                total["num_frames"] += sum(row["num_frames"] for row in entry.rows)
                total["duration"] += sum(row["duration"] for row in entry.rows)
                total["size"] += entry.shard.size
        with part.open("rb") as file:
            os.fsync(file.fileno())
    publish(part, journal.out / manifest.FILE_NAME)
    return infos, {split: SplitInfo(**values) for split, values in sums.items()}
