"""``--engine ray``: samples are prepared on the nodes of a Ray cluster, and written here, in order.

The machine that runs the command keeps order, shards and journal to itself, so that the bytes are those of local
workers, nodes may come and go, and nothing of a node's disk is needed. Whole shards made on the nodes would spare the
way through one machine, but their borders would depend on the cluster; ``--part`` does that, and each part may be
packed with ``--engine ray``.

A task that dies is told apart from a node that is lost: after a death it is given to a process of its own on some node
(see ``ray_work.work``), which ends as with local workers in an answer or in the signal that killed it, while the loss
of a node is no fault of the sample, which goes to another one.
"""

import logging
import os
import re
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidflow.errors import ConfigError, MissingExtraError, StorageError
from vidflow.shards.engines import Answers, Prepare
from vidflow.shards.prepare import Prepared, Refused, Task
from vidflow.shards.ray_work import Job, landed, settings, versions, work
from vidflow.shards.workers import Crash, Failure

logger = logging.getLogger(__name__)

_QUEUED_PER_CPU = 2
_AHEAD_PER_CPU = 8  # answers that may wait, on the nodes, for a slow one before them
_DEATHS = 3  # of one task's processes, the last two of them guarded
_LOSSES = 20  # of nodes that had one and the same task
_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 5.0  # between two looks at how large the cluster is


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """The CPUs of a Ray cluster."""

    address: str | None = None
    """``auto``, ``local``, ``host:port`` or ``ray://host:port``; None takes ``RAY_ADDRESS``, or starts Ray here."""
    workers: int | None = None
    """Tasks at once; None takes as many as there are CPUs, also those that come later."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers {self.workers}: must be at least 1")

    def run(self, function: Prepare, tasks: Sequence[Task], *, staging: Path) -> Answers:
        """Each task with its answer, in order.

        Raises:
            MissingExtraError: Ray is not installed.
            ConfigError: no cluster answers at the address, or a node has other versions.
            StorageError: sources cannot be read, or nodes are lost again and again.
        """
        ray = _import_ray()
        if not tasks:
            return
        is_ours = not ray.is_initialized()
        if is_ours:
            _connect(ray, self.address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            job = ray.put(Job(function=function, versions=versions(), settings=settings()))
            with closing(_Flights(ray, job, self.workers).results(tasks)) as results:
                yield from results
        finally:
            if is_ours:
                ray.shutdown()


def _import_ray() -> Any:
    # Read when Ray is imported or started: no reports to its makers, no advice.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks that were cancelled
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray; pip install 'vidflow[ray]' here and on all nodes") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options["include_dashboard"] = False
    try:
        if server := re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d+)", address):
            # Ray itself would try for minutes.
            socket.create_connection((server[1], int(server[2])), timeout=_CONNECT_SECONDS).close()
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--ray-address {address}: no Ray cluster can be used there ({_first_line(error)}); "
            "check the address, or leave it out to start Ray on this machine"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _run_on_node(job: Job, task: Task, guarded: bool) -> tuple[Any, Any]:
    import ray

    context = ray.get_runtime_context()
    answer, blobs = work(job, task, guarded, ray.util.get_node_ip_address())
    return (answer, blobs is not None, context.get_node_id()), blobs


@dataclass(eq=False)
class _Flight:
    """One task on its way."""

    task: Task
    refs: tuple[Any, Any] = (None, None)
    """Of the answer, which comes at once, and of its bytes, which stay on the node until their turn."""
    answer: Prepared | Refused | Crash | Failure | None = None
    node: str = ""
    """Where the bytes lie; empty without any."""
    deaths: int = 0
    losses: int = field(default=0)


class _Flights:
    """Tasks in the cluster, never more than it can use, and their answers in order."""

    def __init__(self, ray: Any, job: Any, limit: int | None) -> None:
        self.ray, self.job, self.limit = ray, job, limit
        # Ray itself shall try nothing again: it cannot tell a sample that kills from a node that is lost.
        self.remote = ray.remote(
            num_cpus=1, num_returns=2, max_retries=0, retry_exceptions=False, scheduling_strategy="SPREAD"
        )(_run_on_node)
        self.queue: deque[_Flight] = deque()
        self.running: dict[Any, _Flight] = {}
        self._cpus, self._looked = 0, 0.0

    def results(self, tasks: Sequence[Task]) -> Answers:
        source = iter(tasks)
        try:
            while True:
                self._fill(source)
                if not self.queue:
                    return
                first = self.queue[0]
                if first.answer is None:
                    self._wait()
                elif (answer := self._taken(first)) is not None:
                    self.queue.popleft()
                    yield first.task, answer
        finally:
            for ref in self.running:
                self.ray.cancel(ref, force=True)

    def _num_at_once(self) -> int:
        if self.limit is not None:
            return self.limit
        if not self._cpus or time.monotonic() - self._looked > _LOOK_SECONDS:
            self._cpus, self._looked = int(self.ray.cluster_resources().get("CPU", 0)), time.monotonic()
            if not self._cpus:
                logger.warning("the Ray cluster has no CPU at the moment; waiting for nodes")
        return max(1, self._cpus) * _QUEUED_PER_CPU

    def _fill(self, source: Iterator[Task]) -> None:
        most = self._num_at_once()
        while len(self.running) < most and len(self.queue) < most // _QUEUED_PER_CPU * _AHEAD_PER_CPU + most:
            task = next(source, None)
            if task is None:
                return
            self.queue.append(_Flight(task))
            self._start(self.queue[-1])

    def _start(self, flight: _Flight) -> None:
        flight.answer, flight.node = None, ""
        flight.refs = tuple(self.remote.remote(self.job, flight.task, flight.deaths > 0))
        self.running[flight.refs[0]] = flight

    def _wait(self) -> None:
        """Take in the answers that have come, at least one unless it takes long."""
        refs = list(self.running)
        ready, _ = self.ray.wait(refs, num_returns=1, timeout=_LOOK_SECONDS)
        if ready:
            ready, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            flight = self.running.pop(ref)
            found = self._get(flight, ref)
            if found is not None:
                flight.answer, has_bytes, node = found
                flight.node = node if has_bytes else ""

    def _get(self, flight: _Flight, ref: Any) -> Any:
        """What a reference holds; None if it is lost, the task then runs again or is settled."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(ref)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            flight.deaths += 1
            logger.info("%s: %s", flight.task.item.id, _first_line(error))
            if flight.deaths >= _DEATHS:
                flight.answer = Crash(-signal.SIGKILL)
                return None
        except (errors.NodeDiedError, errors.ObjectLostError, errors.ObjectFetchTimedOutError) as error:
            flight.losses += 1
            logger.info("%s: %s", flight.task.item.id, _first_line(error))
            if flight.losses >= _LOSSES:
                raise StorageError(
                    f"{flight.task.item.id}: {_LOSSES} nodes of the Ray cluster were lost over it; look after the "
                    "cluster and run the same command again, finished shards are kept"
                ) from error
        except errors.RayTaskError as error:
            if module := re.search(r"No module named '[\w.]+'", str(error)):
                raise ConfigError(
                    f"--engine ray: {module[0]} on a node; install the same vidflow on all nodes"
                ) from error
            raise RuntimeError(f"a task failed on a node of the Ray cluster:\n{error}") from error
        self._start(flight)
        return None

    def _taken(self, flight: _Flight) -> Prepared | Refused | Crash | None:
        """The final answer, with its bytes; None if they are lost, and the task runs again."""
        answer = flight.answer
        if isinstance(answer, Failure):
            raise answer.raised("a node of the Ray cluster")
        if not isinstance(answer, Prepared):
            return answer
        if not flight.node:
            return landed(answer, None)
        node = flight.node
        blobs = self._get(flight, flight.refs[1])
        if blobs is None:
            for other in self.queue:  # what else lay there is lost as well
                if other.answer is not None and other.node == node:
                    self._start(other)
            return None
        return landed(answer, blobs)
