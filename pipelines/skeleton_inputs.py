"""The input maker of skeleton pipelines: packed keypoints to skeletons for graph models, or to heatmaps.

All of a sample is one array, so it is worked on whole, by NumPy; heatmaps are drawn for a whole batch on the device.

Shapes: B rows, V clips, M people, T frames, K keypoints, C coordinates, L limbs, H x W pixels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vidflow.config.skeleton import BodyNormalize, ScreenNormalize, SkeletonPipeline
from vidflow.errors import DataError, DecodeError
from vidflow.members import skeleton_arrays
from vidflow.pipelines.inputs import Content
from vidflow.pipelines.sampling import clip_shape
from vidflow.pipelines.skeleton_boxes import placed
from vidflow.pipelines.skeleton_features import features_of
from vidflow.pipelines.skeleton_heatmaps import heatmaps_of
from vidflow.pipelines.skeleton_layouts import layout_problem
from vidflow.pipelines.skeleton_normalize import body_normalized, screen_normalized
from vidflow.pipelines.skeleton_people import Skeletons, fill_people, people_of
from vidflow.pipelines.skeleton_plan import SkeletonPlan, make_skeleton_plan
from vidflow.schema import SampleRecord, SkeletonInfo
from vidflow.skeletons.layouts import LAYOUTS, SkeletonLayout, find_layout

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class SkeletonItem:
    """One sample on its way to one or more rows."""

    record: SampleRecord
    plans: tuple[SkeletonPlan, ...]
    data: Content
    num_values: int
    """Of a row that is prepared."""

    @property
    def num_bytes(self) -> int:
        info = info_of(self.record)
        packed = info.num_people * info.num_frames * info.num_keypoints * (info.num_coords + 1)
        return _FLOAT_BYTES * (packed + self.num_values * len(self.plans))


def info_of(record: SampleRecord) -> SkeletonInfo:
    """What the record says of the skeletons.

    Raises:
        DataError: the sample has none.
    """
    if record.skeleton is None:
        raise DataError(f"sample {record.key} ({record.id}): is of kind {record.kind}, a skeleton pipeline needs one")
    return record.skeleton


class SkeletonMaker:
    """``skeletons`` float32 [B, V, M, T, K, C], or ``clips`` [B, V, K and/or L, T, H, W] of heatmaps."""

    def __init__(self, pipeline: SkeletonPipeline, device: torch.device | str = "cpu") -> None:
        self.pipeline, self.device = pipeline, torch.device(device)
        self.num_decoded_on_cpu: Counter[str] = Counter()
        self._layout = None if pipeline.layout is None else find_layout(pipeline.layout)

    # -- planning --------------------------------------------------------------------------------------------------

    def item(self, record: SampleRecord, data: Content, rngs: Sequence[np.random.Generator]) -> SkeletonItem:
        """The sample with a plan from each generator.

        Raises:
            DataError: the pipeline does not fit skeletons of this kind.
        """
        info = info_of(record)
        self._check(record, info)
        plans = tuple(make_skeleton_plan(info.num_coords, self.pipeline, rng) for rng in rngs)
        return SkeletonItem(record, plans, data, int(np.prod(self._row_shape(info))))

    def layout(self, info: SkeletonInfo) -> SkeletonLayout | None:
        """The pipeline's layout, or the one that the sample is packed with; None of a custom one."""
        return self._layout or LAYOUTS.get(info.layout)

    def _check(self, record: SampleRecord, info: SkeletonInfo) -> None:
        pipeline, layout = self.pipeline, self.layout(info)
        problem = ""
        if layout is None:
            needs = [name for name in pipeline.features if name.startswith("bone")] + ["flip"] * (pipeline.flip > 0)
            if pipeline.heatmap is not None and (pipeline.heatmap.twice or pipeline.heatmap.kind != "keypoints"):
                needs.append("heatmap")
            if needs:
                problem = f"is of layout 'custom', of which {needs[0]} knows too little; give layout as a table"
        else:
            problem = layout_problem(pipeline.layout, layout, info)
        if isinstance(pipeline.normalize, ScreenNormalize) and info.num_coords != 2:
            problem = "has three coordinates; normalize.kind = 'screen' is for two, use 'body'"
        if isinstance(pipeline.normalize, BodyNormalize) and info.num_coords != 3:
            problem = "has two coordinates; normalize.kind = 'body' is for three, use 'screen'"
        if pipeline.heatmap is not None and info.num_coords != 2:
            problem = "has three coordinates; heatmaps show two"
        if problem:
            raise DataError(f"sample {record.key} ({record.id}): {problem}")

    def _with_scores(self, info: SkeletonInfo) -> bool:
        return info.num_coords == 2 if self.pipeline.scores is None else self.pipeline.scores

    def _row_shape(self, info: SkeletonInfo) -> tuple[int, ...]:
        """[V, M, T, K, C] of a prepared row; of a heatmap's row C is x, y and score."""
        num_clips, length = clip_shape(self.pipeline.sampling)
        coords = info.num_coords + (self.pipeline.heatmap is not None or self._with_scores(info))
        channels = coords * len(self.pipeline.features)
        return num_clips, self.pipeline.num_people, length, info.num_keypoints, channels

    # -- carrying out ----------------------------------------------------------------------------------------------

    def prepare(self, item: SkeletonItem) -> list[np.ndarray]:
        """float32 [V, M, T, K, C] for each plan; for heatmaps C is x, y in pixels of the map and the score.

        Raises:
            DecodeError: the sample's members are damaged.
            DataError: the sample has not what the pipeline needs.
        """
        record, pipeline = item.record, self.pipeline
        info = info_of(record)
        if not isinstance(item.data, Mapping):
            raise DecodeError(f"sample {record.key} ({record.id}): of kind 'skeleton' needs its members")
        people = people_of(*skeleton_arrays(record, item.data), pipeline)
        try:
            if pipeline.heatmap is not None:
                return [self._for_heatmaps(people, plan, info) for plan in item.plans]
            people = self._normalized(people, info)
            return [self._for_graphs(people, plan, info) for plan in item.plans]
        except DataError as error:
            raise DataError(f"sample {record.key} ({record.id}): {error}") from error

    def _size(self, info: SkeletonInfo) -> tuple[int, int] | None:
        return None if info.height is None or info.width is None else (info.height, info.width)

    def _normalized(self, people: Skeletons, info: SkeletonInfo) -> Skeletons:
        match self.pipeline.normalize:
            case ScreenNormalize() as screen:
                return screen_normalized(people, screen, self._size(info))
            case BodyNormalize() as body:
                return body_normalized(people, body, self.layout(info))
        return people

    def _frames(self, people: Skeletons, plan: SkeletonPlan) -> tuple[np.ndarray, np.ndarray | None]:
        """The frames of all clips, int64 [V * T], and which of them shall be zeros, bool [V * T]."""
        frames, padding = plan.frames(people.points.shape[1], self.pipeline.sampling)
        zeros = padding.reshape(-1) if self.pipeline.fill == "zero" and padding.any() else None
        return frames.reshape(-1), zeros

    def _for_graphs(self, people: Skeletons, plan: SkeletonPlan, info: SkeletonInfo) -> np.ndarray:
        layout = self.layout(info)
        if plan.warp is not None:
            people = replace(people, points=people.points @ plan.warp.T)
        if plan.mirror:
            assert layout is not None
            people = _mirrored(people, layout, self._axis(info))
        frames, zeros = self._frames(people, plan)
        bones = layout.bones if layout is not None else ()
        values = features_of(people, frames, self.pipeline.features, bones, scores=self._with_scores(info))
        return self._row(values, zeros, info)

    def _axis(self, info: SkeletonInfo) -> float:
        """Where the first coordinate is mirrored: the picture's middle in pixels, 0 of other coordinates."""
        if info.num_coords == 3 or self.pipeline.normalize is not None:
            return 0.0
        if info.width is None:
            raise DataError("has no picture size, which mirroring pixels needs; use normalize")
        return info.width / 2

    def _for_heatmaps(self, people: Skeletons, plan: SkeletonPlan, info: SkeletonInfo) -> np.ndarray:
        frames, zeros = self._frames(people, plan)
        shown = placed(people.take(frames=frames), plan, self.pipeline, self.layout(info), self._size(info))
        assert self.pipeline.heatmap is not None
        scores = shown.scores if self.pipeline.heatmap.use_scores else shown.present.astype(np.float32)
        return self._row(np.concatenate([shown.points, scores[..., None]], axis=-1), zeros, info)

    def _row(self, values: np.ndarray, zeros: np.ndarray | None, info: SkeletonInfo) -> np.ndarray:
        """[M, V * T, K, C] -> [V, M, T, K, C] with the wanted number of people."""
        if zeros is not None:
            values[:, zeros] = 0
        values = fill_people(values, self.pipeline.num_people, self.pipeline.fill_people)
        num_clips, num_people, *rest = self._row_shape(info)
        return values.reshape(num_people, num_clips, *rest).swapaxes(0, 1)

    def assemble(self, items: Sequence[SkeletonItem], prepared: Sequence[list[np.ndarray]]) -> dict[str, Tensor]:
        first = prepared[0][0].shape
        for item, rows in zip(items, prepared, strict=True):
            if rows[0].shape != first:
                record, other = item.record, items[0].record
                raise DataError(
                    f"sample {record.key} ({record.id}): gives {list(rows[0].shape)} (clips, people, frames, "
                    f"keypoints, coordinates), sample {other.key} ({other.id}) gives {list(first)}; they cannot "
                    "share a batch"
                )
        values = torch.from_numpy(np.stack([row for rows in prepared for row in rows])).to(self.device)
        if self.pipeline.heatmap is None:
            return {"skeletons": values}
        return {"clips": self._heatmaps(values, info_of(items[0].record))}

    def _heatmaps(self, values: Tensor, info: SkeletonInfo) -> Tensor:
        """[B, V, M, T, K, 3], x y and score -> [B, V, C, T, H, W]; with ``twice`` the mirrored views follow."""
        assert self.pipeline.heatmap is not None
        return heatmaps_of(values, self.pipeline.heatmap, self.layout(info), self.pipeline.size)

    def blank(self, item: SkeletonItem) -> dict[str, Tensor]:
        info = info_of(item.record)
        values = torch.zeros(1, *self._row_shape(info), device=self.device)
        return {"skeletons": values} if self.pipeline.heatmap is None else {"clips": self._heatmaps(values, info)}


def _mirrored(people: Skeletons, layout: SkeletonLayout, axis: float) -> Skeletons:
    """Left and right exchanged: the first coordinate mirrored at ``axis``, and the keypoints of the sides swapped."""
    order = list(layout.mirrored)
    points, present = people.points[:, :, order], people.present[:, :, order]
    points[..., 0] = np.where(present, np.float32(2 * axis) - points[..., 0], points[..., 0])
    return Skeletons(points, people.scores[:, :, order], present)
