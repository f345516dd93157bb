"""Executors carry plans out: encoded samples and their plans in, normalised clips out.

An executor works in two steps, so that a loader can overlap them: ``prepare`` runs for each sample in a thread pool
(decoding, mostly), ``assemble`` runs once per batch (resampling and normalising). All executors mean the same; the
``reference`` one is the oracle of the tests.
"""

import importlib.util
from collections import Counter
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.errors import ConfigError, MissingExtraError
from vidflow.pipelines.erasing import erase
from vidflow.pipelines.host_resample import use_one_thread
from vidflow.pipelines.reference import execute_plan
from vidflow.pipelines.work import HostPrepare, WorkItem, decode_item, prepare_on_host

ExecutorName = Literal["auto", "dali", "reference"]
Decode = Literal["auto", "cpu", "gpu"]


class Executor(Protocol):
    """Turns work items into a tensor of views, a row for each plan: items in order, and the plans of each in order."""

    num_decoded_on_cpu: Counter[str]
    """Samples that another decoder was meant for, by the reason why it did not decode them; counted until cleared."""

    def prepare(self, item: WorkItem) -> Any:
        """The part that needs no other sample; called from several threads at once."""
        ...

    def assemble(self, items: list[WorkItem], prepared: list[Any]) -> Tensor:
        """float32 [B, V, C, T, H, W] on the executor's device; B counts plans."""
        ...

    def run(self, items: list[WorkItem]) -> Tensor:
        """Both steps, one sample after the other."""
        ...


class ReferenceExecutor:
    """Plans in NumPy on the CPU: slow and plain."""

    def __init__(self, normalize: Normalize) -> None:
        self.normalize = normalize
        self.num_decoded_on_cpu: Counter[str] = Counter()

    def prepare(self, item: WorkItem) -> list[np.ndarray]:
        """float32 [V, C, T, H, W] for each plan."""
        return [
            execute_plan(frames, plan, self.normalize)
            for frames, plan in zip(decode_item(item), item.plans, strict=True)
        ]

    def assemble(self, items: list[WorkItem], prepared: list[list[np.ndarray]]) -> Tensor:
        views = torch.from_numpy(np.stack([row for rows in prepared for row in rows]))
        erase(views, [plan.effects.erasures for item in items for plan in item.plans], self.normalize)
        return views

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])


def has_dali() -> bool:
    """Whether NVIDIA DALI is installed (it has wheels for Linux only)."""
    return importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None


def make_executor(
    normalize: Normalize,
    name: ExecutorName = "auto",
    decode: Decode = "auto",
    *,
    device: torch.device | str = "cpu",
    num_threads: int = 1,
    host: HostPrepare = prepare_on_host,
) -> Executor:
    """The executor of a device.

    Args:
        name: ``auto`` is ``dali`` where DALI is installed, ``reference`` elsewhere.
        num_threads: CPU threads that resample.
        host: what decodes on the CPU for DALI; ``vidflow.pipelines.decode_processes`` has another one.
        decode: ``gpu`` gives NVDEC what it takes; ``auto`` does so where there is a GPU, see
            ``vidflow.pipelines.decode_choice`` for measuring.

    Raises:
        ConfigError: ``decode`` is ``gpu``, and the device or the executor cannot.
        MissingExtraError: ``dali`` is asked for and not installed.
    """
    use_one_thread()
    device = torch.device(device)
    if name == "auto":
        name = "dali" if has_dali() else "reference"
    if decode == "gpu" and (name == "reference" or device.type != "cuda"):
        lack = "the executor 'reference' has none" if name == "reference" else f"the device is {device.type}"
        raise ConfigError(f"decode = 'gpu' needs DALI on a CUDA device, and {lack}; use decode = 'auto' or 'cpu'")
    if name == "reference":
        return ReferenceExecutor(normalize)
    if not has_dali():
        raise MissingExtraError(
            "executor = 'dali' needs nvidia-dali-cuda120, which is not installed; use executor = 'reference'"
        )
    if device.type == "cuda":
        from vidflow.pipelines.nvdec import gpu_executor

        return gpu_executor(normalize, device=device, num_threads=num_threads, decodes=decode != "cpu", host=host)
    from vidflow.pipelines.dali import DaliCpuExecutor

    return DaliCpuExecutor(normalize, num_threads=num_threads, host=host)
