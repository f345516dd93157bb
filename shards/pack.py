"""Packing: sources in, shards and manifest out; parallel, atomic, resumable, and the same bytes each time.

Keys and order are fixed by the list of sources before any work starts. Worker processes prepare samples, and the parent
writes them in order, so that neither the number of workers nor an interruption leaves a trace in the output.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from vidflow import manifest
from vidflow.dataset import DatasetInfo
from vidflow.errors import ConfigError, DataError, StorageError
from vidflow.shards.contents import sample_length
from vidflow.shards.engines import Engine, LocalEngine
from vidflow.shards.files import FileState
from vidflow.shards.journal import Journal, Rejected
from vidflow.shards.order import file_states, listing_hash, order_tasks, source_lines, sources_hash
from vidflow.shards.parts import Part
from vidflow.shards.prepare import Prepared, Refused, Task, prepare
from vidflow.shards.profiles import PROFILES, Profile
from vidflow.shards.records import record_of
from vidflow.shards.run import Outcome, run_into
from vidflow.shards.sequence import ShardSequence
from vidflow.shards.sources.items import SourceList
from vidflow.shards.target import same_place
from vidflow.shards.workers import Crash, default_workers
from vidflow.shards.writer import SourceChangedError
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
    out: Path | str,
    options: PackOptions,
    *,
    workers: int | None = None,
    engine: Engine | None = None,
    max_rejects: int | None = None,
    overwrite: bool = False,
    work_dir: Path | None = None,
    part: Part | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> PackReport:
    """Pack a source into ``out``; go on where an interrupted run of the same options stopped.

    Args:
        out: a folder, or ``s3://bucket/prefix``.
        workers: processes of this machine that probe and re-encode; None takes one per CPU.
        engine: what probes and re-encodes instead of such processes.
        max_rejects: stop with an error at one more; None never stops.
        overwrite: replace a data set that was packed otherwise.
        work_dir: where the files for an ``out`` on S3 are made; by default in the user's cache.
        part: pack this part only, into a folder of its own below ``out``; keys are those of the whole. It may turn out
            empty.
        on_progress: called with the number of samples that are settled.

    Raises:
        DataError: nothing to pack, nothing could be packed, too many rejects, or ``out`` holds something else.
        StorageError: no room, or ``out`` cannot be written; finished shards are kept for the next run.
    """
    if engine is None:
        engine = LocalEngine(default_workers() if workers is None else workers)
    if not source.items:
        raise DataError(f"nothing to pack in {source.name!r}: {_listed(source.skipped) or 'it is empty'}")
    if not options.profile.encodes and any(item.window is not None for item in source.items):
        raise ConfigError(
            f"--profile {options.profile.name}: {source.name} is cut out of longer videos, which must be encoded anew; "
            "give --profile train or intra"
        )
    # Addresses of servers are among them, which are no paths.
    folders = {item.path.rpartition("/")[0] for item in source.items if item.span is not None}
    if found := next((folder for folder in sorted(folders) if same_place(folder, out)), None):
        raise ConfigError(f"{found}: holds the shards that are read; give another --out")
    tasks: Sequence[Task] = order_tasks(source.items, seed=options.seed, shuffle=options.shuffle)
    of_part: dict[str, object] = {}
    if part is not None:
        of_part = {"part": str(part), "listing_sha256": listing_hash(tasks)}
        tasks = [replace(task, ordinal=ordinal) for ordinal, task in enumerate(part.share(tasks))]
        out = part.folder_of(out)
    states = file_states(tasks)
    header = {
        "name": source.name,
        "task": source.task,
        "multi_label": source.multi_label,
        "classes": source.classes,
        "options": {
            "vidflow": __version__,
            **source.options,
            **options.table(),
            **of_part,
            "sources_sha256": sources_hash(tasks, states),
        },
    }

    def write(sequence: ShardSequence) -> None:
        if not options.profile.encodes:
            _check_room(sequence.journal, states[sequence.next_ordinal :], options.max_bytes)
        run.write(sequence, tasks, engine)
        if not sequence.shards and part is None:
            raise DataError(
                f"none of {len(tasks)} files could be packed: {_listed(Counter(r.kind for r in sequence.rejected))}"
            )

    run = _Run(options, max_rejects, on_progress)
    outcome = run_into(
        out,
        header,
        lambda: source_lines(tasks, states),
        write,
        max_bytes=options.max_bytes,
        max_count=options.max_count,
        part="" if part is None else part.mark,
        overwrite=overwrite,
        work_dir=work_dir,
    )
    gaps = _gaps(source, outcome.rejected) if part is None else ()
    return _report(source, outcome, (*run.warnings, *gaps))


def _listed(counts: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in counts.most_common(_MAX_LISTED))


def _check_room(journal: Journal, states: Sequence[FileState | None], max_bytes: int) -> None:
    out = journal.out
    # Several samples may come from one file.
    needed = sum({state: state.size for state in states if state}.values())
    needed += _SAMPLE_OVERHEAD * len(states)
    if journal.target.is_remote:
        needed = min(needed, 2 * max_bytes)  # one shard that is sent, and one that is filled
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StorageError(
            f"{out}: packing needs about {needed:,} bytes, {free:,} are free; make room or give another --out"
        )


def _gaps(source: SourceList, rejected: Sequence[Rejected]) -> list[str]:
    """Splits and classes that the source names and of which no sample was packed, as warnings."""
    lost = {(entry.split, entry.id) for entry in rejected}
    packed = [item for item in source.items if (item.split, item.id) not in lost]
    empty = sorted({item.split for item in source.items} - {item.split for item in packed})
    found = [f"{split}: none of its samples could be packed" for split in empty]
    labels = {label for item in packed for label in item.labels}
    names = [name for label, name in enumerate(source.classes) if label not in labels]
    if labels and names:
        found.append(f"no sample of {len(names)} of {len(source.classes)} classes, such as {names[0]!r}")
    return found


def _report(source: SourceList, outcome: Outcome, warnings: tuple[str, ...]) -> PackReport:
    return PackReport(
        info=outcome.info,
        already_complete=outcome.already_complete,
        num_resumed=outcome.num_resumed,
        packed=sum(split.num_samples for split in outcome.info.splits.values()),
        rejected=outcome.rejected,
        skipped=source.skipped,
        warnings=(*source.warnings, *warnings),
    )


class _Run:
    """The writing side of one run: takes prepared samples in order, and ends with published shards."""

    def __init__(self, options: PackOptions, max_rejects: int | None, on_progress: Callable[[int], None]) -> None:
        self.options, self.max_rejects, self.on_progress = options, max_rejects, on_progress
        self.warnings: list[str] = []

    def write(self, sequence: ShardSequence, tasks: Sequence[Task], engine: Engine) -> None:
        """Prepare and write all samples that are not settled yet."""
        self.on_progress(sequence.next_ordinal)
        self._check_rejects(sequence)
        left = tasks[sequence.next_ordinal :]
        staging = Path(tempfile.mkdtemp(prefix="staging-", dir=sequence.journal.folder))
        function = partial(prepare, profile=self.options.profile, on_damage=self.options.on_damage)
        try:
            with closing(engine.run(function, left, staging=staging)) as results:
                for task, result in results:
                    if isinstance(result, Crash):
                        self._reject(sequence, task, "probe", result.reason)
                    elif isinstance(result, Refused):
                        self._reject(sequence, task, result.stage, result.reason)
                    else:
                        self._add(sequence, task, result)
                    self.on_progress(task.ordinal + 1)
            sequence.close(len(tasks))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _reject(self, sequence: ShardSequence, task: Task, stage: str, reason: str) -> None:
        item = task.item
        sequence.rejected.append(
            Rejected(key=task.key, id=item.id, split=item.split, labels=item.labels, stage=stage, reason=reason)
        )
        self._check_rejects(sequence)

    def _check_rejects(self, sequence: ShardSequence) -> None:
        rejected = sequence.rejected
        if self.max_rejects is not None and len(rejected) > self.max_rejects:
            last = rejected[-1]
            raise DataError(
                f"{len(rejected)} samples rejected, {self.max_rejects} are allowed; the latest is "
                f"{last.id}: {last.reason}; "
                "mend or remove them, or raise --max-rejects and run again"
            )

    def _add(self, sequence: ShardSequence, task: Task, sample: Prepared) -> None:
        item = task.item
        record, warnings = record_of(task.key, item, sample.contents.info, sample.contents.skeleton)
        record_json = record.model_dump_json().encode()
        length = sample_length(task.key, sample.contents.members, record_json)
        writer = sequence.writer_for(item.split, length, task.ordinal)
        if sequence.is_giant(length):
            self.warnings.append(
                f"{item.id} is larger than --max-bytes {self.options.max_bytes}; it has a shard of its own"
            )
        try:
            location = writer.add(record, record_json, sample.contents.members)
        except SourceChangedError as error:
            self._reject(sequence, task, "copy", str(error))
            return
        finally:
            if sample.staged is not None:
                Path(sample.staged).unlink(missing_ok=True)
        sequence.add_row(manifest.to_row(record, location))
        self.warnings += warnings
