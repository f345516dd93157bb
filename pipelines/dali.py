"""Executors on DALI: frames decoded by PyAV in the loader's threads (CPU), or by NVDEC inside the graph (GPU)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.errors import DecodeError
from vidflow.pipelines.executor import WorkItem, decode_item
from vidflow.pipelines.graph import GraphShape, build_graph
from vidflow.pipelines.hardware import nvdec_refusal
from vidflow.pipelines.plan import Plan


def graph_shape(plan: Plan) -> GraphShape:
    """The graph that a plan runs through."""
    return GraphShape(
        view_clips=tuple(plan.view_clips.tolist()),
        num_frames=len(plan.frames) // plan.num_clips,
        num_clips=plan.num_clips,
        size=plan.size,
        color=plan.color is not None,
    )


class _Graphs:
    """Built graphs by shape, rebuilt larger when a larger batch comes."""

    def __init__(
        self, normalize: Normalize, *, decode: bool, device: str, device_id: int | None, num_threads: int
    ) -> None:
        self.normalize, self.num_threads = normalize, num_threads
        self.decode, self.device, self.device_id = decode, device, device_id
        self._built: dict[GraphShape, Any] = {}

    def run(self, items: list[WorkItem], sources: list[np.ndarray]) -> Tensor:
        """float32 [B, V, C, T, H, W]; ``sources`` are frames or encoded bytes."""
        plans = [item.plan for item in items]
        shape = graph_shape(plans[0])
        if any(graph_shape(plan) != shape for plan in plans):
            raise ValueError(
                f"plans of one batch must have one shape, not {sorted({str(graph_shape(plan)) for plan in plans})}"
            )
        pipe = self._built.get(shape)
        if pipe is None or pipe.max_batch_size < len(plans):
            pipe = build_graph(
                shape,
                self.normalize,
                decode=self.decode,
                device=self.device,
                device_id=self.device_id,
                batch_size=len(plans),
                num_threads=self.num_threads,
            )
            self._built[shape] = pipe
        if self.decode:
            pipe.feed_input("video", sources)
            pipe.feed_input("numbers", [plan.frames.astype(np.int32) for plan in plans])
        else:
            pipe.feed_input("frames", sources, layout="FHWC")
        pipe.feed_input("starts", [np.ascontiguousarray(plan.boxes[:, 1::-1], np.float32) for plan in plans])
        pipe.feed_input("ends", [np.ascontiguousarray(plan.boxes[:, :1:-1], np.float32) for plan in plans])
        pipe.feed_input("mirror", [plan.mirror.astype(np.int32) for plan in plans])
        if shape.color:
            pipe.feed_input("color", [np.asarray(plan.color, np.float32) for plan in plans])
        # With DALI's dynamic executor an output stays valid as long as it is referred to: no copy is needed.
        views = torch.from_dlpack(pipe.run()[0].as_tensor())
        return views if views.dim() == 6 else views[:, None]  # [B, C, T, H, W] -> [B, 1, C, T, H, W] where V is 1


class DaliCpuExecutor:
    """PyAV decodes in the threads that call ``prepare``; DALI's CPU backend does the rest."""

    def __init__(self, normalize: Normalize, *, num_threads: int) -> None:
        self._graphs = _Graphs(normalize, decode=False, device="cpu", device_id=None, num_threads=num_threads)

    def prepare(self, item: WorkItem) -> np.ndarray:
        """uint8 [C*T, H, W, 3]."""
        return decode_item(item)

    def assemble(self, items: list[WorkItem], prepared: list[np.ndarray]) -> Tensor:
        return self._graphs.run(items, prepared)

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])


class DaliGpuExecutor:
    """NVDEC decodes what it can, PyAV the rest, sample by sample; one graph on the GPU does everything after that."""

    def __init__(self, normalize: Normalize, *, device: torch.device, num_threads: int) -> None:
        device_id = torch.cuda.current_device() if device.index is None else device.index
        self.device = torch.device("cuda", device_id)
        self.capability = torch.cuda.get_device_capability(device_id)
        self._decoding = _Graphs(normalize, decode=True, device="gpu", device_id=device_id, num_threads=num_threads)
        self._decoded = _Graphs(normalize, decode=False, device="gpu", device_id=device_id, num_threads=num_threads)
        self.num_decoded_on_cpu: dict[str, int] = {}
        """Samples that NVDEC was not given, by reason."""

    def prepare(self, item: WorkItem) -> np.ndarray:
        """uint8 [n] encoded bytes for NVDEC, or uint8 [C*T, H, W, 3] frames."""
        assert item.record.video is not None
        reason = nvdec_refusal(item.record.video, self.capability)
        if reason is not None:
            return decode_item(item)
        data = item.data if isinstance(item.data, bytes) else item.data.read_bytes()
        return np.frombuffer(data, np.uint8)

    def assemble(self, items: list[WorkItem], prepared: list[np.ndarray]) -> Tensor:
        encoded = [i for i, source in enumerate(prepared) if source.ndim == 1]
        decoded = [i for i, source in enumerate(prepared) if source.ndim == 4]
        for i in decoded:
            video = items[i].record.video
            assert video is not None
            reason = nvdec_refusal(video, self.capability) or ""
            self.num_decoded_on_cpu[reason] = self.num_decoded_on_cpu.get(reason, 0) + 1
        parts = []
        for graphs, rows in ((self._decoding, encoded), (self._decoded, decoded)):
            if rows:
                try:
                    parts.append(graphs.run([items[i] for i in rows], [prepared[i] for i in rows]))
                except RuntimeError as error:
                    names = ", ".join(f"{items[i].record.key} ({items[i].record.id})" for i in rows)
                    raise DecodeError(f"DALI failed on a batch of samples {names}: {error}") from error
        views = torch.cat(parts)
        back = torch.empty(len(items), dtype=torch.long)
        back[torch.tensor(encoded + decoded)] = torch.arange(len(items))
        return views[back.to(views.device)]

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])
