"""Executors carry plans out: encoded samples and their plans in, normalised clips out.

An executor works in two steps, so that a loader can overlap them: ``prepare`` runs for each sample in a thread pool
(decoding, mostly), ``assemble`` runs once per batch (resampling and normalising). All executors mean the same; the
``reference`` one is the oracle of the tests.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.errors import DecodeError, MissingExtraError
from vidflow.media.decode import decode_frames
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import execute_plan
from vidflow.schema import SampleRecord

ExecutorName = Literal["auto", "dali", "reference"]


@dataclass(frozen=True)
class WorkItem:
    """One sample to be turned into views."""

    record: SampleRecord
    plan: Plan
    data: bytes | Path
    """The encoded stream, or the file that holds it."""

    @property
    def num_bytes(self) -> int:
        """Decoded size in bytes: what the sample holds of the loader's memory budget."""
        video = self.record.video
        assert video is not None
        return len(np.unique(self.plan.frames)) * video.height * video.width * 3


def decode_item(item: WorkItem) -> np.ndarray:
    """uint8 [C*T, H, W, 3], the frames that the plan asks for, upright.

    Raises:
        DecodeError: naming the sample.
    """
    assert item.record.video is not None
    try:
        return decode_frames(item.data, item.record.video, item.plan.frames)
    except DecodeError as error:
        raise DecodeError(f"sample {item.record.key} ({item.record.id}): {error}") from error


class Executor(Protocol):
    """Turns work items into a tensor of views."""

    def prepare(self, item: WorkItem) -> Any:
        """The part that needs no other sample; called from several threads at once."""
        ...

    def assemble(self, items: list[WorkItem], prepared: list[Any]) -> Tensor:
        """float32 [B, V, C, T, H, W] on the executor's device."""
        ...

    def run(self, items: list[WorkItem]) -> Tensor:
        """Both steps, one sample after the other."""
        ...


class ReferenceExecutor:
    """Plans in NumPy on the CPU: slow and plain."""

    def __init__(self, normalize: Normalize) -> None:
        self.normalize = normalize

    def prepare(self, item: WorkItem) -> np.ndarray:
        """float32 [V, C, T, H, W]."""
        return execute_plan(decode_item(item), item.plan, self.normalize)

    def assemble(self, items: list[WorkItem], prepared: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(prepared))

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])


def has_dali() -> bool:
    """Whether NVIDIA DALI is installed (it has wheels for Linux only)."""
    return importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None


def make_executor(
    normalize: Normalize, *, name: ExecutorName = "auto", device: torch.device | str = "cpu", num_threads: int = 1
) -> Executor:
    """The executor of a device.

    Args:
        name: ``auto`` is ``dali`` where DALI is installed, ``reference`` elsewhere.
        num_threads: CPU threads that resample.

    Raises:
        MissingExtraError: ``dali`` is asked for and not installed.
    """
    if name == "auto":
        name = "dali" if has_dali() else "reference"
    if name == "reference":
        return ReferenceExecutor(normalize)
    if not has_dali():
        raise MissingExtraError(
            "executor = 'dali' needs nvidia-dali-cuda120, which is not installed; use executor = 'reference'"
        )
    from vidflow.pipelines.dali import DaliCpuExecutor, DaliGpuExecutor

    device = torch.device(device)
    if device.type == "cuda":
        return DaliGpuExecutor(normalize, device=device, num_threads=num_threads)
    return DaliCpuExecutor(normalize, num_threads=num_threads)
