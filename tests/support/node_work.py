"""Work for the nodes of a Ray cluster, in place of ``prepare``."""

import os
import signal
import time
from pathlib import Path

from vidflow.errors import StorageError
from vidflow.shards.contents import Contents, Member
from vidflow.shards.engines import Prepare
from vidflow.shards.files import FileState
from vidflow.shards.prepare import Prepared, Refused, Task


def node_of(task: Task, *, staging: str) -> Refused:
    """Says which process worked, after a while."""
    time.sleep(0.05)
    return Refused("probe", f"{task.ordinal} {os.getppid()}")


def hold(task: Task, *, function: Prepare, node_id: str, marker: str, staging: str) -> Prepared | Refused:
    """Another function; but on one node, from the eleventh task on, it is never done before the node dies."""
    import ray

    if task.ordinal >= 10 and ray.get_runtime_context().get_node_id() == node_id:
        Path(marker).touch()
        time.sleep(120)
    return function(task, staging=staging)


def kill_over_id(task: Task, *, staging: str) -> Refused:
    """Samples called ``deadly`` kill their process."""
    if task.item.id == "deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    return Refused("probe", task.item.id)


def kill_once(task: Task, *, staging: str) -> Refused:
    """The first process that works on a sample dies."""
    marker = Path(task.item.path)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Refused("probe", task.item.id)


def fail(task: Task, *, staging: str) -> Refused:
    raise StorageError("server down") if task.item.id == "users" else ZeroDivisionError("seven")


def write_staged(task: Task, *, staging: str) -> Prepared:
    """A file that is made on the node and goes again; its size is the ordinal in MiB."""
    path = Path(staging) / "made.bin"
    path.write_bytes(bytes([task.ordinal]) * (task.ordinal << 20))
    time.sleep(0.1)
    member = Member("bin", path=str(path), state=FileState.of(path.stat()))
    return Prepared(Contents(None, (member,)), staged=str(path))  # type: ignore[arg-type]
