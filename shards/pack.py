"""Packing: sources in, shards and manifest out; parallel, atomic, resumable, and the same bytes each time.

Keys and order are fixed by the list of sources before any work starts. Worker processes prepare samples, and the parent
writes them in order, so that neither the number of workers nor an interruption leaves a trace in the output.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vidflow import manifest
from vidflow.dataset import DatasetInfo
from vidflow.errors import ConfigError, DataError, StorageError
from vidflow.schema import SampleRecord
from vidflow.shards import tar
from vidflow.shards.files import FileState
from vidflow.shards.journal import Entry, Journal, Rejected
from vidflow.shards.order import file_states, order_tasks, source_lines, sources_hash
from vidflow.shards.output import clear, complete_dataset, finish, read_rejected, refuse_strange_files, shard_name
from vidflow.shards.prepare import Prepared, Refused, Task, prepare
from vidflow.shards.profiles import PROFILES, Profile
from vidflow.shards.sources.items import SourceList
from vidflow.shards.workers import Crash, map_in_order
from vidflow.shards.writer import ShardWriter, SourceChangedError
from vidflow.version import __version__

# Headers, padding and KEY.json of a sample, for the disk-space check.
_SAMPLE_OVERHEAD = 4096
_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """What decides the bytes of the output, beside the sources."""

    profile: Profile = PROFILES["copy"]
    max_bytes: int = 256 << 20
    """A shard ends before the sample that would make it larger; a sample larger than that has a shard of its own."""
    max_count: int = 1000
    """Samples per shard."""
    seed: int = 0
    """Of the order within a split."""
    shuffle: bool = True
    on_damage: Literal["error", "conceal"] = "error"

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ConfigError(f"--max-bytes {self.max_bytes}: must be at least 1")
        if self.max_count < 1:
            raise ConfigError(f"--max-count {self.max_count}: must be at least 1")

    def table(self) -> dict[str, object]:
        """For dataset.json."""
        limits: dict[str, object] = {"max_bytes": self.max_bytes, "max_count": self.max_count}
        return (
            self.profile.options() | limits | {"seed": self.seed, "shuffle": self.shuffle, "on_damage": self.on_damage}
        )


@dataclass(frozen=True, kw_only=True)
class PackReport:
    """How a run ended. ``found`` is the sum of packed, rejected and skipped."""

    info: DatasetInfo
    already_complete: bool
    """Whether the data set was there before; nothing was done then."""
    num_resumed: int
    """Shards that an earlier run had finished."""
    packed: int
    rejected: tuple[Rejected, ...]
    skipped: Counter[str]
    warnings: tuple[str, ...]

    @property
    def found(self) -> int:
        """Files or list lines looked at."""
        return self.packed + self.info.num_rejected + sum(self.skipped.values())


def pack(
    source: SourceList,
    out: Path,
    options: PackOptions,
    *,
    workers: int,
    max_rejects: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> PackReport:
    """Pack a source into ``out``; go on where an interrupted run of the same options stopped.

    Args:
        workers: processes that probe and re-encode.
        max_rejects: stop with an error at one more; None never stops.
        overwrite: replace a data set that was packed otherwise.
        on_progress: called with the number of samples that are settled.

    Raises:
        DataError: nothing to pack, nothing could be packed, too many rejects, or ``out`` holds something else.
        StorageError: no room, or ``out`` cannot be written; finished shards are kept for the next run.
    """
    if workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    if not source.items:
        raise DataError(f"nothing to pack in {source.name!r}: {_listed(source.skipped) or 'it is empty'}")
    tasks = order_tasks(source.items, seed=options.seed, shuffle=options.shuffle)
    states = file_states(tasks)
    header = {
        "name": source.name,
        "task": "recognition",
        "multi_label": source.multi_label,
        "classes": source.classes,
        "options": {
            "vidflow": __version__,
            **source.options,
            **options.table(),
            "sources_sha256": sources_hash(tasks, states),
        },
    }
    flat = {name: value for name, value in header.items() if name != "options"} | header["options"]  # type: ignore[operator]

    existed = out.exists()
    if existed and not out.is_dir():
        raise StorageError(f"{out}: not a folder; give another --out")
    journal = Journal(out)
    journal.lock()
    try:
        if overwrite:
            clear(out)
            journal.unlock()
            journal.lock()
        elif (info := complete_dataset(out, flat)) is not None:
            journal.remove()
            return _report(source, info, rejected=read_rejected(out), already_complete=True)
        shards = journal.resume(flat, source_lines(tasks, states))
        if shards is None:
            if not journal.started:
                refuse_strange_files(out)
            shards = []
            journal.start(flat, source_lines(tasks, states))
        run = _Run(journal, options, len(tasks), shards, max_rejects, on_progress)
        if not options.profile.encodes:
            _check_room(out, states[run.next_ordinal :])
        run.write(tasks, workers)
        if not run.shards:
            raise DataError(
                f"none of {len(tasks)} files could be packed: {_listed(Counter(r.kind for r in run.rejected))}"
            )
        info = finish(journal, run.shards, run.rejected, header)
        return _report(
            source, info, rejected=tuple(run.rejected), num_resumed=len(shards), warnings=tuple(run.warnings)
        )
    except BaseException:
        if not journal.holds_shards:
            if journal.started:  # then all files of our names are ours
                clear(out)
            journal.remove()
            if not existed:
                _remove_if_empty(out)
        raise
    finally:
        journal.unlock()


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _listed(counts: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in counts.most_common(_MAX_LISTED))


def _check_room(out: Path, states: Sequence[FileState | None]) -> None:
    needed = sum(state.size + _SAMPLE_OVERHEAD for state in states if state)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StorageError(
            f"{out}: packing needs about {needed:,} bytes, {free:,} are free; make room or give another --out"
        )


def _report(
    source: SourceList,
    info: DatasetInfo,
    *,
    rejected: tuple[Rejected, ...],
    already_complete: bool = False,
    num_resumed: int = 0,
    warnings: tuple[str, ...] = (),
) -> PackReport:
    packed = sum(split.num_samples for split in info.splits.values())
    return PackReport(
        info=info,
        already_complete=already_complete,
        num_resumed=num_resumed,
        packed=packed,
        rejected=rejected,
        skipped=source.skipped,
        warnings=(*source.warnings, *warnings),
    )


class _Run:
    """The writing side of one run: takes prepared samples in order, and ends with published shards."""

    def __init__(
        self,
        journal: Journal,
        options: PackOptions,
        num_tasks: int,
        shards: Sequence[str],
        max_rejects: int | None,
        on_progress: Callable[[int], None],
    ) -> None:
        self.journal, self.options, self.max_rejects, self.on_progress = journal, options, max_rejects, on_progress
        self.num_tasks = num_tasks
        self.shards = list(shards)
        self.rejected: list[Rejected] = []
        self.warnings: list[str] = []
        self.next_ordinal = 0
        self._numbers: Counter[str] = Counter()
        self._writer: ShardWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._num_noted = 0  # rejects that the journal has
        for entry in journal.entries(shards):
            self.rejected += entry.rejected
            self.next_ordinal = entry.next_ordinal
            self._numbers[entry.shard.split] += 1
        self._num_noted = len(self.rejected)

    def write(self, tasks: Sequence[Task], workers: int) -> None:
        """Prepare and write all samples that are not settled yet."""
        self.on_progress(self.next_ordinal)
        self._check_rejects()
        left = tasks[self.next_ordinal :]
        staging = Path(tempfile.mkdtemp(prefix="staging-", dir=self.journal.folder))
        function = partial(
            prepare, profile=self.options.profile, on_damage=self.options.on_damage, staging=str(staging)
        )
        try:
            with closing(map_in_order(function, left, workers=min(workers, len(left) or 1))) as results:
                for task, result in results:
                    if isinstance(result, Crash):
                        self._reject(task, "probe", result.reason)
                    elif isinstance(result, Refused):
                        self._reject(task, result.stage, result.reason)
                    else:
                        self._add(task, result)
                    self.on_progress(task.ordinal + 1)
            self._close(self.num_tasks)
        finally:
            if self._writer is not None:
                self._writer.discard()
            shutil.rmtree(staging, ignore_errors=True)

    def _reject(self, task: Task, stage: str, reason: str) -> None:
        item = task.item
        self.rejected.append(
            Rejected(key=task.key, id=item.id, split=item.split, labels=item.labels, stage=stage, reason=reason)
        )
        self._check_rejects()

    def _check_rejects(self) -> None:
        if self.max_rejects is not None and len(self.rejected) > self.max_rejects:
            last = self.rejected[-1]
            raise DataError(
                f"{len(self.rejected)} samples rejected, {self.max_rejects} are allowed; the latest is "
                f"{last.id}: {last.reason}; "
                "mend or remove them, or raise --max-rejects and run again"
            )

    def _add(self, task: Task, sample: Prepared) -> None:
        item = task.item
        record = SampleRecord(
            key=task.key, id=item.id, split=item.split, labels=item.labels, group=item.group, video=sample.video
        )
        record_json = record.model_dump_json().encode()
        length = tar.member_length(f"{task.key}.{sample.video.container}", sample.state.size)
        length += tar.member_length(f"{task.key}.json", len(record_json))
        if self._is_full(item.split, length):
            self._close(task.ordinal)
        if length + len(tar.END_OF_ARCHIVE) > self.options.max_bytes:
            self.warnings.append(
                f"{item.id} is larger than --max-bytes {self.options.max_bytes}; it has a shard of its own"
            )
        if self._writer is None:
            name = shard_name(item.split, self._numbers[item.split])
            self._writer = ShardWriter(self.journal.out / name, part=self.journal.part(name), split=item.split)
        try:
            location = self._writer.add(record, record_json, Path(sample.path), sample.state)
        except SourceChangedError as error:
            self._reject(task, "copy", str(error))
            return
        finally:
            if sample.staged:
                Path(sample.path).unlink(missing_ok=True)
        self._rows.append(manifest.to_row(record, location))

    def _is_full(self, split: str, length: int) -> bool:
        """Whether the next sample needs another shard."""
        writer = self._writer
        if writer is None or not writer.num_samples:
            return writer is not None and writer.split != split
        too_large = writer.size + length + len(tar.END_OF_ARCHIVE) > self.options.max_bytes
        return writer.split != split or writer.num_samples >= self.options.max_count or too_large

    def _close(self, next_ordinal: int) -> None:
        """Publish the open shard, if it has samples, and note it."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if not writer.num_samples:
            writer.discard()
            return
        try:
            shard = writer.close()
        except BaseException:
            writer.discard()
            raise
        self._numbers[shard.split] += 1
        rejected = tuple(self.rejected[self._num_noted :])
        self.journal.add(Entry(shard=shard, next_ordinal=next_ordinal, rows=tuple(self._rows), rejected=rejected))
        self._num_noted = len(self.rejected)
        self.shards.append(shard.name)
        self._rows = []
