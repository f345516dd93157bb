"""Plans through DALI graphs, and the executor for the CPU: PyAV decodes in the loader's threads, DALI does the rest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.pipelines.effects import blur_window
from vidflow.pipelines.erasing import erase
from vidflow.pipelines.executor import WorkItem, decode_item
from vidflow.pipelines.graph import GraphShape, build_graph
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import view_matrix


def graph_shape(plan: Plan, *, resampled: bool = False, colors: bool = False) -> GraphShape:
    """The graph that a plan runs through."""
    return GraphShape(
        view_clips=tuple(plan.view_clips.tolist()),
        num_frames=len(plan.frames) // plan.num_clips,
        num_clips=plan.num_clips,
        size=plan.size,
        color=plan.color is not None,
        warp=plan.effects.warp is not None and not resampled,
        blur=plan.effects.blur_sigma is not None,
        flow_length=plan.flow_length,
        resampled=resampled,
        colors=colors,
    )


class Graphs:
    """Built graphs by shape, rebuilt larger when a larger batch comes."""

    def __init__(
        self, normalize: Normalize, *, decode: bool, device: str, device_id: int | None, num_threads: int
    ) -> None:
        self.normalize, self.num_threads = normalize, num_threads
        self.decode, self.device, self.device_id = decode, device, device_id
        self._built: dict[GraphShape, Any] = {}
        self._stream: torch.cuda.Stream | None = None

    def run(
        self, plans: list[Plan], sources: list[np.ndarray], colors: Sequence[np.ndarray | None] | None = None
    ) -> Tensor:
        """float32 [B, V, C, T, H, W].

        Args:
            sources: frames or encoded bytes, one per plan.
            colors: float32 [3, 3] per plan, from decoded RGB to the stream's; None where they are the same.
        """
        outputs = {(plan.num_views, plan.clip_length, plan.size, plan.flow_length) for plan in plans}
        if len(outputs) > 1:
            raise ValueError(
                "plans of one batch must have one shape, not these of views, frames, size and steps of flow: "
                + ", ".join(map(str, sorted(outputs)))
            )
        if self.decode or plans[0].num_views == 1:
            return self._rows(plans, sources, colors or [None] * len(plans))
        # Decoded frames can be handed out view by view: one small graph then serves any number of views.
        parts = [part for plan, frames in zip(plans, sources, strict=True) for part in _single_views(plan, frames)]
        views = self._rows([plan for plan, _ in parts], [frames for _, frames in parts], [None] * len(parts))
        return views.reshape(len(plans), -1, *views.shape[2:])  # [B * V, 1, ...] -> [B, V, ...]

    def forget(self) -> None:
        """Give up all built graphs: one that has failed cannot run again."""
        self._built.clear()

    def _rows(self, plans: list[Plan], sources: list[np.ndarray], colors: Sequence[np.ndarray | None]) -> Tensor:
        # Within a batch the chance of policies may send plans through different graphs.
        shapes = [graph_shape(plan, colors=matrix is not None) for plan, matrix in zip(plans, colors, strict=True)]
        parts = []
        for shape in dict.fromkeys(shapes):
            rows = [row for row, other in enumerate(shapes) if other == shape]
            # For the whole batch's size: chance gives this shape another number of rows each time.
            pipe = self._graph(shape, len(plans))
            for name, values in _numbers(shape, [plans[row] for row in rows]).items():
                pipe.feed_input(name, values)
            if shape.colors:
                pipe.feed_input("colors", [colors[row] for row in rows])
            parts.append((rows, self._run(pipe, [plans[row] for row in rows], [sources[row] for row in rows])))
        return in_order(parts)

    def _graph(self, shape: GraphShape, batch_size: int) -> Any:
        batch_size = 1 << (batch_size - 1).bit_length()  # so that batches of slowly growing size build it a few times
        pipe = self._built.get(shape)
        if pipe is None or pipe.max_batch_size < batch_size:
            pipe = build_graph(
                shape,
                self.normalize,
                decode=self.decode,
                device=self.device,
                device_id=self.device_id,
                batch_size=batch_size,
                num_threads=self.num_threads,
            )
            self._built[shape] = pipe
        return pipe

    def _run(self, pipe: Any, plans: list[Plan], sources: list[np.ndarray]) -> Tensor:
        if self.decode:
            pipe.feed_input("video", sources)
            pipe.feed_input("numbers", [plan.frames.astype(np.int32) for plan in plans])
        else:
            pipe.feed_input("frames", sources, layout="FHWC")
        # With DALI's dynamic executor an output stays valid as long as it is referred to: no copy is needed on the CPU.
        views = torch.from_dlpack(pipe.run()[0].as_tensor())
        views = self._kept(views) if views.is_cuda else views
        return views if views.dim() == 6 else views[:, None]  # [B, C, T, H, W] -> [B, 1, C, T, H, W] where V is 1

    def _kept(self, views: Tensor) -> Tensor:
        """A copy on the GPU in memory that torch owns.

        DALI takes its memory back when the last reference goes, and kernels that torch has only queued would still
        read it. Torch's own memory waits for them.
        """
        device = views.device
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            copy = views.clone()
        self._stream.synchronize()
        copy.record_stream(torch.cuda.default_stream(device))
        return copy


def _single_views(plan: Plan, frames: np.ndarray) -> list[tuple[Plan, np.ndarray]]:
    """A plan and its frames [C * T, H, W, channels] as one plan per view, with the frames of its clip; nothing is
    copied."""
    numbers, clips = plan.frames.reshape(plan.num_clips, -1), np.split(frames, plan.num_clips)
    return [
        (
            replace(
                plan,
                frames=numbers[clip],
                num_clips=1,
                view_clips=np.zeros(1, np.int64),
                boxes=plan.boxes[view : view + 1],
                mirror=plan.mirror[view : view + 1],
                padding=None,
            ),
            clips[clip],
        )
        for view, clip in enumerate(plan.view_clips.tolist())
    ]


def in_order(parts: list[tuple[list[int], Tensor]]) -> Tensor:
    """Tensors with the rows of the whole that they are, put together."""
    _, first = parts[0]
    if len(parts) == 1:
        return first
    whole = first.new_empty(sum(len(rows) for rows, _ in parts), *first.shape[1:])
    for rows, part in parts:
        whole[torch.tensor(rows, device=whole.device)] = part
    return whole


def _numbers(shape: GraphShape, plans: list[Plan]) -> dict[str, list[np.ndarray]]:
    """The graph's inputs beside the frames, an array per plan; see ``build_graph``."""
    numbers = {"mirror": [plan.mirror.astype(np.int32) for plan in plans]}
    if shape.warp:
        numbers["matrices"] = [
            np.stack([view_matrix(plan, view) for view in range(plan.num_views)]).astype(np.float32) for plan in plans
        ]
    else:
        numbers["starts"] = [np.ascontiguousarray(plan.boxes[:, 1::-1], np.float32) for plan in plans]
        numbers["ends"] = [np.ascontiguousarray(plan.boxes[:, :1:-1], np.float32) for plan in plans]
    if shape.color:
        numbers["color"] = [np.asarray(plan.color, np.float32) for plan in plans]
    if shape.blur:
        sigmas = [plan.effects.blur_sigma or 0.0 for plan in plans]
        # A window of one pixel changes nothing, whatever sigma says; DALI wants it positive.
        numbers["sigma"] = [np.array([sigma or 1.0], np.float32) for sigma in sigmas]
        numbers["window"] = [np.array([blur_window(sigma)], np.int32) for sigma in sigmas]
    return numbers


class DaliCpuExecutor:
    """PyAV decodes in the threads that call ``prepare``; DALI's CPU backend does the rest."""

    def __init__(self, normalize: Normalize, *, num_threads: int) -> None:
        self._graphs = Graphs(normalize, decode=False, device="cpu", device_id=None, num_threads=num_threads)
        self.num_decoded_on_cpu: Counter[str] = Counter()

    def prepare(self, item: WorkItem) -> list[np.ndarray]:
        """uint8 [C*T, H, W, 3 or 2 L] for each plan."""
        return decode_item(item)

    def assemble(self, items: list[WorkItem], prepared: list[list[np.ndarray]]) -> Tensor:
        plans = [plan for item in items for plan in item.plans]
        views = self._graphs.run(plans, [frames for rows in prepared for frames in rows])
        erase(views, [plan.effects.erasures for plan in plans], self._graphs.normalize)
        return views

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])
