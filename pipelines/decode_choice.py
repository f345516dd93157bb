"""``decode = "auto"``: time a few samples with each way of decoding, and take the faster one.

A GPU may lose on small clips, where starting its decoder takes longer than the CPU needs for all frames. What is faster
depends on the clips, the plan, the chip and the cores, so it is measured, with as many threads as the loader will have.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, DecodeError, VidflowError
from vidflow.members import stream_bytes
from vidflow.pipelines.executor import Decode, Executor
from vidflow.pipelines.plan import make_plans
from vidflow.pipelines.reading import read_leniently
from vidflow.pipelines.work import WorkItem

# Samples that are timed, at most, and seconds after which no further round begins.
NUM_SAMPLES = 16
MAX_SECONDS = 5.0
NUM_ROUNDS = 3
# The first one is taken where both are equally fast: it leaves the CPU to other work.
_WAYS: tuple[Decode, ...] = ("gpu", "cpu")


@dataclass(frozen=True, eq=False)
class DecodeChoice:
    """What was measured, and what follows."""

    name: str
    executor: Executor
    rates: dict[str, float]
    """Clips per second by the name of the way; 0 where it does not work."""
    num_samples: int

    def describe(self) -> str:
        """One line for people.

        >>> DecodeChoice("cpu", None, {"cpu": 210.0, "gpu": 84.4}, 16).describe()
        'decode = "cpu", as measured on 16 samples: cpu 210 clips/s, gpu 84 clips/s'
        """
        rates = ", ".join(
            f"{name} {rate:.0f} clips/s" if rate else f"{name} does not work" for name, rate in self.rates.items()
        )
        return f'decode = "{self.name}", as measured on {self.num_samples} samples: {rates}'


def choose_decoder(
    ways: Mapping[str, Callable[[], Executor]],
    items: Sequence[WorkItem],
    *,
    batch_size: int,
    num_threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> DecodeChoice:
    """The fastest way, by the best of a few rounds taken in turns after one round that warms up.

    A way that fails (RuntimeError) counts as not working. Where all work equally or there is nothing to time, the first
    one is taken.

    Args:
        ways: name -> function that makes the executor.
        items: samples as the loader will give them; those that do not decode are left out.

    Raises:
        RuntimeError: no way works.
    """
    executors: dict[str, Executor] = {}
    rates: dict[str, float] = {}
    failures: list[RuntimeError] = []
    good = list(items)
    with ThreadPoolExecutor(num_threads, thread_name_prefix="vidflow-measure") as pool:
        for name, make in ways.items():
            rates[name] = 0.0
            try:
                executor = make()
                good = _warm_up(executor, good, batch_size, pool)
            except RuntimeError as error:
                failures.append(error)
            else:
                executors[name] = executor
        if not executors:
            raise failures[0]
        end = clock() + MAX_SECONDS
        for number in range(NUM_ROUNDS if len(executors) > 1 and good else 0):
            if number and clock() > end:
                break
            for name, executor in executors.items():
                start = clock()
                for batch in _batches(good, batch_size):
                    _run(executor, batch, pool)
                rates[name] = max(rates[name], len(good) / max(clock() - start, 1e-9))
    best = max(executors, key=lambda name: rates[name])
    return DecodeChoice(best, executors[best], rates, len(good))


def _batches(items: list[WorkItem], batch_size: int) -> Iterator[list[WorkItem]]:
    for start in range(0, len(items), batch_size):
        yield items[start : start + batch_size]


def _run(executor: Executor, items: list[WorkItem], pool: ThreadPoolExecutor) -> None:
    views = executor.assemble(items, list(pool.map(executor.prepare, items)))
    if views.is_cuda:
        torch.cuda.synchronize(views.device)


def _warm_up(executor: Executor, items: list[WorkItem], batch_size: int, pool: ThreadPoolExecutor) -> list[WorkItem]:
    """Build graphs and start decoders; gives the samples that come out."""
    futures = [(item, pool.submit(executor.prepare, item)) for item in items]
    prepared = []
    for item, future in futures:
        try:
            future.result()
        except DecodeError:  # the loader will meet it again, and say so
            continue
        prepared.append(item)
    good = []
    for batch in _batches(prepared, batch_size):
        try:
            _run(executor, batch, pool)
        except DecodeError:  # a decoder inside the graph refuses all samples together
            good += [item for item in batch if _comes_out(executor, item, pool)]
        else:
            good += batch
    return good


def _comes_out(executor: Executor, item: WorkItem, pool: ThreadPoolExecutor) -> bool:
    try:
        _run(executor, [item], pool)
    except DecodeError:
        return False
    return True


def choose_executor(
    dataset: PackedDataset,
    pipeline: ClipPipeline,
    indices: np.ndarray,
    *,
    make: Callable[[Decode], Executor],
    can_choose: bool,
    decode: Decode,
    batch_size: int,
    num_threads: int,
) -> tuple[Executor, str]:
    """The executor of a loader, and a line for people where it was chosen by measuring, else an empty one.

    Args:
        indices: int64 [n], positions in the manifest; the first few are measured.
        make: makes an executor with a way of decoding.
        can_choose: whether the device decodes at all.

    Raises:
        DataError: the samples cannot be read.
    """
    if decode != "auto" or not can_choose:
        return make(decode), ""
    items = _first_items(dataset, pipeline, indices[: min(NUM_SAMPLES, 2 * batch_size)])
    ways: dict[str, Callable[[], Executor]] = {name: partial(make, name) for name in _WAYS}
    choice = choose_decoder(ways, items, batch_size=batch_size, num_threads=num_threads)
    choice.executor.num_decoded_on_cpu.clear()  # of the samples that were measured, several times
    return choice.executor, choice.describe()


def _first_items(dataset: PackedDataset, pipeline: ClipPipeline, indices: np.ndarray) -> list[WorkItem]:
    """Samples to measure; damaged ones are left out, the loader will meet them again and say so."""
    items = []
    samples = read_leniently(dataset, indices, checksums=False, damaged=lambda _: None)
    for index, record, found in samples:
        if isinstance(found, VidflowError):
            continue
        try:
            data = found if record.video is None else stream_bytes(record, found)
            plan, *more = make_plans(record, pipeline, seed=0, epoch=0, index=index)
        except (DataError, DecodeError):
            continue
        items.append(WorkItem(record, plan, data, tuple(more)))
    return items
