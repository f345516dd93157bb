"""One pass of a loader: a reader that submits decoding, and an assembler that finishes batches in order."""

import itertools
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vidflow.batch import Batch, SkippedSample
from vidflow.errors import DecodeError, VidflowError
from vidflow.members import stream_bytes
from vidflow.pipelines.budget import ByteBudget
from vidflow.pipelines.epoch import EpochPlan
from vidflow.pipelines.heap import release_freed_memory
from vidflow.pipelines.inputs import Content, Item
from vidflow.pipelines.reading import read_leniently
from vidflow.schema import SampleRecord

if TYPE_CHECKING:
    from vidflow.pipelines.loader import Loader

# Decoded frames that may wait for their turn; one larger sample still passes, alone.
DECODED_BYTES = 512 << 20
# A batch goes through the executor in pieces of about this much: a large one never holds all its frames at once.
PIECE_BYTES = DECODED_BYTES // 4
# Finished batches that wait for the consumer.
READY_BATCHES = 2
# A reader may be waiting for a silent server: it is left behind then, and ends by itself.
STOP_SECONDS = 2.0

Inputs = dict[str, torch.Tensor]
"""By name, [rows, ...]."""


@dataclass(frozen=True)
class _Job:
    """One sample on its way through the threads."""

    item: Item
    prepared: "Future[Any] | VidflowError"
    """What the maker's first step gives, or why the sample could not be read."""


@dataclass(frozen=True)
class _Piece:
    """Neighbouring samples of one batch."""

    jobs: list[_Job]
    num_bytes: int
    ends_batch: bool


class Feed:
    """The threads of one pass; iterating gives its batches."""

    def __init__(self, loader: "Loader", plan: EpochPlan) -> None:
        self.loader, self.plan = loader, plan
        self._stop = threading.Event()
        self._budget = ByteBudget(DECODED_BYTES, self._stop)
        self._pool = ThreadPoolExecutor(loader.num_threads, thread_name_prefix="vidflow-decode")
        # The budget bounds the decoded side; this bounds the encoded side for tiny clips.
        self._pieces: queue.Queue[_Piece | BaseException | None] = queue.Queue(4)
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(READY_BATCHES)
        self._threads = [
            threading.Thread(
                target=self._guard, args=(work, out), name=f"vidflow-{work.__name__.strip('_')}", daemon=True
            )
            for work, out in ((self._read, self._pieces), (self._assemble, self._ready))
        ]
        for thread in self._threads:
            thread.start()

    def _put(self, out: queue.Queue[Any], value: object) -> bool:
        while not self._stop.is_set():
            try:
                out.put(value, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _get(self, source: queue.Queue[Any]) -> Any:
        while not self._stop.is_set():
            try:
                return source.get(timeout=0.1)
            except queue.Empty:
                continue
        return None

    def _guard(self, work: Any, out: queue.Queue[Any]) -> None:
        """Run a thread's work; what goes wrong travels to the consumer, and so does the end."""
        end: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- handed over and raised in the consumer's thread
            end = error
        self._put(out, end)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _encoded(self) -> Iterator[tuple[int, SampleRecord, Content | VidflowError]]:
        """The plan's entries in the order in which they are read."""
        loader, reads = self.loader, self.plan.reads
        samples = read_leniently(
            loader.dataset,
            loader.manifest_index(reads),
            checksums=loader.checksums,
            damaged=loader.note_damage if loader.skips else None,
        )
        for entry, (_, record, found) in zip(reads.tolist(), samples, strict=True):
            if isinstance(found, VidflowError) or record.video is None or record.skeleton is not None:
                yield entry, record, found
            else:
                yield entry, record, stream_bytes(record, found)

    def _ordered(self) -> Iterator[tuple[Item, VidflowError | None]]:
        """The work items in the plan's order; encoded samples wait here until their turn."""
        entries, counts = np.unique(self.plan.order, return_counts=True)
        uses = dict(zip(entries.tolist(), counts.tolist(), strict=True))
        samples = self._encoded()
        waiting: dict[int, tuple[SampleRecord, Content | VidflowError]] = {}
        for entry in self.plan.order.tolist():
            while entry not in waiting:
                position, record, data = next(samples)
                waiting[position] = (record, data)
            uses[entry] -= 1
            record, data = waiting[entry] if uses[entry] else waiting.pop(entry)
            if isinstance(data, VidflowError):
                yield self.loader.item(entry, record, b""), data
            else:
                yield self.loader.item(entry, record, data), None
        # The reader judges a shard behind its last sample.
        assert next(samples, None) is None

    def _read(self) -> None:
        left = len(self.plan.order)
        items: list[tuple[Item, VidflowError | None]] = []
        in_batch = num_bytes = 0
        for item, error in self._ordered():
            left, in_batch = left - 1, in_batch + 1
            items.append((item, error))
            num_bytes += 0 if error else item.num_bytes
            ends_batch = in_batch == self.loader.batch_size or not left
            if ends_batch or num_bytes >= PIECE_BYTES:
                if not self._budget.take(num_bytes):
                    return
                prepare = self.loader.maker.prepare
                jobs = [_Job(item, error or self._pool.submit(prepare, item)) for item, error in items]
                if not self._put(self._pieces, _Piece(jobs, num_bytes, ends_batch)):
                    return
                items, num_bytes = [], 0
            in_batch = 0 if ends_batch else in_batch

    # -- assembling ------------------------------------------------------------------------------------------------

    def _rows(self, jobs: list[_Job]) -> tuple[list[Inputs], dict[int, VidflowError]]:
        """Inputs of the plans of samples that come out, in parts, and why others do not, by their number."""
        bad: dict[int, VidflowError] = {}
        items: list[Item] = []
        prepared: list[Any] = []
        for row, job in enumerate(jobs):
            if isinstance(job.prepared, VidflowError):
                bad[row] = job.prepared
                continue
            try:
                prepared.append(job.prepared.result())
            except DecodeError as error:
                if not self.loader.skips:
                    raise
                bad[row] = error
            else:
                items.append(job.item)
        if not items:
            return [], bad
        assemble = self.loader.maker.assemble
        try:
            return [assemble(items, prepared)], bad
        except DecodeError:
            if not self.loader.skips:
                raise
        # A decoder inside the graph refuses all samples together: each gets its own try.
        parts: list[Inputs] = []
        rows = [row for row in range(len(jobs)) if row not in bad]
        for row, item, ready in zip(rows, items, prepared, strict=True):
            try:
                parts.append(assemble([item], [ready]))
            except DecodeError as error:
                bad[row] = error
        return parts, bad

    def _assemble(self) -> None:
        entries = zip(self.plan.order.tolist(), self.plan.padding.tolist(), strict=True)
        items: list[Item] = []
        parts: list[Inputs] = []
        bad: dict[int, VidflowError] = {}
        while (piece := self._get(self._pieces)) is not None:
            if isinstance(piece, BaseException):
                raise piece
            new, refused = self._rows(piece.jobs)
            self._budget.give(piece.num_bytes)
            bad |= {len(items) + number: error for number, error in refused.items()}
            parts += new
            items += [job.item for job in piece.jobs]
            if not piece.ends_batch:
                continue
            batch = self._batch(items, list(itertools.islice(entries, len(items))), parts, bad)
            items, parts, bad = [], [], {}
            if not self._put(self._ready, batch):
                return

    def _batch(
        self,
        items: list[Item],
        entries: list[tuple[int, bool]],
        parts: list[Inputs],
        bad: dict[int, VidflowError],
    ) -> Batch:
        """A batch of some items, a row for each of their plans.

        Args:
            entries: of the epoch, and whether each is padding.
            parts: the inputs of the items that are not in ``bad``, in order.
            bad: by the item's number.
        """
        owners = [number for number, item in enumerate(items) for _ in item.plans]
        indices = self.loader.manifest_index(np.array([entry for entry, _ in entries]))
        plans = [plan.inputs for item in items for plan in item.plans]
        known = {name: torch.from_numpy(np.stack([plan[name] for plan in plans])) for name in plans[0]}
        blank = self.loader.maker.blank(items[0]) if bad else {}
        batch = Batch(
            ids=[items[number].record.id for number in owners],
            indices=torch.from_numpy(indices[owners]),
            inputs=_joined(parts, [number not in bad for number in owners], blank) | known,
            targets=self.loader.targets(items),
            padding=torch.tensor([entries[number][1] for number in owners]),
            skipped=tuple(
                SkippedSample(row, items[number].record.key, items[number].record.id, str(bad[number]))
                for row, number in enumerate(owners)
                if number in bad
            ),
            source=self.loader.name,
        )
        # Here and not in the consumer's thread, which would wait for it.
        return batch.pinned() if self.loader.device.type == "cuda" else batch

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self._get(self._ready)) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    def stop(self) -> None:
        """End all threads; called at the end of a pass, and when the consumer leaves early."""
        self._stop.set()
        self._budget.wake()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        release_freed_memory()


def _joined(parts: Sequence[Inputs], good: list[bool], blank: Inputs) -> Inputs:
    """Inputs [B, ...]: the parts in the rows that are good, zeros in the others.

    Args:
        blank: one row of zeros, [1, ...]; not looked at where any row is good.
    """
    if all(good):
        return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if not parts:
        return {name: row.expand(len(good), *row.shape[1:]).clone() for name, row in blank.items()}
    joined = {}
    for name in parts[0]:
        rows = torch.cat([part[name] for part in parts])
        joined[name] = rows.new_zeros(len(good), *rows.shape[1:])
        joined[name][torch.tensor(good)] = rows
    return joined
