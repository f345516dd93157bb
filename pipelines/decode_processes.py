"""Decoding on the CPU in processes beside this one.

Threads that decode take turns at Python's lock some hundred times per clip, which on small clips costs a third of the
cores. These processes decode and resample as ``prepare_on_host`` does, and give equal pixels; they hold neither torch
nor DALI, start in a third of a second, and are shared by all loaders of the process that has started them. Until they
are ready the calling threads decode themselves.
"""

import atexit
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from vidflow.errors import DecodeError, VidflowError
from vidflow.pipelines.decode_messages import READY, Places, put_job, take_sources
from vidflow.pipelines.shared_bytes import SharedBytes
from vidflow.pipelines.work import Source, WorkItem, prepare_on_host

# What FFmpeg does when a file makes it fail: the sample's fault, and not that of whoever sends a signal.
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
_END_SECONDS = 2.0
# Ctrl-C and a scheduler's SIGTERM reach all processes of a job; the training process decides when to end.
_FOR_ALL = (signal.SIGINT, signal.SIGTERM)
# Not `-m`, so that the signals are ignored before anything is imported.
_START = """import signal, sys
for number in map(int, sys.argv[1].split(",")):
    signal.signal(number, signal.SIG_IGN)
from vidflow.pipelines.decode_worker import main
main(sys.argv[2:])"""
# What one large sample has needed is given back behind it.
_KEPT_BYTES = 64 << 20


class DecodeProcesses:
    """A number of processes that decode, each for one thread at a time."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._failure: VidflowError | None = None
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def ensure(self, count: int) -> None:
        """Have at least this many; those that are missing are started, and nobody waits for them."""
        with self._lock:
            new = [_Worker() for _ in range(count - len(self._workers))]
            self._workers += new
        for worker in new:
            worker.starter = threading.Thread(
                target=self._wait_for, args=(worker,), name="vidflow-worker-start", daemon=True
            )
            worker.starter.start()

    def __call__(self, item: WorkItem, *, resample: bool) -> list[Source]:
        """As ``prepare_on_host``; called from several threads at once.

        Raises:
            DecodeError: naming the sample, also where it has brought the process down.
            VidflowError: a process did not start, or was killed.
        """
        if os.getpid() != self._owner:  # a fork, whose parent they work for
            return prepare_on_host(item, resample=resample)
        if self._failure is not None:
            raise self._failure
        try:
            worker = self._free.get_nowait()
        except queue.Empty:
            return prepare_on_host(item, resample=resample)
        try:
            answer = worker.run(item, resample=resample)
        except (EOFError, ConnectionError):
            self._replace(worker)
            raise _death(item, worker.end()) from None
        except BaseException:  # half of an answer may be on its way
            self._replace(worker)
            worker.stop()
            worker.end()
            raise
        self._free.put(worker)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End all processes; what is being decoded is lost."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            workers, self._workers, self._free = self._workers, [], queue.SimpleQueue()
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.end()

    def _wait_for(self, worker: "_Worker") -> None:
        if worker.is_ready():
            self._free.put(worker)
            return
        status = worker.wait()
        with self._lock:
            if worker not in self._workers:  # closed meanwhile
                return
            if -status in _FOR_ALL:
                self._workers.remove(worker)
                return
        self._failure = VidflowError(
            f"a process for decoding ended with status {status} before it was ready (its own message is above); "
            "use data.workers = 'threads'"
        )

    def _replace(self, worker: "_Worker") -> None:
        with self._lock:
            if worker not in self._workers:  # closed meanwhile
                return
            self._workers.remove(worker)
            count = len(self._workers) + 1
        self.ensure(count)


class _Worker:
    """One process, and what is shared with it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._connection = Connection(ours.detach())
            self._encoded, self._pixels = SharedBytes.create("vidflow-encoded"), SharedBytes.create("vidflow-pixels")
            descriptors = (theirs.fileno(), self._encoded.fd, self._pixels.fd)
            signals = ",".join(str(int(number)) for number in _FOR_ALL)
            # Not multiprocessing: its start methods fork threads that hold locks, or run the user's main module again.
            # `-P`: what this process does not import from its working directory, they do not either.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, signals, *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            )
        self.starter: threading.Thread | None = None
        """Waits until it is ready."""

    def is_ready(self) -> bool:
        """Wait until it is; False where it ends instead."""
        try:
            return self._connection.recv_bytes() == READY
        except (EOFError, OSError):
            return False

    def run(self, item: WorkItem, *, resample: bool) -> "list[Source] | Exception":
        """One sample.

        Raises:
            EOFError, ConnectionError: the process has ended.
        """
        job = put_job(item, self._encoded, resample=resample)
        self._connection.send_bytes(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))
        # Pickles pass between this process and its own child only.
        answer: Places | Exception = pickle.loads(self._connection.recv_bytes())
        try:
            return answer if isinstance(answer, Exception) else take_sources(answer, self._pixels)
        finally:
            self._pixels.shrink(_KEPT_BYTES)
            self._encoded.shrink(_KEPT_BYTES)

    def stop(self) -> None:
        """Tell it to end, and whoever waits for it."""
        # Where it has ended by itself, that is an error.
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)

    def wait(self) -> int:
        """Its exit status, negative for a signal."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def end(self) -> int:
        """Wait for it, and give back what was shared with it; its exit status."""
        status = self.wait()
        if self.starter is not None:
            self.starter.join()
        self._connection.close()
        self._encoded.close()
        self._pixels.close()
        return status


def _death(item: WorkItem, status: int) -> VidflowError:
    sample = f"sample {item.record.key} ({item.record.id})"
    if -status in _CRASHES:
        return DecodeError(f"{sample}: brings the decoder down ({signal.Signals(-status).name})")
    if -status == signal.SIGKILL:
        return VidflowError(
            f"the process that decoded {sample} was killed by SIGKILL, as systems do when memory is short; lower "
            "data.num_threads, or use data.workers = 'threads'"
        )
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return VidflowError(f"the process that decoded {sample} {how}; what it has said is above")


_shared: DecodeProcesses | None = None
_shared_lock = threading.Lock()


def shared_processes(count: int) -> DecodeProcesses:
    """The processes of this process, at least ``count``."""
    global _shared  # one set for all loaders: training and validation take turns
    with _shared_lock:
        if _shared is None:
            _shared = DecodeProcesses()
            atexit.register(_shared.close)
    _shared.ensure(count)
    return _shared


class SharedHost:
    """``prepare_on_host`` by the processes of this process, which are started when it is first called.

    Args:
        count: threads that call it.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, item: WorkItem, *, resample: bool) -> list[Source]:
        """See ``DecodeProcesses``."""
        return shared_processes(self._count)(item, resample=resample)


def _forget() -> None:
    """Behind a fork: the processes go on to belong to the parent."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
