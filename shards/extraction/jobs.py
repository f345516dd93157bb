"""Many files in, files out: parallel, each output whole or not at all, and a rerun does only what is left.

A job is one source and the files or folders that are made of it. Worker processes make them under temporary names, and
the parent gives them their own. Neither the order nor the number of workers leaves a trace in the result. What is done
is skipped by a rerun of the same command; what is half done, or whose source has changed (size or time), is done again.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vidflow.errors import ConfigError, DataError, DecodeError, StorageError
from vidflow.shards.extraction.ledger import FAILED_NAME, Ledger, Line, recipe_of
from vidflow.shards.files import NO_ROOM, naming_the_path
from vidflow.shards.journal import kind_of
from vidflow.shards.prepare import without_path
from vidflow.shards.profiles import EncodeError
from vidflow.shards.sources.items import text_of
from vidflow.shards.workers import Crash, map_in_order
from vidflow.version import __version__

_SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Job:
    """One source, and what becomes of it."""

    id: str
    """As text, unique: the source's path below the source folder, and more where one source has several jobs."""
    source: str
    """Path of the file."""
    outputs: tuple[str, ...]
    """Paths below the output folder, with ``/``; each will be a file or a folder."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Options of this job alone, as JSON can hold them; a change makes it undone."""


Work = Callable[[Job, tuple[Path, ...]], Mapping[str, Any] | None]
"""Makes the outputs of a job at temporary paths (each a file or a folder, not there yet), in a worker process; it must
be picklable. It may give back a note, as JSON can hold it, which is kept with the job. ``SkipJob`` means that there is
nothing to make, ``DataError`` and ``EncodeError`` that this job fails; all other errors end the run."""


class SkipJob(Exception):
    """Raised by the work: nothing can be made of this source, and that is as it should be; the message says why."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that could not be done."""

    id: str
    stage: str
    """``open``, ``read``, ``decode`` or ``encode``; ``skip`` for a job that is passed over."""
    reason: str

    @property
    def kind(self) -> str:
        """The reason without its numbers and details, for counting."""
        return kind_of(self.stage, self.reason)


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """How a run ended; every job is done, kept, failed or skipped."""

    num_done: int
    num_kept: int
    """Done by an earlier run."""
    failures: tuple[Failure, ...]
    skipped: tuple[Failure, ...]
    """Jobs of which nothing is made, by ``SkipJob``."""
    size_bytes: int
    """Of the outputs of this run."""
    num_orphans: int
    """Results that are still there, of earlier runs and of sources that are none of this one."""
    notes: dict[str, dict[str, Any]]
    """Id -> what the work said about it, of all jobs that are done or kept."""

    @property
    def num_found(self) -> int:
        """All jobs."""
        return self.num_done + self.num_kept + len(self.failures) + len(self.skipped)


@dataclass(frozen=True, slots=True)
class _Made:
    line: Line
    size_bytes: int


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    work: Work,
    *,
    command: str,
    options: Mapping[str, Any],
    workers: int,
    max_failures: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> JobReport:
    """Do all jobs that are not done yet; failures are listed in ``out/failed.jsonl``, and the run goes on.

    Args:
        work: see ``Work``.
        command: a file name; several commands may share ``out`` where their files do not meet.
        options: all that decides the content of the outputs, as JSON can hold it.
        max_failures: stop with an error at one more; None never stops.
        overwrite: make the results of other options anew. Files that no earlier run has made are never replaced.
        on_progress: called with the number of jobs that are settled.

    Raises:
        DataError: no jobs, all of them failed, too many failed, two would write to one place, or ``out`` holds
            something else.
        StorageError: no room, or ``out`` cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    if max_failures is not None and max_failures < 0:
        raise ConfigError(f"--max-failures {max_failures}: must not be negative")
    if not jobs:
        raise DataError("nothing to do: no files were found")
    _refuse_collisions(jobs)
    options = {"vidflow": __version__, **options}
    with Ledger(out, command) as ledger:
        ledger.start(options, overwrite=overwrite)
        recipes = {job.id: recipe_of(options, job.details) for job in jobs}
        left = [job for job in jobs if not _is_done(ledger, job, recipes[job.id])]
        orphans = ledger.orphans(recipes.keys())
        _refuse_strangers(ledger, left, orphans)
        num_kept = len(jobs) - len(left)
        failures: list[Failure] = []
        skipped: list[Failure] = []
        num_done = size_bytes = 0
        on_progress(num_kept)
        try:
            results = _results(ledger, left, work, recipes, workers)
            for settled, (result, parts) in enumerate(results, num_kept + 1):
                if isinstance(result, _Made):
                    ledger.publish(result.line, parts)
                    num_done, size_bytes = num_done + 1, size_bytes + result.size_bytes
                elif result.stage == _SKIP:
                    skipped.append(result)
                else:
                    failures.append(result)
                    _check_failures(failures, max_failures, out)
                on_progress(settled)
        finally:
            ledger.note_failures([asdict(failure) for failure in failures])
        if len(failures) == len(jobs):
            raise DataError(
                f"all {len(jobs)} jobs failed, such as {failures[0].id}: {failures[0].reason}; see {out / FAILED_NAME}"
            )
        not_made = {failure.id for failure in (*failures, *skipped)}
        noted = {job.id: ledger.lines[job.id].note for job in jobs if job.id not in not_made}
        return JobReport(
            num_done=num_done,
            num_kept=num_kept,
            failures=tuple(failures),
            skipped=tuple(skipped),
            size_bytes=size_bytes,
            num_orphans=len(orphans),
            notes={id: note for id, note in noted.items() if note is not None},
        )


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    taken: dict[str, str] = {}
    ids = set()
    for job in jobs:
        if job.id in ids:
            raise DataError(f"{job.id}: is there twice")
        ids.add(job.id)
        assert job.outputs, f"{job.id}: no outputs"
        for name in job.outputs:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise DataError(f"{job.id}: would be written to {text_of(name)}, which leads out of the output folder")
            if (other := taken.setdefault(name, job.id)) != job.id:
                raise DataError(f"{other} and {job.id}: both would become {text_of(name)}; rename one")
    for name, id in taken.items():
        for folder in PurePosixPath(name).parents:
            if (above := taken.get(str(folder))) is not None:
                raise DataError(f"{above} would become {text_of(str(folder))}, in which {id} would lie; rename one")


def _is_done(ledger: Ledger, job: Job, recipe: str) -> bool:
    if job.id not in ledger.lines:
        return False
    try:
        status = os.stat(job.source)  # noqa: PTH116 -- the path may not be UTF-8 and stays a plain string
    except OSError:
        return False  # the worker says why
    return ledger.is_done(job.id, recipe, job.outputs, status.st_size, status.st_mtime_ns)


def _refuse_strangers(ledger: Ledger, jobs: Sequence[Job], orphans: Sequence[Line]) -> None:
    found = [name for job in jobs for name in ledger.strangers(job.id, job.outputs)]
    makers = {name: line.id for line in orphans for name in line.outputs}
    if found and found[0] in makers:
        raise DataError(
            f"{text_of(str(ledger.out / found[0]))}: is there already, made of {makers[found[0]]}, which is no source "
            f"now ({len(found)} in all); remove it, or give another --out"
        )
    if found:
        raise DataError(
            f"{text_of(str(ledger.out / found[0]))}: is there already and was not made by an earlier "
            f"`{ledger.command}` ({len(found)} in all); remove it, or give another --out"
        )


def _results(
    ledger: Ledger, jobs: Sequence[Job], work: Work, recipes: Mapping[str, str], workers: int
) -> Iterator[tuple[_Made | Failure, tuple[Path, ...]]]:
    """What came of each job, and the temporary paths that hold it."""
    if not jobs:
        return
    folder = ledger.parts_folder()
    items = ((job, recipes[job.id], _parts(folder, number, len(job.outputs))) for number, job in enumerate(jobs))
    with closing(map_in_order(partial(_do, work), items, workers=min(workers, len(jobs)))) as results:
        for (job, _, parts), result in results:
            yield Failure(job.id, "decode", result.reason) if isinstance(result, Crash) else result, parts


def _parts(folder: Path, number: int, num_outputs: int) -> tuple[Path, ...]:
    return tuple(folder / f"{number}-{output}" for output in range(num_outputs))


def _check_failures(failures: Sequence[Failure], max_failures: int | None, out: Path) -> None:
    if max_failures is not None and len(failures) > max_failures:
        raise DataError(
            f"{len(failures)} jobs failed, {max_failures} are allowed; the latest is {failures[-1].id}: "
            f"{failures[-1].reason}; mend or remove them, or raise --max-failures and run again "
            f"(all are listed in {out / FAILED_NAME})"
        )


def _do(work: Work, item: tuple[Job, str, tuple[Path, ...]]) -> _Made | Failure:
    """One job, in a worker process."""
    job, recipe, parts = item
    _remove(parts)  # a worker that died over this job may have left some
    try:
        before = os.stat(job.source)  # noqa: PTH116 -- the path may not be UTF-8 and stays a plain string
        if not stat.S_ISREG(before.st_mode):
            return Failure(job.id, "open", "not a regular file")
        Path(job.source).open("rb").close()
    except OSError as error:
        return Failure(job.id, "open", error.strerror or str(error))
    try:
        note = work(job, parts)
        after = os.stat(job.source)  # noqa: PTH116
        changed = (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
        sizes = [None if part.is_dir() else part.stat().st_size for part in parts]
        size_bytes = sum(_folder_size(p) if s is None else s for p, s in zip(parts, sizes, strict=True))
    except SkipJob as reason:
        _remove(parts)
        return Failure(job.id, _SKIP, str(reason))
    except (DataError, EncodeError) as error:
        _remove(parts)
        stage = "encode" if isinstance(error, EncodeError) else "decode" if isinstance(error, DecodeError) else "read"
        return Failure(job.id, stage, without_path(str(error), job.source))
    except OSError as error:
        _remove(parts)
        if error.filename is not None and os.fspath(error.filename) == job.source:
            return Failure(job.id, "open", error.strerror or str(error))
        where = Path(os.fsdecode(error.filename)) if error.filename else parts[0]
        if error.errno in NO_ROOM:
            with naming_the_path(where):
                raise
        raise StorageError(f"{where}: {error.strerror or error} (while making {job.id})") from error
    if changed:
        _remove(parts)
        return Failure(job.id, "read", "has changed while it was read")
    line = Line(
        id=job.id, recipe=recipe, size=before.st_size, mtime_ns=before.st_mtime_ns, outputs=job.outputs,
        sizes=tuple(sizes), note=None if note is None else dict(note),
    )  # fmt: skip
    return _Made(line, size_bytes)


def _remove(parts: tuple[Path, ...]) -> None:
    for part in parts:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def _folder_size(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries)
