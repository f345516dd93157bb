"""What a node of a Ray cluster does with one task of packing.

Nothing here imports Ray, and nodes need vidflow alone: a sample is prepared as a local worker does it, in a folder of
the node, and what was made there goes back as bytes.
"""

import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import av
import numpy as np

from vidflow.errors import ConfigError
from vidflow.shards.contents import Member
from vidflow.shards.engines import Prepare
from vidflow.shards.files import FileState
from vidflow.shards.prepare import Prepared, Refused, Task
from vidflow.shards.workers import Crash, Failure, map_in_order
from vidflow.version import __version__

# Secrets are not among them: a node has credentials of its own.
_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE")
_MICROSECOND = 1000  # nanoseconds; network file systems round dates

Blobs = dict[int, np.ndarray]
"""Content of the members that were made on the node, by their position; uint8 [bytes]."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all tasks of a run share."""

    function: Prepare
    versions: Mapping[str, str]
    """Of what decides the bytes, on the machine that writes."""
    settings: Mapping[str, str]
    """Environment variables that a node takes over."""


def versions() -> dict[str, str]:
    """What must be the same on all machines, lest the bytes depend on where a sample was prepared."""
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    return {"vidflow": __version__, **libraries}


def settings() -> dict[str, str]:
    """The environment variables of this process that say where data lie and how to ask for them."""
    return {name: value for name, value in os.environ.items() if name in _SETTINGS or name.startswith("VIDFLOW_")}


def work(job: Job, task: Task, guarded: bool, node: str) -> tuple[Prepared | Refused | Crash | Failure, Blobs | None]:
    """Prepare one sample on this node.

    Args:
        guarded: whether to do it in a process of its own, whose death is then part of the answer.
        node: name of this node, for messages.

    Returns:
        The answer, whose members made here are empty, and the content of these.
    """
    here = versions()
    if other := [
        f"{name} {here.get(name, 'missing')}" for name, value in job.versions.items() if here.get(name) != value
    ]:
        wanted = ", ".join(f"{name} {value}" for name, value in job.versions.items() if here.get(name) != value)
        error = ConfigError(
            f"--engine ray: {node or platform.node()} has {', '.join(other)}, this machine has {wanted}; "
            "install the same versions on all nodes"
        )
        return Failure(error), None
    os.environ.update(job.settings)
    try:
        with tempfile.TemporaryDirectory(prefix="vidflow-") as staging:
            function = partial(job.function, staging=staging)
            if guarded:
                ((_, answer),) = map_in_order(function, [task], workers=1)
            else:
                answer = function(task)
            return _without_files(answer, staging)
    except Exception as error:  # noqa: BLE001 -- sent to the machine that writes, which raises it
        return Failure(error), None


def _without_files(answer: Prepared | Refused | Crash, staging: str) -> tuple[Prepared | Refused | Crash, Blobs | None]:
    if not isinstance(answer, Prepared):
        return answer, None
    blobs: Blobs = {}
    members: list[Member] = []
    for position, member in enumerate(answer.contents.members):
        if member.path is not None and Path(member.path).is_relative_to(staging):
            assert member.span is None
            blobs[position] = np.fromfile(member.path, np.uint8)
            member = Member(member.suffix)
        elif member.path is None and member.data:
            blobs[position] = np.frombuffer(member.data, np.uint8)
            member = Member(member.suffix)
        members.append(member)
    return Prepared(replace(answer.contents, members=tuple(members))), blobs or None


def landed(answer: Prepared, blobs: Blobs | None) -> Prepared | Refused:
    """The answer on the machine that writes: with the bytes that came along, and files as this machine sees them."""
    members: list[Member] = []
    for position, member in enumerate(answer.contents.members):
        if blobs is not None and position in blobs:
            member = replace(member, data=blobs[position].data)
        elif member.path is not None:
            assert member.state is not None
            try:
                # Numbers of inodes differ from mount to mount.
                state = FileState.of(os.stat(member.path))  # noqa: PTH116 -- the path may not be UTF-8
            except OSError as error:
                return Refused("copy", f"cannot be opened again ({error.strerror})")
            if state.size != member.state.size or abs(state.mtime_ns - member.state.mtime_ns) >= _MICROSECOND:
                return Refused("copy", "has changed while it was packed")
            member = replace(member, state=state)
        members.append(member)
    return Prepared(replace(answer.contents, members=tuple(members)))
