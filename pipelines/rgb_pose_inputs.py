"""The input maker of ``rgb_pose`` pipelines: frames and heatmaps of one box of a video with skeletons.

The box is known once the keypoints are read; then the frames are decoded and resampled by an executor like any clip's.
Where the box reaches out of the picture, grey is seen there; MMAction2's MMCompact has black.

Shapes: B rows, V clips, T frames, T' heatmaps, M people, K keypoints, H x W pixels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidflow.config.rgb_pose import RGBPosePipeline
from vidflow.config.skeleton import SkeletonSampling
from vidflow.errors import DataError, DecodeError
from vidflow.members import skeleton_arrays, stream_bytes
from vidflow.pipelines.effects import Effects
from vidflow.pipelines.executor import Executor
from vidflow.pipelines.inputs import Content
from vidflow.pipelines.plan import Plan
from vidflow.pipelines.sampling import clip_shape, fold, policy_of, positions
from vidflow.pipelines.skeleton_boxes import moved, view_box
from vidflow.pipelines.skeleton_heatmaps import drawn_layout, heatmaps_of
from vidflow.pipelines.skeleton_layouts import layout_problem
from vidflow.pipelines.skeleton_people import Skeletons, choose_people, fill_people, present_skeletons
from vidflow.pipelines.work import WorkItem
from vidflow.schema import FramesInfo, SampleRecord, SkeletonInfo, VideoInfo
from vidflow.skeletons.layouts import LAYOUTS, SkeletonLayout, find_layout

_FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class RGBPosePlan:
    """What is drawn for one row."""

    frames: np.ndarray
    """int64 [V, T], frames of the video."""
    pose_frames: np.ndarray
    """int64 [V, T'], frames of the skeletons."""
    box_seed: int
    """Of the crop."""
    mirror: bool
    """Whether left and right change places."""

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """None: all inputs are made of pixels and keypoints."""
        return {}

    def move_labels(self, labels: Sequence[int], flip_labels: Mapping[int, int]) -> tuple[int, ...]:
        """The sample's labels, replaced where ``flip_labels`` lists them and the row is mirrored."""
        return tuple(flip_labels.get(label, label) for label in labels) if self.mirror else tuple(labels)


@dataclass(frozen=True)
class RGBPoseItem:
    """One sample on its way to one or more rows."""

    record: SampleRecord
    plans: tuple[RGBPosePlan, ...]
    data: Content
    num_bytes: int


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` gives."""

    skeletons: list[np.ndarray]
    """float32 [V, M, T', K, 3] for each plan: x, y in pixels of the heatmap, and the score."""
    item: WorkItem
    frames: object
    """What the executor's first step gives."""


def infos_of(record: SampleRecord) -> tuple[VideoInfo | FramesInfo, SkeletonInfo]:
    """What the record says of the pictures and of the skeletons.

    Raises:
        DataError: the sample lacks one of them.
    """
    pictures = record.video or record.frames
    if pictures is None or record.skeleton is None:
        raise DataError(
            f"sample {record.key} ({record.id}): is of kind {record.kind} without "
            f"{'pictures' if pictures is None else 'skeletons'}; an rgb_pose pipeline needs videos that were packed "
            "with --skeletons"
        )
    return pictures, record.skeleton


def draw_frames(num_frames: int, sampling: SkeletonSampling, rng: np.random.Generator) -> np.ndarray:
    """Frames of all clips, int64 [V, T]."""
    return fold(positions(num_frames, sampling, rng), num_frames, policy_of(sampling))


def clip_plan(
    frames: np.ndarray, box: np.ndarray, picture: tuple[int, int], size: tuple[int, int], *, mirror: bool
) -> Plan:
    """The plan that shows a box in all clips, whether it lies inside the picture or not.

    Args:
        frames: int64 [V, T].
        box: float64 [4], x1 y1 x2 y2 in pixels.
        picture: height and width in pixels.
        size: of the output, height and width in pixels.
    """
    height, width = picture
    effects, shown = Effects(), box
    if (box[:2] < 0).any() or (box[2:] > [width, height]).any():
        # A frame that is the box, stretched to the picture's size, is looked at as a whole.
        stretch = np.diag([(box[2] - box[0]) / width, (box[3] - box[1]) / height])
        effects, shown = Effects(warp=np.column_stack([stretch, box[:2]])), np.array([0.0, 0.0, width, height])
    num_clips = len(frames)
    return Plan(
        frames=frames.reshape(-1).astype(np.int64),
        num_clips=num_clips,
        view_clips=np.arange(num_clips, dtype=np.int64),
        boxes=np.tile(shown.astype(np.float32), (num_clips, 1)),
        mirror=np.full(num_clips, mirror),
        size=size,
        effects=effects,
    )


class RGBPoseMaker:
    """``clips`` float32 [B, V, 3, T, H, W] by an executor, and ``heatmaps`` float32 [B, V, K and/or L, T', h, w]."""

    def __init__(self, pipeline: RGBPosePipeline, executor: Executor, device: torch.device | str = "cpu") -> None:
        self.pipeline, self.executor, self.device = pipeline, executor, torch.device(device)
        self._layout = None if pipeline.layout is None else find_layout(pipeline.layout)

    @property
    def num_decoded_on_cpu(self) -> Counter[str]:
        return self.executor.num_decoded_on_cpu

    def item(self, record: SampleRecord, data: Content, rngs: Sequence[np.random.Generator]) -> RGBPoseItem:
        """The sample with a plan from each generator.

        Raises:
            DataError: the sample lacks pictures or skeletons, is too short for a sampling that refuses such, or its
                skeletons do not fit the pipeline.
        """
        pictures, info = infos_of(record)
        try:
            self._check(info)
            plans = tuple(self._plan(pictures.num_frames, rng) for rng in rngs)
        except DataError as error:
            raise DataError(f"sample {record.key} ({record.id}): {error}") from error
        num_frames = len(np.unique(np.concatenate([plan.frames.reshape(-1) for plan in plans])))
        decoded = 3 * max(
            num_frames * pictures.height * pictures.width,
            len(plans) * int(np.prod(clip_shape(self.pipeline.sampling))) * int(np.prod(self.pipeline.size)),
        )
        return RGBPoseItem(record, plans, data, decoded + len(plans) * _FLOAT_BYTES * int(np.prod(self._shape(info))))

    def _plan(self, num_frames: int, rng: np.random.Generator) -> RGBPosePlan:
        frames_seed, pose_seed, box_seed = (int(seed) for seed in rng.integers(2**63, size=3))
        mirror = bool(rng.random() < self.pipeline.flip)
        frames = draw_frames(num_frames, self.pipeline.sampling, np.random.default_rng(frames_seed))
        pose = draw_frames(num_frames, self.pipeline.pose_sampling, np.random.default_rng(pose_seed))
        if len(frames) != len(pose):
            raise DataError(f"sampling gives {len(frames)} clips and pose_sampling {len(pose)}; make them equal")
        return RGBPosePlan(frames, pose, box_seed, mirror)

    def layout(self, info: SkeletonInfo) -> SkeletonLayout | None:
        """The pipeline's layout, or the one that the sample is packed with; None of a custom one."""
        return self._layout or LAYOUTS.get(info.layout)

    def _check(self, info: SkeletonInfo) -> None:
        layout, heatmap = self.layout(info), self.pipeline.heatmap
        if info.num_coords != 2:
            raise DataError("has three coordinates; heatmaps show two")
        if layout is None and (self.pipeline.flip or heatmap.kind != "keypoints"):
            raise DataError("is of layout 'custom', and flip and limbs need to know its bones; give layout")
        if layout is not None:
            if problem := layout_problem(self.pipeline.layout, layout, info):
                raise DataError(problem)
            drawn_layout(heatmap, layout)

    def _shape(self, info: SkeletonInfo) -> tuple[int, ...]:
        """[V, M, T', K, 3] of a row's skeletons."""
        num_clips, length = clip_shape(self.pipeline.pose_sampling)
        return num_clips, self.pipeline.num_people, length, info.num_keypoints, 3

    def prepare(self, item: RGBPoseItem) -> Prepared:
        """Keypoints in pixels of the heatmaps, and the executor's part.

        Raises:
            DecodeError: the sample's members are damaged.
            DataError: the sample has not what the pipeline needs.
        """
        record, pipeline = item.record, self.pipeline
        pictures, info = infos_of(record)
        if not isinstance(item.data, Mapping):
            raise DecodeError(f"sample {record.key} ({record.id}): an rgb_pose pipeline needs its members")
        people = self._people(record, item.data, pictures, info)
        picture = (pictures.height, pictures.width)
        skeletons, plans = [], []
        for plan in item.plans:
            shown = people.take(frames=plan.pose_frames.reshape(-1))
            box = view_box(
                shown,
                picture,
                compact=pipeline.compact,
                crop=pipeline.crop,
                short_side=pipeline.short_side,
                size=pipeline.size,
                seed=plan.box_seed,
            )
            mirrored = self.layout(info) if plan.mirror else None
            skeletons.append(self._row(moved(shown, box, pipeline.heatmap_size, mirrored), info))
            plans.append(clip_plan(plan.frames, box, picture, pipeline.size, mirror=plan.mirror))
        data = stream_bytes(record, item.data) if record.video is not None else item.data
        work = WorkItem(record, plans[0], data, tuple(plans[1:]))
        return Prepared(skeletons, work, self.executor.prepare(work))

    def _people(
        self, record: SampleRecord, data: Mapping[str, bytes], pictures: VideoInfo | FramesInfo, info: SkeletonInfo
    ) -> Skeletons:
        """Those that are drawn, in pixels of the pictures as they are packed."""
        points, scores = skeleton_arrays(record, data)
        people = present_skeletons(points, scores)
        people = choose_people(people, self.pipeline.num_people, self.pipeline.choose_people)
        if info.width is not None and info.height is not None:
            # Pictures may have been made smaller after the people were found in them.
            scale = np.array([pictures.width / info.width, pictures.height / info.height], np.float32)
            people = Skeletons(people.points * scale, people.scores, people.present)
        return people

    def _row(self, people: Skeletons, info: SkeletonInfo) -> np.ndarray:
        """[M, V * T', K, ...] -> [V, M, T', K, 3] with places for all people."""
        scores = people.scores if self.pipeline.heatmap.use_scores else people.present.astype(np.float32)
        values = np.concatenate([people.points, scores[..., None]], axis=-1)
        values = fill_people(values, self.pipeline.num_people, "zero")
        num_clips, num_people, *rest = self._shape(info)
        return values.reshape(num_people, num_clips, *rest).swapaxes(0, 1)

    def assemble(self, items: Sequence[RGBPoseItem], prepared: Sequence[Prepared]) -> dict[str, Tensor]:
        infos = [infos_of(item.record)[1] for item in items]
        for item, info in zip(items, infos, strict=True):
            if (info.num_keypoints, info.layout) != (infos[0].num_keypoints, infos[0].layout):
                raise DataError(
                    f"sample {item.record.key} ({item.record.id}): has {info.num_keypoints} keypoints ({info.layout}), "
                    f"sample {items[0].record.key} {infos[0].num_keypoints} ({infos[0].layout}); they cannot share a "
                    "batch"
                )
        clips = self.executor.assemble([part.item for part in prepared], [part.frames for part in prepared])
        rows = np.stack([row for part in prepared for row in part.skeletons])
        return {"clips": clips, "heatmaps": self._heatmaps(torch.from_numpy(rows).to(self.device), infos[0])}

    def _heatmaps(self, rows: Tensor, info: SkeletonInfo) -> Tensor:
        return heatmaps_of(rows, self.pipeline.heatmap, self.layout(info), self.pipeline.heatmap_size)

    def blank(self, item: RGBPoseItem) -> dict[str, Tensor]:
        _, info = infos_of(item.record)
        num_clips, length = clip_shape(self.pipeline.sampling)
        rows = torch.zeros(1, *self._shape(info), device=self.device)
        clips = torch.zeros(1, num_clips, 3, length, *self.pipeline.size)
        return {"clips": clips, "heatmaps": self._heatmaps(rows, info)}
