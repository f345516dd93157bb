"""Work for processes of a pool: functions that a new process can import, which those of a test module are not."""

import os
import signal
import time
from pathlib import Path

import av

from vidflow.errors import StorageError


def square_slowly(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number * number


def crash_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def crash_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return "done"


def environment_of(name: str) -> str | None:
    return os.environ.get(name)


def fail(number: int) -> int:
    raise StorageError("disk full") if number == 2 else ZeroDivisionError("seven")


def count_frames(path: str) -> int:
    """All frames of a video with plain PyAV, one thread, as packing does."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))
