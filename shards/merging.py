"""Joining the parts of a packing run into one data set, in a folder or on S3.

Shards are linked where that is possible, which costs neither time nor room, and else copied and checked, on S3 by the
server; the parts stay as they are. Merging twice, or going on after an interruption, gives the same files, in whatever
order the parts come.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq

from vidflow import manifest
from vidflow.dataset import FILE_NAME, REJECTED_NAME, DatasetInfo, SplitInfo
from vidflow.errors import ConfigError, DataError, StorageError
from vidflow.shards.files import naming_the_path, publish, write_whole
from vidflow.shards.journal import Journal, differences
from vidflow.shards.output import finish_with, header_of, refuse_strange_files
from vidflow.shards.parts import FOLDER, Part
from vidflow.shards.run import flat_header, place_of_run
from vidflow.storage import is_remote, open_storage

# Of a part alone; all else must be the same in all of them.
_OWN = ("part", "sources_sha256")
_MAX_LISTED = 10
_READERS = 16  # parts on a server that are looked at at once


@dataclass(frozen=True)
class _PackedPart:
    root: str
    """Its folder or address."""
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


def find_parts(places: Sequence[Path | str]) -> list[str]:
    """The parts: those given, and in the place of a folder or prefix that holds parts the parts in it.

    Raises:
        DataError: a place neither is a part nor holds some.
    """
    found: dict[str, str] = {}
    for place in map(str, places):
        if is_remote(place):
            found |= {root: root for root in _parts_on_server(place.rstrip("/"))}
        else:
            found |= {str(Path(root).resolve()): root for root in _parts_in_folder(Path(place))}
    return list(found.values())


def _parts_in_folder(folder: Path) -> list[str]:
    if FOLDER.fullmatch(folder.resolve().name):
        return [str(folder)]
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    inside = sorted(str(path) for path in folder.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir())
    if not inside:
        raise _no_parts(str(folder), is_whole=(folder / FILE_NAME).exists())
    return inside


def _parts_on_server(address: str) -> list[str]:
    if not address.startswith("s3://"):
        raise DataError(f"{address}: parts are joined in folders and on S3; fetch these first")
    from vidflow.storage.s3 import list_folders

    if FOLDER.fullmatch(address.rpartition("/")[2]):
        return [address]
    inside = sorted(f"{address}/{name}" for name in list_folders(address) if FOLDER.fullmatch(name))
    if not inside:
        raise _no_parts(address, is_whole=open_storage(address).exists(FILE_NAME))
    return inside


def _no_parts(place: str, *, is_whole: bool) -> DataError:
    what = "is a whole data set and holds no parts" if is_whole else "holds no parts"
    return DataError(f"{place}: {what}; pack them first: vidflow shard ... --part 1/N --out {place}")


def parent_of(parts: Sequence[str]) -> str:
    """The one folder or prefix in which the parts lie.

    Raises:
        ConfigError: there are several.
    """
    parents = {part.rpartition("/")[0] if is_remote(part) else str(Path(part).resolve().parent) for part in parts}
    if len(parents) > 1:
        raise ConfigError("the parts lie in several folders; give --out")
    return parents.pop()


def merge(
    places: Sequence[Path | str],
    out: Path | str,
    *,
    work_dir: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> MergeReport:
    """Join all parts of a run into ``out``.

    Args:
        places: folders or addresses of the parts, or such that hold them; any order, repeats count once.
        out: may be the place that the parts lie in; a folder for folders, and ``s3://bucket/prefix`` for parts there.
        work_dir: where the manifest for an ``out`` on S3 is made; by default in the user's cache.
        overwrite: replace what ``out`` holds, such as the join of other parts; the parts stay as they are.
        on_progress: called with the number of shards that are in place.

    Raises:
        DataError: a part is missing, unfinished, there twice, or was packed otherwise than the others; or ``out`` holds
            something else.
        StorageError: something cannot be read or written.
    """
    roots = find_parts(places)
    if other := [root for root in roots if is_remote(root) != is_remote(str(out))]:
        raise ConfigError(f"--out {out}: the parts ({other[0]}, ...) and --out must all be folders or all lie on S3")
    if place := next((root for root in roots if _same_place(root, str(out))), None):
        raise ConfigError(f"--out {place}: is one of the parts; give another --out, or leave it out")
    with ThreadPoolExecutor(_READERS if is_remote(str(out)) else 1) as threads:
        parts = _checked(list(threads.map(_read, roots)))
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
    flat = flat_header(header)
    lines = [f"{part.part} {part.sha256}" for part in parts]

    with place_of_run(out, work_dir, flat, overwrite=overwrite, undo=_forget_unbegun) as (journal, complete):
        if complete is not None:
            return MergeReport(info=complete, already_complete=True, num_parts=len(parts), num_linked=0)
        if journal.resume(flat, lines) is not None:
            root = journal.target.root
            raise DataError(f"{root}: holds an unfinished run of packing; finish it, or give another --out")
        if not journal.started:
            known = {shard.name: shard.size for part in parts for shard in part.info.shards}
            refuse_strange_files(journal.target, known)
        journal.start(flat, lines)
        num_linked = 0
        with closing(_placed(parts, journal)) as placed:
            for done, linked in enumerate(placed, start=1):
                num_linked += linked
                on_progress(done)
        info = _publish(journal, parts, header)
        return MergeReport(info=info, already_complete=False, num_parts=len(parts), num_linked=num_linked)


def _forget_unbegun(journal: Journal, existed: bool) -> None:
    """A join that has begun is gone on with by a rerun; of another one nothing stays."""
    if not journal.started and (journal.target.is_remote or not existed):
        journal.release()
        journal.remove()


def _same_place(root: str, out: str) -> bool:
    return root.rstrip("/") == out.rstrip("/") if is_remote(root) else Path(root).resolve() == Path(out).resolve()


def _placed(parts: Sequence[_PackedPart], journal: Journal) -> Generator[bool, None, None]:
    """Bring all shards to their places, and say of each whether it was linked."""
    from vidflow.shards.placing import BucketPlacer, FolderPlacer, Placer
    from vidflow.shards.sending import S3Target

    target = journal.target
    placer: Placer = BucketPlacer(target) if isinstance(target, S3Target) else FolderPlacer(journal)
    pairs = [(part.root, shard) for part in parts for shard in part.info.shards]
    threads = ThreadPoolExecutor(placer.threads)
    try:
        yield from threads.map(lambda pair: placer.place(*pair), pairs)
    finally:
        threads.shutdown(cancel_futures=True)


def _read(root: str) -> _PackedPart:
    try:
        data = open_storage(root).read(FILE_NAME)
    except StorageError as error:
        if open_storage(root).exists(FILE_NAME):
            raise
        raise DataError(f"{root}: is not finished, it has no {FILE_NAME}; run its `vidflow shard` again") from error
    try:
        info = DatasetInfo.model_validate_json(data)
    except ValueError as error:
        raise DataError(f"{root}/{FILE_NAME}: not the dataset.json of this version; pack the part again") from error
    text = info.options.get("part")
    if not isinstance(text, str):
        raise DataError(f"{root}: is no part of a run, but a whole data set")
    return _PackedPart(root, Part.parse(text), info, hashlib.sha256(data).hexdigest())


def _checked(parts: Sequence[_PackedPart]) -> list[_PackedPart]:
    """The parts in order, if they are all of one run."""
    ordered = sorted(parts, key=lambda part: part.part.number)
    first = ordered[0]

    def shared(part: _PackedPart) -> dict[str, object]:
        return {name: value for name, value in header_of(part.info).items() if name not in _OWN}

    for part in ordered:
        if part.part.count != first.part.count:
            raise DataError(f"{part.root}: is part {part.part}, {first.root} is part {first.part}; of another run")
        if found := differences(shared(first), shared(part)):
            raise DataError(f"{part.root}: was packed otherwise than {first.root}: {'; '.join(found)}; pack it again")
    for before, after in pairwise(ordered):
        if before.part == after.part:
            raise DataError(f"part {after.part} is there twice: {before.root} and {after.root}; leave one out")
    missing = sorted(set(range(1, first.part.count + 1)) - {part.part.number for part in ordered})
    if missing:
        listed = ", ".join(map(str, missing[:_MAX_LISTED])) + (", ..." if len(missing) > _MAX_LISTED else "")
        raise DataError(f"{len(missing)} of {first.part.count} parts are missing: {listed}; pack them first")
    if not any(part.info.shards for part in ordered):
        raise DataError("no part holds a sample; see their rejected.jsonl")
    return ordered


@contextmanager
def _manifest_of(part: _PackedPart, journal: Journal) -> Iterator[Path]:
    """A part's manifest as a file of this machine; one from a server goes again afterwards."""
    if not is_remote(part.root):
        yield Path(part.root) / manifest.FILE_NAME
        return
    fetched = journal.part(f"{part.part.folder_name}-{manifest.FILE_NAME}")
    with (
        open_storage(part.root).open(manifest.FILE_NAME) as stream,
        naming_the_path(fetched),
        fetched.open("wb") as file,
    ):
        shutil.copyfileobj(stream, file, 1 << 20)
    yield fetched
    fetched.unlink()


def _publish(journal: Journal, parts: Sequence[_PackedPart], header: dict[str, object]) -> DatasetInfo:
    """Join manifests and rejects, row group after row group."""
    out, part_path = journal.out, journal.part(manifest.FILE_NAME)
    last_key = ""
    with naming_the_path(part_path):
        with pq.ParquetWriter(part_path, manifest.SCHEMA, compression="zstd") as writer:
            for part in parts:
                with _manifest_of(part, journal) as path:
                    last_key = _append(writer, path, part, last_key)
        with part_path.open("rb") as synced:
            os.fsync(synced.fileno())
    publish(part_path, out / manifest.FILE_NAME)
    journal.target.put(out / manifest.FILE_NAME)
    rejected = b"".join(open_storage(part.root).read(REJECTED_NAME) for part in parts)
    write_whole(out / REJECTED_NAME, rejected, part=journal.part(REJECTED_NAME))
    journal.target.put(out / REJECTED_NAME)
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


def _append(writer: pq.ParquetWriter, path: Path, part: _PackedPart, last_key: str) -> str:
    """Append the rows of a part's manifest; the last key."""
    where, num_rows = f"{part.root}/{manifest.FILE_NAME}", 0
    with pq.ParquetFile(path) as file:
        if file.schema_arrow != manifest.SCHEMA:
            raise DataError(f"{where}: not a manifest of this version; pack the part again")
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            keys = [last_key, *table.column("key").to_pylist()]
            if any(after <= before for before, after in pairwise(keys)):
                raise DataError(f"{where}: its keys overlap with those of the part before; pack it again")
            last_key = keys[-1]
            num_rows += len(table)
            writer.write_table(table)
    if num_rows != sum(shard.num_samples for shard in part.info.shards):
        raise DataError(f"{where}: {num_rows} rows, {FILE_NAME} counts another number; pack the part again")
    return str(last_key)
