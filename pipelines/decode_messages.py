"""What a loader and a process that decodes for it tell each other: see ``decode_processes`` and ``decode_worker``.

Encoded bytes and pixels do not pass through the socket but lie in shared memory, one after the other.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidflow.pipelines.shared_bytes import SharedBytes
from vidflow.pipelines.work import Source, WorkItem, needed_content

READY = b"ready"

Place = tuple[int, tuple[int, ...]]
"""Where an array begins, in bytes, and its shape."""
Places = list[Place | list[Place]]
"""Of what one sample has become: like a list of ``Source``."""


@dataclass(frozen=True)
class Job:
    """A sample to be decoded."""

    item: WorkItem
    """Its ``data`` is what is not in shared memory: a path, or nothing."""
    members: tuple[tuple[str, int], ...] | None
    """Names and sizes in bytes of the members in shared memory; None of one stream."""
    num_bytes: int
    resample: bool


def put_job(item: WorkItem, memory: SharedBytes, *, resample: bool) -> Job:
    """Copy what a sample's decoding needs."""
    data = needed_content(item)
    if isinstance(data, bytes):
        memory.view(len(data))[:] = data
        return Job(replace(item, data=b""), None, len(data), resample)
    if isinstance(data, Path):
        return Job(item, None, 0, resample)
    members = tuple((name, len(content)) for name, content in data.items())
    num_bytes = sum(size for _, size in members)
    memory.view(num_bytes)[:] = b"".join(data.values())
    return Job(replace(item, data={}), members, num_bytes, resample)


def take_item(job: Job, memory: SharedBytes) -> WorkItem:
    """The sample as it was given to ``put_job``, with the content that it needs."""
    if isinstance(job.item.data, Path):
        return job.item
    if job.members is None:
        return replace(job.item, data=bytes(memory.view(job.num_bytes)))
    content, start = memory.view(job.num_bytes), 0
    members = {}
    for name, size in job.members:
        members[name] = bytes(content[start : start + size])
        start += size
    return replace(job.item, data=members)


class PixelRoom:
    """Room for arrays in shared memory, one after the other: what is made there need not be copied there."""

    def __init__(self, memory: SharedBytes) -> None:
        self._memory, self._end = memory, 0
        self._starts: dict[int, tuple[int, np.ndarray]] = {}

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """uint8 of any content."""
        start, self._end = self._end, self._end + math.prod(shape)
        array = np.frombuffer(self._memory.view(self._end)[start:], np.uint8).reshape(shape)
        self._starts[id(array)] = (start, array)
        return array

    def place(self, array: np.ndarray) -> Place:
        """Where an array, uint8, lies; it is copied where it does not lie here."""
        if id(array) not in self._starts:
            copy = self.allocate(array.shape)
            np.copyto(copy, array)
            array = copy
        return self._starts[id(array)][0], array.shape


def put_sources(sources: list[Source], room: PixelRoom) -> Places:
    """Where pixels lie in the room."""
    return [
        [room.place(view) for view in source] if isinstance(source, list) else room.place(source) for source in sources
    ]


def take_sources(places: Places, memory: SharedBytes) -> list[Source]:
    """What was given to ``put_sources``, in memory of its own."""
    flat = [
        place for one_or_many in places for place in (one_or_many if isinstance(one_or_many, list) else [one_or_many])
    ]
    pixels = np.frombuffer(memory.view(max(start + math.prod(shape) for start, shape in flat)), np.uint8).copy()

    def array(place: Place) -> np.ndarray:
        start, shape = place
        return pixels[start : start + math.prod(shape)].reshape(shape)

    return [[array(view) for view in place] if isinstance(place, list) else array(place) for place in places]
