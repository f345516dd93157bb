"""One run into an output folder: locked, journalled, gone on with where an earlier one stopped, and finished."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    flat = flat_header(header)
    with place_of_run(out, work_dir, flat, overwrite=overwrite, undo=_leave_nothing) as (journal, info):
        if info is not None:
            return Outcome(info=info, rejected=read_rejected(journal.target), already_complete=True)
        shards = journal.resume(flat, source_lines())
        if shards is None:
            if not journal.started:
                refuse_strange_files(journal.target)
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


def flat_header(header: dict[str, Any]) -> dict[str, Any]:
    """A header with its options beside the rest, as runs are compared."""
    options: dict[str, Any] = header["options"]
    return {name: value for name, value in header.items() if name != "options"} | options


@contextmanager
def place_of_run(
    out: Path | str,
    work_dir: Path | None,
    flat: dict[str, Any],
    *,
    overwrite: bool,
    undo: Callable[[Journal, bool], None],
) -> Iterator[tuple[Journal, DatasetInfo | None]]:
    """The journal of a run into ``out``, locked and claimed; or the data set, where the same run is complete already.

    Args:
        flat: see ``flat_header``.
        overwrite: remove what is there first.
        undo: called with the journal, and whether its folder existed before, where the run ends with an error.

    Raises:
        DataError: ``out`` holds something else.
        StorageError: it cannot be written, or another run writes there.
    """
    target, folder = open_target(out, work_dir)
    existed = folder.exists()
    if existed and not folder.is_dir():
        raise StorageError(f"{folder}: not a folder; give another --out")
    journal = Journal(folder, target)
    journal.lock()
    try:
        info = None
        if overwrite:
            clear(journal)
            journal.unlock()
            journal.lock()
        else:
            info = complete_dataset(target, flat)
        if info is None:
            journal.claim()
        else:
            journal.release()
            journal.remove()
        yield journal, info
    except BaseException:
        undo(journal, existed)
        if not existed:
            _remove_if_empty(folder)
        raise
    finally:
        journal.unlock()
        if target.is_remote:
            _remove_if_empty(folder)


def _leave_nothing(journal: Journal, existed: bool) -> None:
    """Where no shard is finished, there is nothing to go on with."""
    if journal.holds_shards:
        return
    with suppress(StorageError):  # the place is out of reach; what is left here makes a rerun go on
        if journal.claimed and journal.started:  # then all files of our names are ours
            clear(journal)
        journal.release()
        journal.remove()


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
