"""Joining the parts of a packing run into one data set.

Shards are linked where that is possible, which costs neither time nor room, and else copied and checked; the parts stay
as they are. Merging twice, or going on after an interruption, gives the same files, in whatever order the parts come.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq

from vidflow import manifest
from vidflow.dataset import FILE_NAME, REJECTED_NAME, DatasetInfo, ShardInfo, SplitInfo
from vidflow.errors import DataError, StorageError
from vidflow.shards.files import naming_the_path, publish, write_whole
from vidflow.shards.journal import Journal, differences
from vidflow.shards.output import complete_dataset, finish_with, header_of, refuse_strange_files
from vidflow.shards.parts import FOLDER, Part

# Of a part alone; all else must be the same in all of them.
_OWN = ("part", "sources_sha256")
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES})
_MAX_LISTED = 10


@dataclass(frozen=True)
class _PackedPart:
    folder: Path
    part: Part
    info: DatasetInfo
    sha256: str
    """Of its dataset.json."""


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """How it ended."""

    info: DatasetInfo
    already_complete: bool
    num_parts: int
    num_linked: int
    """Shards that share their bytes with the parts; the others were copied or were there."""


def find_parts(folders: Sequence[Path]) -> list[Path]:
    """The folders of the parts: those given, and in the place of a folder that holds parts the parts in it.

    Raises:
        DataError: a folder neither is a part nor holds some.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if FOLDER.fullmatch(folder.resolve().name):
            inside = [folder]
        elif folder.is_dir():
            inside = [path for path in folder.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir()]
        else:
            raise DataError(f"{folder}: no such folder")
        if not inside:
            what = "is a whole data set and holds no parts" if (folder / FILE_NAME).exists() else "holds no parts"
            raise DataError(f"{folder}: {what}; pack them first: vidflow shard ... --part 1/N --out {folder}")
        found |= {path.resolve(): path for path in sorted(inside)}
    return list(found.values())


def merge(
    folders: Sequence[Path],
    out: Path,
    *,
    on_progress: Callable[[int], None] = lambda done: None,
) -> MergeReport:
    """Join all parts of a run into ``out``.

    Args:
        folders: of the parts, or such that hold them; any order, repeats count once.
        out: may be the folder that the parts lie in.
        on_progress: called with the number of shards that are in place.

    Raises:
        DataError: a part is missing, unfinished, there twice, or was packed otherwise than the others; or ``out`` holds
            something else.
        StorageError: something cannot be read or written.
    """
    parts = _checked([_read(folder) for folder in find_parts(folders)])
    first = parts[0].info
    options = {name: value for name, value in first.options.items() if name not in _OWN}
    digest = hashlib.sha256("".join(str(part.info.options["sources_sha256"]) for part in parts).encode())
    header = {
        "name": first.name,
        "task": first.task,
        "multi_label": first.multi_label,
        "classes": first.classes,
        "options": options | {"parts": len(parts), "sources_sha256": digest.hexdigest()},
    }
    flat = {name: value for name, value in header.items() if name != "options"} | header["options"]  # type: ignore[operator]
    lines = [f"{part.part} {part.sha256}" for part in parts]

    existed = out.exists()
    if existed and not out.is_dir():
        raise StorageError(f"{out}: not a folder; give another --out")
    journal = Journal(out)
    journal.lock()
    try:
        info = complete_dataset(journal.target, flat)
        if info is not None:
            journal.remove()
            return MergeReport(info=info, already_complete=True, num_parts=len(parts), num_linked=0)
        if journal.resume(flat, lines) is not None:
            raise DataError(f"{out}: holds an unfinished run of packing; finish it, or give another --out")
        if not journal.started:
            refuse_strange_files(journal.target)
        journal.start(flat, lines)
        num_linked, done = 0, 0
        for part in parts:
            for shard in part.info.shards:
                num_linked += _place(part.folder / shard.name, out / shard.name, shard, journal)
                done += 1
                on_progress(done)
        info = _publish(journal, parts, header)
        return MergeReport(info=info, already_complete=False, num_parts=len(parts), num_linked=num_linked)
    except BaseException:
        if not journal.started and not existed:
            journal.remove()
            if not any(out.iterdir()):
                out.rmdir()
        raise
    finally:
        journal.unlock()


def _read(folder: Path) -> _PackedPart:
    path = folder / FILE_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{folder}: is not finished, it has no {FILE_NAME}; run its `vidflow shard` again") from error
    try:
        info = DatasetInfo.model_validate_json(data)
    except ValueError as error:
        raise DataError(f"{path}: not the dataset.json of this version; pack the part again") from error
    text = info.options.get("part")
    if not isinstance(text, str):
        raise DataError(f"{folder}: is no part of a run, but a whole data set")
    return _PackedPart(folder, Part.parse(text), info, hashlib.sha256(data).hexdigest())


def _checked(parts: Sequence[_PackedPart]) -> list[_PackedPart]:
    """The parts in order, if they are all of one run."""
    ordered = sorted(parts, key=lambda part: part.part.number)
    first = ordered[0]

    def shared(part: _PackedPart) -> dict[str, object]:
        return {name: value for name, value in header_of(part.info).items() if name not in _OWN}

    for part in ordered:
        if part.part.count != first.part.count:
            raise DataError(f"{part.folder}: is part {part.part}, {first.folder} is part {first.part}; of another run")
        if found := differences(shared(first), shared(part)):
            raise DataError(
                f"{part.folder}: was packed otherwise than {first.folder}: {'; '.join(found)}; pack it again"
            )
    for before, after in pairwise(ordered):
        if before.part == after.part:
            raise DataError(f"part {after.part} is there twice: {before.folder} and {after.folder}; leave one out")
    missing = sorted(set(range(1, first.part.count + 1)) - {part.part.number for part in ordered})
    if missing:
        listed = ", ".join(map(str, missing[:_MAX_LISTED])) + (", ..." if len(missing) > _MAX_LISTED else "")
        raise DataError(f"{len(missing)} of {first.part.count} parts are missing: {listed}; pack them first")
    if not any(part.info.shards for part in ordered):
        raise DataError("no part holds a sample; see their rejected.jsonl")
    return ordered


def _place(source: Path, final: Path, shard: ShardInfo, journal: Journal) -> bool:
    """Bring one shard to its place; whether it was linked."""
    try:
        size = source.stat().st_size
    except OSError as error:
        raise DataError(f"{source}: {error.strerror}; pack the part again") from error
    if size != shard.size:
        raise DataError(f"{source}: has {size} bytes, dataset.json says {shard.size}; pack the part again")
    if final.exists() and (final.samefile(source) or _sha256(final) == shard.sha256):
        return False  # placed by an earlier run
    final.unlink(missing_ok=True)
    try:
        os.link(source, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            with naming_the_path(final):
                raise
    else:
        return True
    part = journal.part(shard.name)
    with naming_the_path(part):
        shutil.copyfile(source, part)
        with part.open("rb") as copy:
            os.fsync(copy.fileno())
    if _sha256(part) != shard.sha256:
        part.unlink()
        raise DataError(f"{source}: its SHA-256 is not the one of dataset.json; pack the part again")
    publish(part, final)
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(journal: Journal, parts: Sequence[_PackedPart], header: dict[str, object]) -> DatasetInfo:
    """Join manifests and rejects, row group after row group."""
    out, part_path = journal.out, journal.part(manifest.FILE_NAME)
    last_key = ""
    with naming_the_path(part_path):
        with pq.ParquetWriter(part_path, manifest.SCHEMA, compression="zstd") as writer:
            for part in parts:
                path = part.folder / manifest.FILE_NAME
                num_rows = 0
                with pq.ParquetFile(path) as file:
                    if file.schema_arrow != manifest.SCHEMA:
                        raise DataError(f"{path}: not a manifest of this version; pack the part again")
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group)
                        keys = [last_key, *table.column("key").to_pylist()]
                        if any(after <= before for before, after in pairwise(keys)):
                            raise DataError(f"{path}: its keys overlap with those of the part before; pack it again")
                        last_key = keys[-1]
                        num_rows += len(table)
                        writer.write_table(table)
                if num_rows != sum(shard.num_samples for shard in part.info.shards):
                    raise DataError(f"{path}: {num_rows} rows, {FILE_NAME} counts another number; pack the part again")
        with part_path.open("rb") as synced:
            os.fsync(synced.fileno())
    publish(part_path, out / manifest.FILE_NAME)
    rejected = b"".join((part.folder / REJECTED_NAME).read_bytes() for part in parts)
    write_whole(out / REJECTED_NAME, rejected, part=journal.part(REJECTED_NAME))
    splits: dict[str, SplitInfo] = {}
    for part in parts:
        for name, split in part.info.splits.items():
            before = splits[name].model_dump() if name in splits else dict.fromkeys(SplitInfo.model_fields, 0)
            splits[name] = SplitInfo(**{field: value + before[field] for field, value in split.model_dump().items()})
    info = DatasetInfo.model_validate(
        {
            "splits": splits,
            "shards": [shard for part in parts for shard in part.info.shards],
            "num_rejected": sum(part.info.num_rejected for part in parts),
            **header,
        }
    )
    return finish_with(journal, info)
