"""One run into an output folder: locked, journalled, gone on with where an earlier one stopped, and finished."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidflow.dataset import DatasetInfo
from vidflow.errors import StorageError
from vidflow.shards.journal import Journal, Rejected
from vidflow.shards.output import clear, complete_dataset, finish, read_rejected, refuse_strange_files
from vidflow.shards.sequence import ShardSequence
from vidflow.shards.target import open_target


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    info: DatasetInfo
    rejected: tuple[Rejected, ...]
    already_complete: bool = False
    """Whether the data set was there before; nothing was done then."""
    num_resumed: int = 0
    """Shards that an earlier run had finished."""


def run_into(
    out: Path | str,
    header: dict[str, Any],
    source_lines: Callable[[], Iterator[str]],
    write: Callable[[ShardSequence], None],
    *,
    max_bytes: int,
    max_count: int,
    part: str = "",
    overwrite: bool = False,
    work_dir: Path | None = None,
) -> Outcome:
    """Write a data set, or finish one that an interrupted run of the same header and sources has begun.

    Args:
        out: a folder, or ``s3://bucket/prefix``.
        header: name, classes and the like for dataset.json, and ``options``; together they tell runs apart.
        source_lines: called for one line per source, with all that a resumed run must find unchanged.
        write: packs all samples from ``next_ordinal`` on and closes the sequence.
        max_bytes: see ``ShardSequence``, like ``max_count`` and ``part``.
        overwrite: replace a data set that was packed otherwise.
        work_dir: where files for another place than this machine are made; by default in the user's cache.

    Raises:
        DataError: ``out`` holds something else.
        StorageError: it cannot be written; finished shards are kept for the next run.
    """
    flat = {name: value for name, value in header.items() if name != "options"} | header["options"]
    target, folder = open_target(out, work_dir)
    existed = folder.exists()
    if existed and not folder.is_dir():
        raise StorageError(f"{folder}: not a folder; give another --out")
    journal = Journal(folder, target)
    journal.lock()
    try:
        if overwrite:
            clear(journal)
            journal.unlock()
            journal.lock()
        elif (info := complete_dataset(target, flat)) is not None:
            journal.release()
            journal.remove()
            return Outcome(info=info, rejected=read_rejected(target), already_complete=True)
        journal.claim()
        shards = journal.resume(flat, source_lines())
        if shards is None:
            if not journal.started:
                refuse_strange_files(target)
            shards = []
            journal.start(flat, source_lines())
        sequence = ShardSequence(journal, max_bytes=max_bytes, max_count=max_count, shards=shards, part=part)
        try:
            write(sequence)
            sequence.settle()
        finally:
            sequence.discard()
        info = finish(journal, sequence.shards, sequence.rejected, header)
        return Outcome(info=info, rejected=tuple(sequence.rejected), num_resumed=len(shards))
    except BaseException:
        if not journal.holds_shards:
            with suppress(StorageError):  # the place is out of reach; what is left here makes a rerun go on
                _leave_nothing(journal)
            if not existed:
                _remove_if_empty(folder)
        raise
    finally:
        journal.unlock()
        if target.is_remote:
            _remove_if_empty(folder)


def _leave_nothing(journal: Journal) -> None:
    if journal.claimed and journal.started:  # then all files of our names are ours
        clear(journal)
    journal.release()
    journal.remove()


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
