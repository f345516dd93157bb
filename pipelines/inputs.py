"""What a kind of pipeline does for the loader: from a sample's record and bytes to named inputs of a model.

The loader decides which samples come in which order, reads them, overlaps the two steps, and skips what is damaged;
an ``InputMaker`` knows nothing of that. ``vidflow.pipelines.kinds`` says which pipeline has which maker.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import ClipPipeline
from vidflow.members import stream_bytes
from vidflow.pipelines.executor import Executor
from vidflow.pipelines.plan import make_plan
from vidflow.pipelines.work import WorkItem, needed_content
from vidflow.schema import SampleRecord

Content = bytes | Mapping[str, bytes]
"""The encoded stream of a video sample; of one with skeletons, or of another kind, its media members, suffix ->
content."""


class RowPlan(Protocol):
    """What is drawn for one row of a batch."""

    @property
    def inputs(self) -> Mapping[str, np.ndarray]:
        """Inputs of this row that the plan alone decides, without the axis B; a row that is skipped has them too."""
        ...

    def move_labels(self, labels: Sequence[int], flip_labels: Mapping[int, int]) -> tuple[int, ...]:
        """The sample's labels as the plan leaves them."""
        ...


class Item(Protocol):
    """One sample on its way to one or more rows."""

    @property
    def record(self) -> SampleRecord: ...

    @property
    def plans(self) -> Sequence[RowPlan]:
        """One per row, at least one."""
        ...

    @property
    def num_bytes(self) -> int:
        """What the sample holds of the loader's memory budget once it is prepared."""
        ...


class InputMaker(Protocol):
    """Plans and carries out. ``prepare`` is called from several threads at once, ``assemble`` from another one."""

    @property
    def num_decoded_on_cpu(self) -> Counter[str]:
        """Samples that another decoder was meant for, by the reason why it did not decode them; until cleared."""
        ...

    def item(self, record: SampleRecord, data: Content, rngs: Sequence[np.random.Generator]) -> Any:
        """The sample's ``Item``, with a plan drawn from each generator.

        Called for damaged samples too, with empty ``data``: it must not look into it.
        """
        ...

    def prepare(self, item: Any) -> Any:
        """The part that needs no other sample.

        Raises:
            DecodeError: naming the sample, which is skipped for it where the loader skips.
        """
        ...

    def assemble(self, items: Sequence[Any], prepared: Sequence[Any]) -> dict[str, Tensor]:
        """Inputs by name [B, ...], a row for each plan of each item in order, on the device.

        Raises:
            DecodeError: one of the samples is damaged; the loader tries each on its own then.
        """
        ...

    def blank(self, item: Any) -> dict[str, Tensor]:
        """As ``assemble`` for one row of the item, zeros in place of what is damaged."""
        ...


class ClipMaker:
    """``clips`` [B, V, C, T, H, W] by an executor, and ``frame_padding`` [B, V, T]."""

    def __init__(self, pipeline: ClipPipeline, executor: Executor) -> None:
        self.pipeline, self.executor = pipeline, executor

    @property
    def num_decoded_on_cpu(self) -> Counter[str]:
        return self.executor.num_decoded_on_cpu

    def item(self, record: SampleRecord, data: Content, rngs: Sequence[np.random.Generator]) -> WorkItem:
        plan, *more = (make_plan(record, self.pipeline, rng) for rng in rngs)
        if record.video is not None and isinstance(data, Mapping):  # with skeletons, which clips do not need
            data = stream_bytes(record, data)
        item = WorkItem(record, plan, data, tuple(more))
        # Of pictures only those that are shown wait to be decoded: thirty times less memory for 8 of 250.
        return item if record.frames is None else replace(item, data=needed_content(item))

    def prepare(self, item: WorkItem) -> Any:
        return self.executor.prepare(item)

    def assemble(self, items: Sequence[WorkItem], prepared: Sequence[Any]) -> dict[str, Tensor]:
        return {"clips": self.executor.assemble(list(items), list(prepared))}

    def blank(self, item: WorkItem) -> dict[str, Tensor]:
        plan = item.plan
        return {"clips": torch.zeros(1, plan.num_views, plan.num_channels, plan.clip_length, *plan.size)}
