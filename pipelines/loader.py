"""The loader: reads, decodes and executes ahead in threads; the order of its batches is decided by the seed alone."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from vidflow.batch import Batch
from vidflow.config.any_pipeline import Pipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError, VidflowError
from vidflow.pipelines.draws import Group, draw
from vidflow.pipelines.epoch import Stage, Window, plan_evaluation, plan_training, remaining
from vidflow.pipelines.executor import Decode, Executor, ExecutorName
from vidflow.pipelines.feeding import Feed
from vidflow.pipelines.heap import keep_freed_memory
from vidflow.pipelines.inputs import ClipMaker, Content, InputMaker, Item
from vidflow.pipelines.kinds import MakerSettings, make_inputs
from vidflow.pipelines.plan import sample_rng
from vidflow.pipelines.shared_bytes import is_supported
from vidflow.schema import SampleRecord

BadSamples = Literal["raise", "skip"]
Workers = Literal["auto", "threads", "processes"]

# To start a process takes as long as to decode some dozens of small clips.
SAMPLES_PER_PROCESS = 32


def default_num_threads() -> int:
    """The cores of this process's share of the machine: those it may use, over the processes that share them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def takes_processes(workers: Workers, *, num_threads: int, num_samples: int) -> bool:
    """Whether processes decode: with ``auto``, where there are several and they have enough to do.

    Raises:
        ConfigError: they are asked for, and this system has no memory that processes share without a name.
    """
    if workers == "processes" and not is_supported():
        raise ConfigError("workers = 'processes' needs Linux; use 'threads'")
    enough = num_threads > 1 and num_samples >= SAMPLES_PER_PROCESS * num_threads
    return workers == "processes" or (workers == "auto" and enough and is_supported())


@dataclass(frozen=True)
class _Share:
    """What every rank of a run agrees on."""

    batch_size: int
    seed: int
    rank: int
    world_size: int


class Loader:
    """Batches of one split; made by ``build_loader``."""

    def __init__(
        self,
        dataset: PackedDataset,
        pipeline: Pipeline,
        indices: np.ndarray,
        share: _Share,
        *,
        training: bool,
        maker: InputMaker,
        decode_note: str,
        device: torch.device,
        num_threads: int,
        window: Window,
        groups: Sequence[Group],
        fingerprint: str,
        skips: bool,
        checksums: bool,
        name: str,
    ) -> None:
        self.dataset, self.pipeline, self.indices, self.training = dataset, pipeline, indices, training
        self.maker, self.num_threads, self.device = maker, num_threads, device
        self.decode_note = decode_note
        """What was measured to choose the decoder; empty where nothing was."""
        self.skips, self.checksums, self.name = skips, checksums, name
        self.damage: list[str] = []
        """What is wrong with shards as a whole, where bad samples are skipped; each is told once."""
        self._share, self._window, self._groups, self._fingerprint = share, window, groups, fingerprint
        self._sizes = dataset.column("length")[indices]
        names = dataset.table.column("shard").dictionary_encode().combine_chunks()
        self._shards = np.from_dlpack(names.indices)[indices].astype(np.int64)
        self.set_epoch(0)
        if training and not len(self):
            count = sum(group.quota for group in groups)
            raise DataError(
                f"{dataset.storage.root}: {count} samples give no full batch of {share.batch_size} on each of "
                f"{share.world_size} processes; lower train.batch_size to at most {count // share.world_size}"
            )

    @property
    def executor(self) -> Executor:
        """What makes the clips of a clip pipeline."""
        assert isinstance(self.maker, ClipMaker)
        return self.maker.executor

    @property
    def batch_size(self) -> int:
        return self._share.batch_size

    @property
    def world_size(self) -> int:
        return self._share.world_size

    @property
    def num_samples(self) -> int:
        """Samples of the epoch over all ranks, padding not counted; with what was read before a resume."""
        if not self.training:
            return len(self.indices)
        earlier = sum(stage.num_batches * stage.batch_size * stage.world_size for stage in self._stages)
        return earlier + len(self) * self._share.batch_size * self._share.world_size

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
            self._draws = draw([Group(np.arange(len(self.indices)), len(self.indices))], seed=0, epoch=0)
            entries = np.arange(len(self.indices))
            self._plan = plan_evaluation(entries, rank=share.rank, world_size=share.world_size)
            return
        self._draws = draw(self._groups, seed=share.seed, epoch=epoch)
        positions, repeats = self._draws.positions, self._draws.repeats
        # Each repeat passes through the shards on its own, so that the same sample does not come twice in a row.
        passes = repeats * (int(self._shards.max()) + 1) + self._shards[positions]
        line, sizes = remaining(
            np.arange(len(positions)),
            passes,
            self._sizes[positions],
            stages,
            seed=share.seed,
            epoch=epoch,
            window=self._window,
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

    def manifest_index(self, entries: np.ndarray) -> np.ndarray:
        """int64 [n], positions in the manifest of some entries of the epoch."""
        return np.asarray(self.indices[self._draws.positions[entries]])

    def note_damage(self, error: VidflowError) -> None:
        """Keep what is wrong with a shard for the consumer."""
        if str(error) not in self.damage:
            self.damage.append(str(error))

    def take_decoded_on_cpu(self) -> Counter[str]:
        """Samples since the last call that the GPU was meant to decode, and the CPU has decoded, by reason."""
        counts = Counter(self.maker.num_decoded_on_cpu)
        self.maker.num_decoded_on_cpu.clear()
        return counts

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
        run = Feed(self, self._plan.skip(self.position * self._share.batch_size))
        try:
            for batch in run:
                self.position += 1
                yield batch
        finally:
            run.stop()
        self.set_epoch(self.epoch + 1)

    def item(self, entry: int, record: SampleRecord, data: Content) -> Item:
        """An entry of the epoch with its plans, one of which evaluation draws, and the same in every epoch."""
        draws, seed = self._draws, self._share.seed
        index, before = int(self.indices[draws.positions[entry]]), int(draws.repeats[entry])
        count, epoch = (self.pipeline.repeats, self.epoch) if self.training else (1, 0)
        repeats = range(before * count, (before + 1) * count)
        item: Item = self.maker.item(record, data, [sample_rng(seed, epoch, index, repeat) for repeat in repeats])
        return item

    def targets(self, items: list[Item]) -> dict[str, torch.Tensor]:
        """Labels as the plans leave them, a row for each: int64 [B], or float32 [B, K] for multi-label sets."""
        flips = self.pipeline.flip_labels
        labels = [plan.move_labels(item.record.labels, flips) for item in items for plan in item.plans]
        if not self.dataset.info.multi_label:
            for item in items:
                if len(item.record.labels) != 1:
                    raise DataError(
                        f"sample {item.record.key} ({item.record.id}): "
                        f"has labels {list(item.record.labels)}, needs exactly one"
                    )
            return {"labels": torch.tensor([label for (label,) in labels], dtype=torch.int64)}
        hot = torch.zeros(len(labels), len(self.dataset.info.classes))
        for row, values in zip(hot, labels, strict=True):
            row[list(values)] = 1.0
        return {"labels": hot}


def build_loader(
    dataset: PackedDataset,
    pipeline: Pipeline,
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
    decode: Decode = "auto",
    num_threads: int | None = None,
    workers: Workers = "auto",
    window: Window | None = None,
    limit: int | None = None,
    on_bad_sample: BadSamples = "raise",
    checksums: bool = False,
) -> Loader:
    """A loader over the samples of a split that a pandas query keeps.

    Training shuffles, and gives full batches only, equally many on every rank. Evaluation keeps the manifest's order
    and fills the last ranks up with samples marked as ``padding``.

    Args:
        where: condition over the manifest's columns, such as ``"duration > 2"``; empty keeps all.
        batch_size: samples per batch and rank.
        device: where the clips shall be.
        decode: what decodes where they shall be on a GPU; ``auto`` measures.
        num_threads: CPU threads that decode and resample; by default this process's share of the cores.
        workers: whether these threads decode themselves, or a process for each does; see ``DataConfig.workers``.
        window: bounds of the shuffle.
        limit: keep only the first samples of the selection, for trials and measurements.
        on_bad_sample: ``skip`` gives rows of zeros for samples that are damaged, see ``Batch.skipped``.
        checksums: compare the SHA-256 of each shard that is read from end to end.

    Raises:
        ConfigError: ``decode`` is ``gpu``, and the device or the executor cannot.
        DataError: no such split, an empty selection, or too few samples for one batch per rank.
    """
    return make_loader(
        dataset,
        pipeline,
        dataset.select(split, where)[:limit],
        selection=(split, where),
        batch_size=batch_size,
        training=training,
        seed=seed,
        rank=rank,
        world_size=world_size,
        device=device,
        executor=executor,
        decode=decode,
        num_threads=num_threads,
        workers=workers,
        window=window,
        on_bad_sample=on_bad_sample,
        checksums=checksums,
    )


def make_loader(
    dataset: PackedDataset,
    pipeline: Pipeline,
    indices: np.ndarray,
    *,
    selection: Sequence[str],
    groups: Sequence[Group] = (),
    name: str = "",
    batch_size: int,
    training: bool,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
    executor: ExecutorName = "auto",
    decode: Decode = "auto",
    num_threads: int | None = None,
    workers: Workers = "auto",
    window: Window | None = None,
    on_bad_sample: BadSamples = "raise",
    checksums: bool = False,
) -> Loader:
    """A loader over chosen samples; see ``build_loader``.

    Args:
        indices: int64 [n], positions in the manifest, ascending.
        selection: what they were selected by, as far as it decides them; a saved position belongs to it.
        groups: what an epoch draws; empty draws each sample once.
        name: of the source, for the batches.
    """
    if batch_size < 1 or not 0 <= rank < world_size:
        raise ValueError(
            f"batch_size must be positive and rank in [0, world_size), not {batch_size}, {rank}, {world_size}"
        )
    keep_freed_memory()
    threads = num_threads or default_num_threads()
    shards = (f"{shard.name} {shard.sha256}" for shard in dataset.info.shards)
    quotas = (f"{len(group.members)} {group.quota}" for group in groups)
    parts = [*shards, *selection, str(len(indices)), *quotas]
    device = torch.device(device)
    settings = MakerSettings(
        batch_size=batch_size,
        device=device,
        executor=executor,
        decode=decode,
        num_threads=threads,
        processes=takes_processes(workers, num_threads=threads, num_samples=len(indices) // world_size),
    )
    maker, note = make_inputs(dataset, pipeline, indices, settings)
    return Loader(
        dataset,
        pipeline,
        indices,
        _Share(batch_size, seed, rank, world_size),
        training=training,
        maker=maker,
        decode_note=note,
        device=device,
        num_threads=threads,
        window=window or Window(),
        groups=groups or [Group(np.arange(len(indices)), len(indices))],
        fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        skips=on_bad_sample == "skip",
        checksums=checksums,
        name=name,
    )
