"""A pool of processes that keeps the order of its inputs and survives the death of a worker.

A decoder fed with broken files can crash the process that runs it. The pool knows which item each worker had, so a
crash costs that one item and a new process, not the run. An item is tried a second time first: the kernel may have
killed an innocent worker for memory.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from vidflow.errors import VidflowError

Item = TypeVar("Item")
Result = TypeVar("Result")

_QUEUED_PER_WORKER = 2  # the second waits in the pipe, so that a worker never idles while the parent writes
_AHEAD_PER_WORKER = 16  # results that may wait for a slow item before them
_TRIES = 2
_STOP_SECONDS = 5.0


def default_workers() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Crash:
    """What a worker's death leaves of the item that it had."""

    exit_code: int | None

    @property
    def reason(self) -> str:
        """For people."""
        if self.exit_code is not None and self.exit_code < 0:
            return f"the worker process died of {signal.Signals(-self.exit_code).name}"
        return f"the worker process ended with status {self.exit_code}"


class Failure:
    """An exception that crossed the process border; a bug keeps its traceback as text."""

    def __init__(self, error: BaseException) -> None:
        self.error = error if isinstance(error, VidflowError) else None
        self.text = "".join(traceback.format_exception(error))

    def raised(self, where: str) -> Exception:
        """The exception for this side of the border.

        Args:
            where: what it happened in.
        """
        return self.error or RuntimeError(f"{where} failed:\n{self.text}")


def _leave_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(connection: Connection, function: Callable[[Item], Result], environment: dict[str, str]) -> None:
    # The fork server still has the environment of its own start; credentials and proxies may have been set since.
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C reaches the whole group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone or has closed the pipe: nothing left to do
        connection.send("ready")
        while True:
            item = connection.recv()
            try:
                result: object = function(item)
            except Exception as error:  # noqa: BLE001 -- sent to the parent, which raises it
                result = Failure(error)
            connection.send(result)


class _Worker(Generic[Item]):
    """One process, the pipe to it, and the items that it has been given and not answered."""

    def __init__(self, function: Callable[[Item], object]) -> None:
        # Not fork: no locks, threads or open files of this process may be inherited. The fork server imports what the
        # workers need once, and ends with this process.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            [function.func.__module__ if isinstance(function, partial) else function.__module__]
        )
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, function, dict(os.environ)), daemon=True)
        self.process.start()
        other.close()
        self.ready = False
        self.queued: deque[tuple[int, Item]] = deque()

    def give(self, index: int, item: Item) -> None:
        self.queued.append((index, item))
        with contextlib.suppress(BrokenPipeError):  # it has died; the next read from the pipe says so
            self.connection.send(item)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()

    def join(self) -> int | None:
        """Wait for the end, by force if need be; the exit code."""
        self.process.join(_STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


class _Pool(Generic[Item, Result]):
    """Workers that start as items come, and the results that have arrived."""

    def __init__(self, function: Callable[[Item], Result], size: int) -> None:
        self.function, self.size = function, size
        self.workers: list[_Worker[Item]] = []
        self.done: dict[int, tuple[Item, Result | Crash]] = {}
        self.again: deque[tuple[int, Item]] = deque()
        self._tries: Counter[int] = Counter()

    def has_room(self) -> bool:
        return len(self.workers) < self.size or any(len(w.queued) < _QUEUED_PER_WORKER for w in self.workers)

    def give(self, index: int, item: Item) -> None:
        worker = min(self.workers, key=lambda w: len(w.queued), default=None)
        if worker is None or (worker.queued and len(self.workers) < self.size):
            worker = _Worker(self.function)
            self.workers.append(worker)
        worker.give(index, item)

    def wait(self) -> None:
        """Take in what the workers have sent, at least one message."""
        ready = wait([worker.connection for worker in self.workers])
        for worker in [w for w in self.workers if w.connection in ready]:
            try:
                message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                self._bury(worker)
                continue
            if not worker.ready:
                worker.ready = True
            elif isinstance(message, Failure):
                raise message.raised("a worker process")
            else:
                index, item = worker.queued.popleft()
                self.done[index] = (item, message)

    def _bury(self, worker: _Worker[Item]) -> None:
        self.workers.remove(worker)
        exit_code = worker.join()
        if not worker.ready:
            raise RuntimeError(
                f"a worker process ended with status {exit_code} before it could start; see its traceback above"
            )
        if worker.queued:
            index, item = worker.queued[0]
            self._tries[index] += 1
            if self._tries[index] >= _TRIES:
                worker.queued.popleft()
                self.done[index] = (item, Crash(exit_code))
        self.again.extend(worker.queued)

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[tuple[Item, Result | Crash], None, None]:
    """Apply a function to items in worker processes, and give the results in the order of the items.

    Close the generator (or exhaust it) to end the processes.

    Args:
        function: picklable; it runs in the workers.
        items: picklable; drawn as room comes free, so a long source is never held whole.
        workers: number of processes, at least 1.

    Yields:
        Each item with its result, or with a ``Crash`` where workers died over it.

    Raises:
        VidflowError: the function raised one.
        RuntimeError: it raised anything else (with the worker's traceback), or a worker cannot start.
    """
    source = enumerate(items)
    pool: _Pool[Item, Result] = _Pool(function, workers)
    num_drawn, next_index, exhausted = 0, 0, False
    try:
        while not exhausted or next_index < num_drawn:
            while pool.has_room():
                if pool.again:
                    pool.give(*pool.again.popleft())
                elif exhausted or num_drawn - next_index >= _AHEAD_PER_WORKER * workers:
                    break
                elif (entry := next(source, None)) is None:
                    exhausted = True
                else:
                    num_drawn += 1
                    pool.give(*entry)
            if next_index in pool.done:
                yield pool.done.pop(next_index)
                next_index += 1
            elif next_index < num_drawn:
                pool.wait()
    finally:
        pool.close()
