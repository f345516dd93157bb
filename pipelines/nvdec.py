"""The executor that decodes inside the DALI graph what the decoder there takes, and the rest on the CPU, per sample.

A sample passes four questions before its bytes go to the graph's decoder: what is done to its frames on the host
(``host_reason``), whether the chip takes its codec (``hardware``), whether its packets have the manifest's order
(``stream_order``), and whether the first stream of its class came out as the CPU decodes it (the trial). What fails at
run time all the same is decoded on the CPU. Every sample that does not come from the graph's decoder is counted by its
reason; none is lost, and rows keep their order.

On the GPU the decoder is NVDEC. DALI's CPU decoder takes VP8 and VP9 through the very same code, which is how the tests
run it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidflow.config.pipeline import Normalize
from vidflow.members import frame_suffix
from vidflow.pipelines.dali import Graphs, in_order
from vidflow.pipelines.effects import NO_EFFECTS
from vidflow.pipelines.erasing import erase
from vidflow.pipelines.hardware import nvdec_refusal
from vidflow.pipelines.jpeg_header import JpegHeader, read_jpeg_header
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.stream_order import StreamOrder, check_stream
from vidflow.pipelines.work import HostPrepare, Source, WorkItem, decode_item, prepare_on_host
from vidflow.schema import FramesInfo, VideoInfo

# Grey levels, mean over a frame: rounding and chroma between pixels give less than 2, a wrong frame or noise far more.
TRIAL_LEVELS = 4.0
# Streams of one class that may fail at run time before the class is decoded on the CPU for good.
MAX_FAILURES = 8
# Samples whose packets are remembered as checked.
MAX_REMEMBERED = 1 << 20

StreamClass = tuple[str, str | None, str, str, bool]
"""Codec, profile, pixel format, container, and whether colours are put right behind the decoder."""


@dataclass(frozen=True, eq=False)
class GraphDecoder:
    """The decoder inside the graph."""

    name: str
    """For messages."""
    refusal: Callable[[VideoInfo], str | None]
    """Why it is not given a stream; None where it takes it."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A sample behind the first step."""

    sources: Sequence[Source]
    """For each plan frames, uint8 [C*T, H, W, 3 or 2 L], or what the graph decodes: an encoded stream, uint8 [n], or
    encoded pictures."""
    reason: str | None
    """Why it was decoded on the CPU; None where the graph shall decode it."""
    colors: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Row:
    item: WorkItem
    plan: Plan
    source: Source
    colors: np.ndarray | None

    @property
    def kind(self) -> str:
        """What the source is."""
        if isinstance(self.source, list):
            return "pictures"
        return "stream" if self.source.ndim == 1 else "frames"


def host_reason(item: WorkItem) -> str | None:
    """Why a sample is decoded on the CPU whatever the graph's decoder takes; None where there is no reason."""
    if item.plan.flow_length:
        return "flow"
    if any(plan.effects.on_host for plan in item.plans):
        return "augmentation policy"
    # The graph decodes for one plan; it would have to decode again for the next.
    return "repeated augmentation" if item.more_plans else None


class GraphDecodingExecutor:
    """One graph decodes and resamples, another one resamples what the CPU has decoded.

    Args:
        decoder: None decodes everything on the CPU, by choice, and counts nothing.
        device: of both graphs, "gpu" or "cpu".
    """

    def __init__(
        self,
        normalize: Normalize,
        decoder: GraphDecoder | None,
        *,
        device: str,
        device_id: int | None = None,
        num_threads: int,
        host: HostPrepare = prepare_on_host,
    ) -> None:
        self.normalize, self.decoder, self._host = normalize, decoder, host

        def graphs(*, decode: bool) -> Graphs:
            return Graphs(normalize, decode=decode, device=device, device_id=device_id, num_threads=num_threads)

        self._new_graphs = graphs
        self._decoding, self._decoded = graphs(decode=True), graphs(decode=False)
        self.num_in_graph = 0
        """Samples that the graph's decoder has decoded."""
        self.num_decoded_on_cpu: Counter[str] = Counter()
        """Samples that it was not given, or has failed on, by reason."""
        self._orders: dict[int, StreamOrder] = {}
        self._classes: dict[StreamClass, str | None] = {}
        """Classes that were tried: why the CPU decodes them, or None."""
        self._failures: Counter[StreamClass] = Counter()

    # -- first step: any thread ------------------------------------------------------------------------------------

    def prepare(self, item: WorkItem) -> _Prepared:
        """The sample's bytes where the graph shall decode them, its frames otherwise.

        Raises:
            DecodeError: the CPU decoder cannot decode it, or the file cannot be opened.
        """
        if self.decoder is None:
            return _Prepared(self._host(item, resample=False), None)
        reason = host_reason(item)
        if reason is not None:
            return _Prepared(self._host(item, resample=False), reason)
        if item.record.video is None:
            return self._prepare_pictures(item)
        reason = self.decoder.refusal(item.record.video)
        if reason is None:
            order = self._order(item, item.record.video)
            reason = order.refusal or self._classes.get(_class(item, order.colors))
            if reason is None:
                return _Prepared([np.frombuffer(_content(item), np.uint8)], None, order.colors)
        return _Prepared(self._host(item, resample=False), reason)

    def _prepare_pictures(self, item: WorkItem) -> _Prepared:
        assert item.record.frames is not None
        assert isinstance(item.data, Mapping)
        info, order = item.record.frames, self._orders.get(_name(item))
        reason = (order.refusal if order is not None else None) or self._classes.get(_class(item, None))
        if reason is None and info.container != "jpg":
            reason = f"pictures as {info.container}"
        if reason is None:
            pictures = [item.data.get(frame_suffix(info, frame), b"") for frame in item.plan.frames.tolist()]
            if {read_jpeg_header(picture) for picture in pictures} <= _headers(info):
                return _Prepared([[np.frombuffer(picture, np.uint8) for picture in pictures]], None)
            reason = "pictures of an unusual kind"  # or damaged, which the CPU decoder will tell
        return _Prepared(self._host(item, resample=False), reason)

    def _order(self, item: WorkItem, video: VideoInfo) -> StreamOrder:
        name = _name(item)
        order = self._orders.get(name)
        if order is None:
            assert isinstance(item.data, bytes | Path)
            order = check_stream(item.data, video)
            if len(self._orders) < MAX_REMEMBERED:
                self._orders[name] = order
        return order

    # -- second step: one thread -----------------------------------------------------------------------------------

    def assemble(self, items: list[WorkItem], prepared: list[_Prepared]) -> Tensor:
        """float32 [B, V, C, T, H, W].

        Raises:
            DecodeError: a sample that the graph's decoder fails on, and the CPU decoder too.
        """
        rows = [
            _Row(item, plan, source, ready.colors)
            for item, ready in zip(items, prepared, strict=True)
            for plan, source in zip(item.plans, ready.sources, strict=True)
        ]
        counts = Counter(ready.reason for ready in prepared if ready.reason is not None)
        parts = []
        for kind in ("stream", "pictures"):
            encoded = [place for place, row in enumerate(rows) if row.kind == kind]
            for place in encoded:
                self._try_class(rows[place])
            parts += self._decode(rows, encoded, counts)
        num_in_graph = sum(len(places) for places, _ in parts)
        decoded = [place for place, row in enumerate(rows) if row.kind == "frames"]
        if decoded:
            plans, frames = [rows[i].plan for i in decoded], [rows[i].source for i in decoded]
            parts.append((decoded, self._decoded.run(plans, frames)))
        views = in_order(parts)
        erase(views, [row.plan.effects.erasures for row in rows], self.normalize)
        # Not before all has worked: a loader tries the samples of a batch that fails one by one.
        self.num_in_graph += num_in_graph
        self.num_decoded_on_cpu.update(counts)
        return views

    def run(self, items: list[WorkItem]) -> Tensor:
        return self.assemble(items, [self.prepare(item) for item in items])

    def _decode(self, rows: list[_Row], places: list[int], counts: Counter[str]) -> list[tuple[list[int], Tensor]]:
        """Views of the rows at some places, by the graph's decoder; rows that it cannot decode become frames in place.

        A batch that fails is halved until the one stream is found that it fails on.
        """
        left = []
        for place in places:
            reason = self._refused(rows[place])
            if reason is None:
                left.append(place)
            else:
                (frames,) = decode_item(rows[place].item)
                rows[place] = replace(rows[place], source=frames, colors=None)
                counts[reason] += 1
        if not left:
            return []
        some = [rows[place] for place in left]
        try:
            views = self._decoding.run([r.plan for r in some], [r.source for r in some], [r.colors for r in some])
        except RuntimeError:
            self._decoding.forget()
            if len(left) == 1:
                self._note_failure(some[0])
                return self._decode(rows, left, counts)
            half = len(left) // 2
            return self._decode(rows, left[:half], counts) + self._decode(rows, left[half:], counts)
        return [(left, views)]

    def _refused(self, row: _Row) -> str | None:
        """Why the CPU decodes a row that was to be decoded in the graph when it was prepared."""
        order = self._orders.get(_name(row.item))
        return (order.refusal if order is not None else None) or self._classes.get(_class(row.item, row.colors))

    def _note_failure(self, row: _Row) -> None:
        assert self.decoder is not None
        reason = f"{self.decoder.name} has failed"
        self._orders[_name(row.item)] = StreamOrder(reason)
        stream_class = _class(row.item, row.colors)
        self._failures[stream_class] += 1
        if self._failures[stream_class] == MAX_FAILURES:
            self._classes[stream_class] = f"{reason} on {MAX_FAILURES} streams of {_words(stream_class)}"

    def _try_class(self, row: _Row) -> None:
        """Decode the first stream of a class both ways; what fails is left to the next stream of the class.

        Raises:
            DecodeError: the CPU decoder fails on it.
        """
        stream_class = _class(row.item, row.colors)
        if stream_class in self._classes or self._refused(row) is not None:
            return
        assert self.decoder is not None
        plan = replace(row.plan, color=None, effects=NO_EFFECTS)
        expected = self._new_graphs(decode=False).run([plan], decode_item(replace(row.item, plan=plan)))
        try:
            views = self._new_graphs(decode=True).run([plan], [row.source], [row.colors])
        except RuntimeError:
            self._note_failure(row)
            return
        std = torch.tensor(self.normalize.std, device=views.device).view(-1, 1, 1, 1)
        levels = ((views - expected) * std).abs().mean(dim=(2, 4, 5)).max().item()  # [1, V, C, T, H, W] -> [1, V, T]
        bad = f"{self.decoder.name} decodes {_words(stream_class)} otherwise, by {levels:.0f} grey levels"
        self._classes[stream_class] = None if levels <= TRIAL_LEVELS else bad


def _name(item: WorkItem) -> int:
    """What a sample is remembered by: its bytes stay as they are, keys may repeat where data sets are joined."""
    record = item.record
    size = str(item.data) if isinstance(item.data, Path) else len(item.data)
    return hash((record.key, record.id, record.split, size))


def _content(item: WorkItem) -> bytes:
    assert isinstance(item.data, bytes | Path)
    return item.data if isinstance(item.data, bytes) else item.data.read_bytes()


def _headers(info: FramesInfo) -> set[JpegHeader | None]:
    """Those of the pictures that the graph's decoder is given: of the record's size, grey or in colour."""
    return {JpegHeader(info.height, info.width, components, 8) for components in (1, 3)}


def _class(item: WorkItem, colors: np.ndarray | None) -> StreamClass:
    video = item.record.video
    if video is None:
        return ("jpg", None, "pictures", "tar", False)
    return (video.codec, video.codec_profile, video.pixel_format, video.container, colors is not None)


def _words(stream_class: StreamClass) -> str:
    codec, profile, pixel_format, container, _ = stream_class
    return " ".join(filter(None, (codec, profile, pixel_format, "in", container)))


def gpu_executor(
    normalize: Normalize, *, device: torch.device, num_threads: int, decodes: bool, host: HostPrepare = prepare_on_host
) -> GraphDecodingExecutor:
    """The executor of a CUDA device.

    Args:
        decodes: give NVDEC what it takes; otherwise the CPU decodes everything.
    """
    device_id = torch.cuda.current_device() if device.index is None else device.index
    capability = torch.cuda.get_device_capability(device_id)
    decoder = GraphDecoder("NVDEC", lambda video: nvdec_refusal(video, capability))
    return GraphDecodingExecutor(
        normalize, decoder if decodes else None, device="gpu", device_id=device_id, num_threads=num_threads, host=host
    )
