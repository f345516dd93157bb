"""Plans through DALI graphs, and the executor for the CPU."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.pipelines.effects import blur_window
from vidflow.pipelines.erasing import erase
from vidflow.pipelines.graph import GraphShape, build_graph
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.reference import view_matrix
from vidflow.pipelines.work import HostPrepare, Source, WorkItem, prepare_on_host


def graph_shape(plan: Plan, *, resampled: bool = False, pictures: bool = False, colors: bool = False) -> GraphShape:
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
        pictures=pictures,
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
        self,
        plans: list[Plan],
        sources: Sequence[np.ndarray | list[np.ndarray]],
        colors: Sequence[np.ndarray | None] | None = None,
    ) -> Tensor:
        """float32 [B, V, C, T, H, W].

        Args:
            sources: frames or encoded bytes, one per plan; or a list, of its resampled views, or of its encoded
                pictures where the graph decodes. Of one kind in a call.
            colors: float32 [3, 3] per plan, from decoded RGB to the stream's; None where they are the same.
        """
        outputs = {(plan.num_views, plan.clip_length, plan.size, plan.flow_length) for plan in plans}
        if len(outputs) > 1:
            raise ValueError(
                "plans of one batch must have one shape, not these of views, frames, size and steps of flow: "
                + ", ".join(map(str, sorted(outputs)))
            )
        if self.decode and isinstance(sources[0], list):
            return self._run_pictures(plans, cast(list[list[np.ndarray]], sources))
        if self.decode:
            matrices = colors or [None] * len(plans)
            rows = [_Row(*row) for row in zip(plans, cast(list[np.ndarray], sources), matrices, strict=True)]
            return self._run_rows(rows)
        # Decoded frames can be handed out view by view: one small graph then serves any number of views.
        rows = [row for plan, source in zip(plans, sources, strict=True) for row in _single_views(plan, source)]
        views = self._run_rows(rows)
        return views.reshape(len(plans), -1, *views.shape[2:])  # [B * V, 1, ...] -> [B, V, ...]

    def _run_pictures(self, plans: list[Plan], sources: list[list[np.ndarray]]) -> Tensor:
        """Each picture is a sample of the graph, and becomes the views of its clip."""
        rows = [row for plan, pictures in zip(plans, sources, strict=True) for row in _single_pictures(plan, pictures)]
        views = self._run_rows(rows)  # [B * C * T, K, channels, 1, h, w] with K views of a clip
        first, (views_of_clip, channels, _, *size) = plans[0], views.shape[1:]
        views = views.reshape(len(plans), first.num_clips, first.clip_length, views_of_clip, channels, *size)
        return views.permute(0, 1, 3, 4, 2, 5, 6).reshape(len(plans), -1, channels, first.clip_length, *size)

    def forget(self) -> None:
        """Give up all built graphs: one that has failed cannot run again."""
        self._built.clear()

    def _run_rows(self, rows: "list[_Row]") -> Tensor:
        # Within a batch the chance of policies may send plans through different graphs.
        shapes = [
            graph_shape(row.plan, resampled=row.resampled, pictures=row.picture, colors=row.colors is not None)
            for row in rows
        ]
        parts = []
        for shape in dict.fromkeys(shapes):
            places = [place for place, other in enumerate(shapes) if other == shape]
            # For the whole batch's size: chance gives this shape another number of rows each time.
            parts.append((places, self._run(self._graph(shape, len(rows)), shape, [rows[place] for place in places])))
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

    def _run(self, pipe: Any, shape: GraphShape, rows: "list[_Row]") -> Tensor:
        sources = [row.source for row in rows]
        if self.decode:
            pipe.feed_input("video", sources)
        if self.decode and not shape.pictures:
            pipe.feed_input("numbers", [row.plan.frames.astype(np.int32) for row in rows])
        if not self.decode:
            pipe.feed_input("frames", sources, layout="FHWC")
        if shape.colors:
            pipe.feed_input("colors", [row.colors for row in rows])
        for name, values in _numbers(shape, [row.plan for row in rows]).items():
            pipe.feed_input(name, values)
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


@dataclass(frozen=True, eq=False)
class _Row:
    """What one sample of a graph is fed with."""

    plan: Plan
    source: np.ndarray
    colors: np.ndarray | None = None
    resampled: bool = False
    picture: bool = False


def _single_pictures(plan: Plan, pictures: list[np.ndarray]) -> list[_Row]:
    """A plan and its encoded pictures, uint8 [n] each, as a plan per picture that shows all views of its clip.

    Raises:
        ValueError: views do not come clip by clip, equally many of each.
    """
    clips = plan.view_clips.reshape(plan.num_clips, -1) if plan.num_views % plan.num_clips == 0 else plan.view_clips
    if clips.ndim != 2 or (clips != np.arange(plan.num_clips)[:, None]).any():
        raise ValueError(f"views of pictures must come clip by clip, not {plan.view_clips.tolist()}")
    views_of_clip = clips.shape[1]
    rows = []
    for clip in range(plan.num_clips):
        views = slice(clip * views_of_clip, (clip + 1) * views_of_clip)
        single = replace(
            plan,
            frames=plan.frames[:1],  # the graph of pictures is not asked for frames by number
            num_clips=1,
            view_clips=np.zeros(views_of_clip, np.int64),
            boxes=plan.boxes[views],
            mirror=plan.mirror[views],
            padding=None,
        )
        shown = pictures[clip * plan.clip_length : (clip + 1) * plan.clip_length]
        rows += [_Row(single, picture, picture=True) for picture in shown]
    return rows


def _single_views(plan: Plan, source: "np.ndarray | list[np.ndarray]") -> list[_Row]:
    """A plan and its frames [C * T, H, W, channels], or its resampled views, as one plan per view, with the frames of
    its clip; nothing is copied."""
    resampled = isinstance(source, list)
    if plan.num_views == 1 and plan.num_clips == 1:
        return [_Row(plan, source[0] if isinstance(source, list) else source, resampled=resampled)]
    numbers, chosen = plan.frames.reshape(plan.num_clips, -1), plan.view_clips.tolist()
    pictures = source
    if not isinstance(pictures, list):
        clips = np.split(pictures, plan.num_clips)
        pictures = [clips[clip] for clip in chosen]
    plans = [
        replace(
            plan,
            frames=numbers[clip],
            num_clips=1,
            view_clips=np.zeros(1, np.int64),
            boxes=plan.boxes[view : view + 1],
            mirror=plan.mirror[view : view + 1],
            padding=None,
        )
        for view, clip in enumerate(chosen)
    ]
    return [_Row(single, picture, resampled=resampled) for single, picture in zip(plans, pictures, strict=True)]


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
    elif not shape.resampled:
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
    """PyAV decodes and OpenCV resamples in the threads that call ``prepare``; DALI's CPU backend does the rest.

    Where OpenCV is not exact, DALI resamples too.
    """

    def __init__(self, normalize: Normalize, *, num_threads: int, host: HostPrepare = prepare_on_host) -> None:
        self._graphs = Graphs(normalize, decode=False, device="cpu", device_id=None, num_threads=num_threads)
        self._host = host
        self.num_decoded_on_cpu: Counter[str] = Counter()

    def prepare(self, item: WorkItem) -> list[Source]:
        """For each plan its views, uint8 [T, h, w, 3] each, or frames [C*T, H, W, 3 or 2 L] for DALI to resample."""
        return self._host(item, resample=True)

    def assemble(self, items: list[WorkItem], prepared: list[list[Source]]) -> Tensor:
        plans = [plan for item in items for plan in item.plans]
        views = self._graphs.run(plans, [source for sources in prepared for source in sources])
        erase(views, [plan.effects.erasures for plan in plans], self._graphs.normalize)
        return views

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])
