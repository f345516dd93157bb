"""SIGTERM and SIGINT ask the loop to save and leave; a second one leaves at once."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from vidflow.errors import VidflowError


class StoppedError(VidflowError):
    """A signal ended the run, after its state was saved. The exit status is the shell's for that signal."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum
        self.exit_status = 128 + signum


class StopRequest:
    """Inside ``with``: ``signum`` is the signal that asked to stop, or 0."""

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread alone; a run in another thread cannot listen.
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._ask) for signum in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()
