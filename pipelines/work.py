"""Work items, and what executors do with one on the CPU: decode its frames, and resample them where that is exact.

Nothing here needs torch or DALI, so that processes that only decode start at once and stay small.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vidflow.errors import DecodeError
from vidflow.media.decode import decode_frames, show_frames
from vidflow.members import flow_arrays, flow_suffix, frame_arrays, frame_suffix
from vidflow.pipelines.effects import change_frames
from vidflow.pipelines.host_resample import Allocate, ViewWriter, can_resample, empty_pixels, resampled_views
from vidflow.pipelines.plan import Plan
from vidflow.schema import FramesInfo, SampleRecord

Source = np.ndarray | list[np.ndarray]
"""What one plan of a sample becomes on the CPU: frames, uint8 [C*T, H, W, 3 or 2 L]; or a list of its resampled views,
uint8 [T, h, w, 3] each."""


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
        data = _pictures(item)
        if not length:
            wanted, places = np.unique(numbers, return_inverse=True)
            frames = frame_arrays(record, data, wanted.tolist())
            return frames if np.array_equal(wanted, numbers) else frames[places]
        steps = _flow_steps(numbers, length, record.frames)
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


def _flow_steps(firsts: np.ndarray, length: int, info: FramesInfo) -> np.ndarray:
    """Steps of flow that are stacked, int64 [N, L]; where a sample ends, its last one repeats."""
    return np.minimum(firsts[:, None] + np.arange(length), info.num_flow - 1)


def _pictures(item: WorkItem) -> Mapping[str, bytes]:
    record, data = item.record, item.data
    if not isinstance(data, Mapping):
        raise ValueError(f"sample {record.key} ({record.id}) of kind 'frames' needs its members, not {type(data)}")
    return data


class HostPrepare(Protocol):
    """``prepare_on_host``, or something that has it done elsewhere."""

    def __call__(self, item: WorkItem, *, resample: bool) -> list[Source]: ...


def prepare_on_host(item: WorkItem, *, resample: bool, allocate: Allocate = empty_pixels) -> list[Source]:
    """For each plan its frames, or its views where ``resample`` asks for them and OpenCV is exact.

    Args:
        allocate: makes uint8 arrays for views.

    Raises:
        DecodeError: naming the sample.
    """
    writes = [resample and can_resample(plan) for plan in item.plans]
    if all(writes) and not any(plan.effects.on_host for plan in item.plans):
        return _views_of_frames_as_they_come(item, allocate)
    return [
        resampled_views(frames, plan, allocate) if write else frames
        for frames, plan, write in zip(decode_item(item), item.plans, writes, strict=True)
    ]


def _views_of_frames_as_they_come(item: WorkItem, allocate: Allocate) -> list[Source]:
    """Each frame is resampled while the processor still has it at hand, and then forgotten."""
    writers = [ViewWriter(plan, allocate) for plan in item.plans]
    places: dict[int, list[tuple[ViewWriter, int]]] = {}
    for writer, plan in zip(writers, item.plans, strict=True):
        for position, number in enumerate(plan.frames.tolist()):
            places.setdefault(number, []).append((writer, position))

    def show(number: int, frame: np.ndarray) -> None:
        for writer, position in places[number]:
            writer.write(position, frame)

    record, data = item.record, item.data
    if record.video is not None:
        assert not isinstance(data, Mapping)
        try:
            show_frames(data, record.video, sorted(places), show)
        except DecodeError as error:
            raise DecodeError(f"sample {record.key} ({record.id}): {error}") from error
    else:
        for number in sorted(places):
            (frame,) = frame_arrays(record, _pictures(item), [number])
            show(number, frame)
    return [writer.views for writer in writers]


def needed_content(item: WorkItem) -> bytes | Path | dict[str, bytes]:
    """The part of ``item.data`` that decoding will look at: of many pictures, those that the plans show."""
    info = item.record.frames
    if info is None or not isinstance(item.data, Mapping):
        assert isinstance(item.data, bytes | Path)
        return item.data
    names: set[str] = set()
    for plan in item.plans:
        if plan.flow_length:
            steps = np.unique(_flow_steps(plan.frames, plan.flow_length, info))
            names.update(flow_suffix(axis, step) for step in steps.tolist() for axis in "xy")
        else:
            names.update(frame_suffix(info, frame) for frame in np.unique(plan.frames).tolist())
    return {name: data for name, data in item.data.items() if name in names}
