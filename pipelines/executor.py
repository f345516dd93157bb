"""Executors carry plans out: encoded samples and their plans in, normalised clips out.

An executor works in two steps, so that a loader can overlap them: ``prepare`` runs for each sample in a thread pool
(decoding, mostly), ``assemble`` runs once per batch (resampling and normalising). All executors mean the same; the
``reference`` one is the oracle of the tests.
"""

import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.errors import ConfigError, DecodeError, MissingExtraError
from vidflow.media.decode import decode_frames
from vidflow.members import flow_arrays, frame_arrays
from vidflow.pipelines.effects import change_frames
from vidflow.pipelines.erasing import erase
from vidflow.pipelines.host_resample import use_one_thread
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import execute_plan
from vidflow.schema import SampleRecord

ExecutorName = Literal["auto", "dali", "reference"]
Decode = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class WorkItem:
    """One sample to be turned into one or more rows of a batch."""

    record: SampleRecord
    plan: Plan
    data: bytes | Path | Mapping[str, bytes]
    """The encoded stream, or the file that holds it; of a sample of kind "frames" its members, suffix -> content."""
    more_plans: tuple[Plan, ...] = ()
    """Further plans of the same sample: its frames are decoded once for all."""

    @property
    def plans(self) -> tuple[Plan, ...]:
        """All plans, one per row."""
        return (self.plan, *self.more_plans)

    @property
    def num_bytes(self) -> int:
        """Size in bytes, decoded or resampled: what the sample holds of the loader's memory budget."""
        info = self.record.video or self.record.frames
        assert info is not None
        # Frames that several plans share are decoded once, and frames that policies change are copied for each plan.
        frames = sum(len(np.unique(plan.frames)) * plan.num_channels for plan in self.plans) * info.height * info.width
        views = sum(p.num_views * p.clip_length * p.num_channels * p.size[0] * p.size[1] for p in self.plans)
        # Many views of a few frames are larger than these.
        return max(frames, views)


def decode_item(item: WorkItem) -> list[np.ndarray]:
    """What executors resample, upright, uint8 [C*T, H, W, 3 or 2 L] for each of the item's plans.

    Each frame is decoded once. Operations of augmentation policies are carried out here, for all executors alike.

    Raises:
        DecodeError: naming the sample.
    """
    wanted, places = np.unique(np.concatenate([plan.frames for plan in item.plans]), return_inverse=True)
    alone = len(item.plans) == 1
    numbers = item.plan.frames if alone else wanted
    frames = _decoded(item, numbers)
    rows = []
    ends = np.cumsum([len(plan.frames) for plan in item.plans])
    for plan, end in zip(item.plans, ends.tolist(), strict=True):
        chosen = frames if alone else frames[places[end - len(plan.frames) : end]]
        rows.append(change_frames(chosen, plan.effects))
    return rows


def _decoded(item: WorkItem, numbers: np.ndarray) -> np.ndarray:
    """Frames of the sample by number, uint8 [N, H, W, 3 or 2 L]."""
    record, data, length = item.record, item.data, item.plan.flow_length
    if record.frames is not None:
        if not isinstance(data, Mapping):
            raise ValueError(f"sample {record.key} ({record.id}) of kind 'frames' needs its members, not {type(data)}")
        if not length:
            wanted, places = np.unique(numbers, return_inverse=True)
            frames = frame_arrays(record, data, wanted.tolist())
            return frames if np.array_equal(wanted, numbers) else frames[places]
        steps = np.minimum(numbers[:, None] + np.arange(length), record.frames.num_flow - 1)  # [N, L]
        wanted, places = np.unique(steps, return_inverse=True)
        flow = flow_arrays(record, data, wanted.tolist())[places.reshape(steps.shape)]  # [N, L, H, W, 2]
        count, _, height, width, _ = flow.shape
        return flow.transpose(0, 2, 3, 1, 4).reshape(count, height, width, 2 * length)
    assert record.video is not None
    assert not isinstance(data, Mapping)
    try:
        return decode_frames(data, record.video, numbers)
    except DecodeError as error:
        raise DecodeError(f"sample {record.key} ({record.id}): {error}") from error


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
) -> Executor:
    """The executor of a device.

    Args:
        name: ``auto`` is ``dali`` where DALI is installed, ``reference`` elsewhere.
        num_threads: CPU threads that resample.
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

        return gpu_executor(normalize, device=device, num_threads=num_threads, decodes=decode != "cpu")
    from vidflow.pipelines.dali import DaliCpuExecutor

    return DaliCpuExecutor(normalize, num_threads=num_threads)
