"""The loader: reads, decodes and executes ahead in threads; the order of its batches is decided by the seed alone."""

import hashlib
import itertools
import os
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vidflow.batch import Batch
from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.pipelines.budget import ByteBudget
from vidflow.pipelines.epoch import EpochPlan, Stage, Window, plan_evaluation, plan_training, remaining
from vidflow.pipelines.executor import Executor, ExecutorName, WorkItem, make_executor
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.reading import read_samples
from vidflow.schema import SampleRecord

# Decoded frames that may wait for their turn; one larger sample still passes, alone.
DECODED_BYTES = 512 << 20
# A batch goes through the executor in pieces of about this much: a large one never holds all its frames at once.
PIECE_BYTES = DECODED_BYTES // 4
# Finished batches that wait for the consumer.
READY_BATCHES = 2
# A reader may be waiting for a silent server: it is left behind then, and ends by itself.
STOP_SECONDS = 2.0


def default_num_threads() -> int:
    """The cores of this process's share of the machine: those it may use, over the processes that share them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@dataclass(frozen=True)
class _Share:
    """What every rank of a run agrees on."""

    batch_size: int
    seed: int
    rank: int
    world_size: int


@dataclass(frozen=True)
class _Piece:
    """Neighbouring samples of one batch on their way through the threads."""

    items: list[WorkItem]
    futures: list[Future[Any]]
    num_bytes: int
    ends_batch: bool


class Loader:
    """Batches of one split; made by ``build_loader``."""

    def __init__(
        self,
        dataset: PackedDataset,
        pipeline: ClipPipeline,
        indices: np.ndarray,
        share: _Share,
        *,
        training: bool,
        executor: Executor,
        num_threads: int,
        window: Window,
        fingerprint: str,
    ) -> None:
        self.dataset, self.pipeline, self.indices, self.training = dataset, pipeline, indices, training
        self.executor, self.num_threads = executor, num_threads
        self._share, self._window, self._fingerprint = share, window, fingerprint
        self._sizes = dataset.column("length")[indices]
        self._shards = dataset.column("shard")[indices]
        self.set_epoch(0)
        if training and not len(self):
            raise DataError(
                f"{dataset.storage.root}: {len(indices)} samples give no full batch of {share.batch_size} on each of "
                f"{share.world_size} processes; lower train.batch_size to at most {len(indices) // share.world_size}"
            )

    @property
    def batch_size(self) -> int:
        return self._share.batch_size

    @property
    def num_samples(self) -> int:
        """Samples of an epoch over all ranks, padding not counted."""
        if not self.training:
            return len(self.indices)
        return len(self) * self._share.batch_size * self._share.world_size

    def __len__(self) -> int:
        """Batches of this rank in the epoch, equal on every rank; of what is left, after a resume with other ranks."""
        return -(-len(self._plan.order) // self._share.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._begin(epoch, ())

    def _begin(self, epoch: int, stages: tuple[Stage, ...]) -> None:
        self.epoch, self.position, self._stages = epoch, 0, stages
        share = self._share
        if not self.training:
            self._plan = plan_evaluation(self.indices, rank=share.rank, world_size=share.world_size)
            return
        line, sizes = remaining(
            self.indices, self._shards, self._sizes, stages, seed=share.seed, epoch=epoch, window=self._window
        )
        self._plan = plan_training(
            line,
            sizes,
            seed=share.seed,
            epoch=epoch,
            rank=share.rank,
            world_size=share.world_size,
            batch_size=share.batch_size,
            window=self._window,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands: plain values, the same on every rank."""
        return {
            "epoch": self.epoch,
            "num_batches": self.position,
            "batch_size": self._share.batch_size,
            "world_size": self._share.world_size,
            "stages": [vars(stage) for stage in self._stages],
            "seed": self._share.seed,
            "fingerprint": self._fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken: what was handed out is not read again, also with another world size.

        Raises:
            DataError: the data set, the split, the filter or the seed is another one.
        """
        if (state["fingerprint"], state["seed"]) != (self._fingerprint, self._share.seed):
            raise DataError(
                f"{self.dataset.storage.root}: the saved position belongs to other shards, another split, filter "
                "or seed; resume with the data and the config of the first run, or start a new run"
            )
        stages = tuple(Stage(**stage) for stage in state["stages"])
        same = (state["batch_size"], state["world_size"]) == (self._share.batch_size, self._share.world_size)
        if same or not state["num_batches"]:
            self._begin(state["epoch"], stages)
            self.position = state["num_batches"]
            return
        done = Stage(world_size=state["world_size"], batch_size=state["batch_size"], num_batches=state["num_batches"])
        self._begin(state["epoch"], (*stages, done))

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the epoch; at its end the loader stands at the start of the next one."""
        run = _Run(self, self._plan.skip(self.position * self._share.batch_size))
        try:
            for batch in run:
                self.position += 1
                yield batch
        finally:
            run.stop()
        self.set_epoch(self.epoch + 1)

    def work_item(self, index: int, record: SampleRecord, data: bytes) -> WorkItem:
        """A sample with its plan for the current epoch; evaluation draws the same plan in every epoch."""
        rng = sample_rng(self._share.seed, self.epoch if self.training else 0, index)
        return WorkItem(record, make_plan(record, self.pipeline, rng), data)

    def targets(self, items: list[WorkItem]) -> dict[str, torch.Tensor]:
        """Labels as the plan leaves them: int64 [B], or float32 [B, K] for multi-label sets."""
        labels = [item.plan.move_labels(item.record.labels, self.pipeline.flip_labels) for item in items]
        if not self.dataset.info.multi_label:
            for item in items:
                if len(item.record.labels) != 1:
                    raise DataError(
                        f"sample {item.record.key} ({item.record.id}): "
                        f"has labels {list(item.record.labels)}, needs exactly one"
                    )
            return {"labels": torch.tensor([label for (label,) in labels], dtype=torch.int64)}
        hot = torch.zeros(len(items), len(self.dataset.info.classes))
        for row, values in zip(hot, labels, strict=True):
            row[list(values)] = 1.0
        return {"labels": hot}


class _Run:
    """The threads of one pass: a reader that submits decoding, an assembler that finishes batches in order."""

    def __init__(self, loader: Loader, plan: EpochPlan) -> None:
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

    def _items(self) -> Iterator[WorkItem]:
        """The work items in the plan's order; encoded samples wait here until their turn."""
        indices, counts = np.unique(self.plan.order, return_counts=True)
        uses = dict(zip(indices.tolist(), counts.tolist(), strict=True))
        samples = read_samples(self.loader.dataset, self.plan.reads)
        waiting: dict[int, tuple[SampleRecord, bytes]] = {}
        for index in self.plan.order.tolist():
            while index not in waiting:
                position, record, data = next(samples)
                waiting[position] = (record, data)
            uses[index] -= 1
            record, data = waiting[index] if uses[index] else waiting.pop(index)
            yield self.loader.work_item(index, record, data)

    def _read(self) -> None:
        left = len(self.plan.order)
        items: list[WorkItem] = []
        in_batch = num_bytes = 0
        for item in self._items():
            left, in_batch = left - 1, in_batch + 1
            items.append(item)
            num_bytes += item.num_bytes
            ends_batch = in_batch == self.loader.batch_size or not left
            if ends_batch or num_bytes >= PIECE_BYTES:
                if not self._budget.take(num_bytes):
                    return
                futures = [self._pool.submit(self.loader.executor.prepare, item) for item in items]
                if not self._put(self._pieces, _Piece(items, futures, num_bytes, ends_batch)):
                    return
                items, num_bytes = [], 0
            in_batch = 0 if ends_batch else in_batch

    def _assemble(self) -> None:
        rows = zip(self.plan.order.tolist(), self.plan.padding.tolist(), strict=True)
        items: list[WorkItem] = []
        clips: list[torch.Tensor] = []
        while (piece := self._get(self._pieces)) is not None:
            if isinstance(piece, BaseException):
                raise piece
            clips.append(self.loader.executor.assemble(piece.items, [future.result() for future in piece.futures]))
            self._budget.give(piece.num_bytes)
            items += piece.items
            if not piece.ends_batch:
                continue
            indices, padding = zip(*itertools.islice(rows, len(items)), strict=True)
            batch = Batch(
                ids=[item.record.id for item in items],
                indices=torch.tensor(indices, dtype=torch.int64),
                inputs={"clips": clips[0] if len(clips) == 1 else torch.cat(clips)},
                targets=self.loader.targets(items),
                padding=torch.tensor(padding),
            )
            items, clips = [], []
            if not self._put(self._ready, batch):
                return

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


def _refuse_other_kinds(dataset: PackedDataset, indices: np.ndarray) -> None:
    kinds = set(dataset.column("kind")[indices].tolist()) - {"video"}
    if kinds:
        raise DataError(
            f"{dataset.storage.root}: holds samples of kind {', '.join(sorted(kinds))}, "
            "a clip pipeline reads video only; select with where = \"kind == 'video'\", or use another pipeline"
        )


def build_loader(
    dataset: PackedDataset,
    pipeline: ClipPipeline,
    *,
    split: str,
    where: str = "",
    batch_size: int,
    training: bool,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
    executor: ExecutorName = "auto",
    num_threads: int | None = None,
    window: Window | None = None,
    limit: int | None = None,
) -> Loader:
    """A loader over the samples of a split that a pandas query keeps.

    Training shuffles, and gives full batches only, equally many on every rank. Evaluation keeps the manifest's order
    and fills the last ranks up with samples marked as ``padding``.

    Args:
        where: condition over the manifest's columns, such as ``"duration > 2"``; empty keeps all.
        batch_size: samples per batch and rank.
        device: where the clips shall be.
        num_threads: CPU threads that decode and resample; by default this process's share of the cores.
        window: bounds of the shuffle.
        limit: keep only the first samples of the selection, for trials and measurements.

    Raises:
        DataError: no such split, an empty selection, or too few samples for one batch per rank.
    """
    if batch_size < 1 or not 0 <= rank < world_size:
        raise ValueError(
            f"batch_size must be positive and rank in [0, world_size), not {batch_size}, {rank}, {world_size}"
        )
    indices = dataset.select(split, where)[:limit]
    _refuse_other_kinds(dataset, indices)
    threads = num_threads or default_num_threads()
    parts = [*(f"{shard.name} {shard.sha256}" for shard in dataset.info.shards), split, where, str(len(indices))]
    return Loader(
        dataset,
        pipeline,
        indices,
        _Share(batch_size, seed, rank, world_size),
        training=training,
        executor=make_executor(pipeline.normalize, name=executor, device=device, num_threads=threads),
        num_threads=threads,
        window=window or Window(),
        fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
    )
