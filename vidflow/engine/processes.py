"""The processes of a run: Accelerate's set-up, and the few numbers on which they agree at each step."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import gather_object

from vidflow.errors import ConfigError

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


_RANKS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"}


def _launch_lost_processes() -> bool:
    """Whether we are all that `accelerate launch --cpu --num_processes 2` started: there is a port, but no rank."""
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    return launched and "MASTER_PORT" in os.environ and not _RANKS & os.environ.keys()


@contextmanager
def accelerate_session(precision: str = "fp32") -> Iterator[Accelerator]:
    """An Accelerator for this process; without a GPU, processes talk over gloo.

    Raises:
        ConfigError: fp16 without a GPU, or a launch that started fewer processes than it was asked for.
    """
    gpu = torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "false").lower() not in ("true", "1")
    if precision == "fp16" and not gpu:
        raise ConfigError("train.precision = 'fp16' needs a GPU; use bf16 or fp32 on a CPU")
    if _launch_lost_processes():
        raise ConfigError(
            "accelerate launch was asked for several processes but started one: with --cpu it needs mpirun. "
            "Use `accelerate launch --multi_gpu --num_processes N ...`, which starts N processes without GPUs too"
        )
    accelerator = Accelerator(mixed_precision=PRECISIONS[precision], cpu=not gpu)
    try:
        yield accelerator
    finally:
        accelerator.free_memory()
        # A later session of this process may want another precision; the process group of a launch stays.
        AcceleratorState._reset_state(reset_partial_state=accelerator.num_processes == 1)
        GradientState._reset_state()


@dataclass(frozen=True)
class StepReport:
    """What all processes know after a step."""

    loss: float
    """Mean over all samples that were read."""
    share: float
    """Mean over processes of the part of the samples that were read."""
    num_bad: int
    """Processes whose loss is not finite."""
    num_skipped: int
    """Samples of all processes that could not be read."""
    stop_signal: int
    """Largest signal number that any process has received, or 0."""


def agree(
    accelerator: Accelerator, *, loss: torch.Tensor, share: float = 1.0, num_skipped: int = 0, stop_signal: int
) -> StepReport:
    """One small exchange per optimizer step: the mean loss, whether any is not finite, and whether to stop.

    Args:
        loss: this process's loss of the window, a scalar: the sum over samples read, over the number of all.
        share: the part of this process's samples of the window that were read.
    """
    finite = torch.isfinite(loss)
    values = torch.stack([torch.where(finite, loss, 0.0), (~finite).to(loss.dtype)]).double().cpu()
    mine = torch.tensor([*values.tolist(), float(stop_signal), share, float(num_skipped)], dtype=torch.float64)
    if accelerator.num_processes > 1:
        every = [
            torch.empty_like(mine, device=accelerator.device, dtype=torch.float32)
            for _ in range(accelerator.num_processes)
        ]
        torch.distributed.all_gather(every, mine.to(accelerator.device, torch.float32))
        table = torch.stack(every).double().cpu()
    else:
        table = mine[None]
    together = float(table[:, 3].mean())
    return StepReport(
        loss=float(table[:, 0].mean()) / together if together else 0.0,
        share=together,
        num_bad=int(table[:, 1].sum()),
        num_skipped=int(table[:, 4].sum()),
        stop_signal=int(table[:, 2].max()),
    )


def any_stop(accelerator: Accelerator, stop_signal: int) -> int:
    """The largest signal number that any process has received, or 0."""
    if accelerator.num_processes == 1:
        return stop_signal
    value = torch.tensor([stop_signal], device=accelerator.device)
    torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return int(value)


def from_all(accelerator: Accelerator, value: Any) -> list[Any]:
    """The objects of all processes, in the order of their ranks."""
    return list(gather_object([value])) if accelerator.num_processes > 1 else [value]


def share_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give every process the first one's buffers: batch statistics differ between them until DDP's next forward."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)
