"""A plan: the few numbers that decide what is decoded and resampled for one sample, and how they are drawn.

``make_plan`` is a pure function of the sample's record, the pipeline's config and a generator that
``sample_rng`` makes from (seed, epoch, sample index) alone: no rank, worker or batch order can change a plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from vidflow.config.pipeline import ClipPipeline
from vidflow.pipelines.color import draw_color
from vidflow.pipelines.effects import Effects, draw_effects
from vidflow.pipelines.frame_choice import choose_frames
from vidflow.pipelines.geometry import crop_boxes, crop_mirrors, draw_short_side, num_crops
from vidflow.pipelines.sampling import clip_shape
from vidflow.schema import SampleRecord


@dataclass(frozen=True, eq=False)
class Plan:
    """Which frames to decode, and for each of V views which box of which clip becomes the output.

    C clips of T frames give V views; a view shows one clip through one box.

    Raises:
        ValueError: arrays whose shapes, types or values do not fit together.
    """

    frames: np.ndarray
    """int64 [C * T], frame numbers of the source, clip after clip; any order, repeats allowed. Of flow, first steps."""
    num_clips: int
    """C."""
    view_clips: np.ndarray
    """int64 [V], the clip that each view shows."""
    boxes: np.ndarray
    """float32 [V, 4], x1 y1 x2 y2 in pixels of the upright source frame, inside it; resampled to ``size``. Where the
    effects warp the frame, of the warped frame, which has the same size."""
    mirror: np.ndarray
    """bool [V], whether the view is mirrored left to right after resampling."""
    size: tuple[int, int]
    """Output height and width in pixels."""
    color: np.ndarray | None = None
    """float32 [5], factors of brightness, contrast and saturation, hue turn in degrees, and the grey level that
    contrast leaves alone; None leaves colours alone."""
    effects: Effects = field(default_factory=Effects)
    padding: np.ndarray | None = None
    """bool [C * T], frames that only fill up a clip for which the video is too short; None where there are none."""
    flow_length: int = 0
    """0: views show RGB. L > 0: flow, of which L steps from each of ``frames`` on are stacked to 2 L channels."""
    key_time: float | None = None
    """Seconds; the moment at which the boxes that belong to the clip are annotated."""

    def __post_init__(self) -> None:
        frames, views = len(self.frames), len(self.view_clips)
        for name, shape, dtype in (
            ("frames", (frames,), np.int64),
            ("view_clips", (views,), np.int64),
            ("boxes", (views, 4), np.float32),
            ("mirror", (views,), np.bool_),
            ("color", (5,), np.float32),
            ("padding", (frames,), np.bool_),
        ):
            array = getattr(self, name)
            optional = name in ("color", "padding")
            if not (optional and array is None) and (array.shape != shape or array.dtype != dtype):
                raise ValueError(
                    f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} {list(shape)}; "
                    f"view_clips is {list(self.view_clips.shape)}, boxes {list(self.boxes.shape)}, "
                    f"mirror {list(self.mirror.shape)}"
                )
        if self.num_clips <= 0 or frames == 0 or frames % self.num_clips:
            raise ValueError(f"frames {list(self.frames.shape)} do not make {self.num_clips} clips of one length")
        if self.frames.min() < 0:
            raise ValueError(f"frames must not be negative, not {self.frames.min()}")
        if views == 0 or self.view_clips.min() < 0 or self.view_clips.max() >= self.num_clips:
            raise ValueError(f"view_clips {self.view_clips.tolist()} must name some of the {self.num_clips} clips")
        if min(self.size) <= 0:
            raise ValueError(f"size must be positive, not {list(self.size)}")
        good = np.isfinite(self.boxes).all() and (self.boxes[:, :2] >= 0).all()
        if not good or not (self.boxes[:, 2:] > self.boxes[:, :2]).all():
            raise ValueError(f"boxes must have 0 <= x1 < x2 and 0 <= y1 < y2: {self.boxes.tolist()}")

    @property
    def num_channels(self) -> int:
        """Channels of a view: red, green and blue, or x and y of ``flow_length`` steps."""
        return 2 * self.flow_length or 3

    @property
    def frame_padding(self) -> np.ndarray:
        """bool [V, T], frames of the views that only fill up."""
        padding = np.zeros(len(self.frames), bool) if self.padding is None else self.padding
        return padding.reshape(self.num_clips, -1)[self.view_clips]  # [C * T] -> [C, T] -> [V, T]

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Inputs of the model that are known without pixels."""
        return {"frame_padding": self.frame_padding}

    @property
    def clip_length(self) -> int:
        """T: frames of one clip."""
        return len(self.frames) // self.num_clips

    @property
    def num_views(self) -> int:
        """V."""
        return len(self.view_clips)

    def move_points(self, points: np.ndarray, view: int) -> np.ndarray:
        """Points [..., 2], x y in source pixels (the frame is [0, width] x [0, height]), in output pixels of a view.

        Float32 [..., 2]; points outside the box land outside the output.
        """
        x1, y1, x2, y2 = self.boxes[view].astype(np.float64)
        height, width = self.size
        points = np.asarray(points, np.float64)
        if self.effects.warp is not None:  # it leads from the warped frame to the source
            turn, shift = self.effects.warp[:, :2], self.effects.warp[:, 2]
            points = (points - shift) @ np.linalg.inv(turn).T
        moved = (points - [x1, y1]) * [width / (x2 - x1), height / (y2 - y1)]
        if self.mirror[view]:
            moved[..., 0] = width - moved[..., 0]
        return moved.astype(np.float32)

    def move_boxes(self, boxes: np.ndarray, view: int) -> np.ndarray:
        """Boxes [N, 4], x1 y1 x2 y2 in source pixels, in output pixels of a view, clipped to it; float32 [N, 4].

        Boxes keep their places in the array: one that lies outside the view becomes empty (x1 = x2 or y1 = y2).
        Where the frame is warped, a box becomes the upright box around its four moved corners.
        """
        height, width = self.size
        places = np.asarray(boxes).reshape(-1, 4)[:, [0, 1, 2, 1, 2, 3, 0, 3]]
        corners = self.move_points(places.reshape(-1, 4, 2), view)  # [N, 8] -> [N, corner, x y]
        corners = np.clip(corners, 0, np.array([width, height], np.float32))
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    def move_keypoints(self, points: np.ndarray, view: int) -> np.ndarray:
        """Keypoints [..., 2], x y in source pixels, in output pixels of a view; float32 [..., 2].

        A point at exactly (0, 0) counts as missing and stays there. Points are not clipped, and left and right
        keypoints of a mirrored person are not renamed: that depends on the skeleton.
        """
        points = np.asarray(points)
        missing = (points == 0).all(axis=-1, keepdims=True)
        return np.where(missing, np.float32(0), self.move_points(points, view))

    def move_labels(self, labels: Sequence[int], flip_labels: Mapping[int, int]) -> tuple[int, ...]:
        """The sample's labels, replaced where ``flip_labels`` lists them and all views are mirrored.

        Views of both kinds, as ten crops give them, leave labels as they are: a sample has one set of labels.
        """
        if not self.mirror.all():
            return tuple(labels)
        return tuple(flip_labels.get(label, label) for label in labels)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""
        return {
            "frames": self.frames.reshape(self.num_clips, -1).tolist(),  # [C * T] -> [C, T]
            "view_clips": self.view_clips.tolist(),
            "boxes": self.boxes.tolist(),
            "mirror": self.mirror.tolist(),
            "size": list(self.size),
            "color": None if self.color is None else self.color.tolist(),
            "effects": self.effects.to_dict(),
            "padding": None if self.padding is None else self.padding.tolist(),
            "flow_length": self.flow_length,
            "key_time": self.key_time,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """The inverse of ``to_dict``."""
        frames = np.asarray(values["frames"], np.int64)  # [C, T]
        height, width = values["size"]
        return cls(
            frames=frames.reshape(-1),
            num_clips=len(frames),
            view_clips=np.asarray(values["view_clips"], np.int64),
            boxes=np.asarray(values["boxes"], np.float32),
            mirror=np.asarray(values["mirror"], bool),
            size=(height, width),
            color=None if values["color"] is None else np.asarray(values["color"], np.float32),
            effects=Effects.from_dict(values["effects"]),
            padding=None if values["padding"] is None else np.asarray(values["padding"], bool),
            flow_length=values["flow_length"],
            key_time=values["key_time"],
        )

    def describe(self) -> str:
        """A few lines for people: the clips' frames, the views' boxes, the colours."""
        lines = [f"{self.num_views} views of {self.clip_length} frames, {self.size[0]} x {self.size[1]} pixels"]
        for number, frames in enumerate(self.frames.reshape(self.num_clips, -1)):
            lines.append(f"clip {number}: frames {' '.join(map(str, frames))}")
        for number, (clip, box, mirror) in enumerate(zip(self.view_clips, self.boxes, self.mirror, strict=True)):
            x1, y1, x2, y2 = box
            lines.append(
                f"view {number}: clip {clip}, x {x1:.1f} to {x2:.1f}, y {y1:.1f} to {y2:.1f}"
                + (", mirrored" if mirror else "")
            )
        if self.color is not None:
            brightness, contrast, saturation, hue, _ = self.color
            lines.append(
                f"colour: brightness x{brightness:.2f}, contrast x{contrast:.2f}, saturation x{saturation:.2f}, "
                f"hue {hue:+.1f} degrees"
            )
        lines += self.effects.describe()
        return "\n".join(lines)


def num_views(pipeline: ClipPipeline) -> int:
    """V: views per sample, the same for every sample.

    Raises:
        ValueError: an untrimmed sampling, whose number of views depends on the video.
    """
    return clip_shape(pipeline.sampling)[0] * num_crops(pipeline.crop)


def sample_rng(seed: int, epoch: int, index: int, repeat: int = 0) -> np.random.Generator:
    """The generator of one sample in one epoch, from these numbers alone.

    Args:
        index: the sample's position in the manifest.
        repeat: which of several plans of the sample, from 0.

    Raises:
        ValueError: a negative number, or an epoch, index or repeat of 2**32 or more.
    """
    if seed < 0 or not 0 <= epoch < 2**32 or not 0 <= index < 2**32 or not 0 <= repeat < 2**32:
        raise ValueError(
            f"seed ({seed}), epoch ({epoch}), index ({index}) and repeat ({repeat}) must not be negative or too large"
        )
    # The spawn key keeps them apart; as one list of entropy, (2**32, 0, 0) and (0, 1, 0) would be the same.
    # Children that ``spawn`` makes of the first repeat have small numbers in the third place.
    key = (epoch, index) if repeat == 0 else (epoch, index, 2**32 - 1, repeat)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def make_plans(record: SampleRecord, pipeline: ClipPipeline, *, seed: int, epoch: int, index: int) -> tuple[Plan, ...]:
    """The plans of one sample in one epoch: one for each of ``pipeline.repeats``, independent of each other.

    The first is what ``make_plan`` gives without repeats.
    """
    return tuple(
        make_plan(record, pipeline, sample_rng(seed, epoch, index, repeat)) for repeat in range(pipeline.repeats)
    )


def make_plan(record: SampleRecord, pipeline: ClipPipeline, rng: np.random.Generator) -> Plan:
    """Draw the plan of one sample.

    Views come clip by clip: with K crops, view v shows clip v // K. All clips share the boxes and the effects, and one
    draw mirrors all views; ten crops mirror every second view on top of that.

    Frames, boxes, mirroring, colours, the short side and effects are drawn from independent generators: adding colour
    jitter does not change the frames.

    Args:
        rng: a fresh generator of ``sample_rng``; the same one gives another plan when used again.

    Raises:
        DataError: the sample has not what the pipeline's sampling needs.
    """
    # Seeds of six generators; those of effects that the pipeline lacks are never made, as making one takes a while.
    seeds = cast(np.random.SeedSequence, rng.bit_generator.seed_seq).spawn(6)
    frames_rng, boxes_rng, mirror_rng = (np.random.default_rng(seed) for seed in seeds[:3])
    choice = choose_frames(record, pipeline, frames_rng)  # [C, T]
    info = record.video or record.frames
    assert info is not None  # choose_frames has refused others
    boxes = crop_boxes(
        info.height,
        info.width,
        pipeline.crop,
        size=pipeline.size,
        short_side=draw_short_side(pipeline.short_side, seeds[4]),
        rng=boxes_rng,
    )  # [K, 4]
    mirror = crop_mirrors(pipeline.crop) ^ bool(mirror_rng.random() < pipeline.flip)  # [K]
    num_clips = len(choice.frames)
    return Plan(
        frames=choice.frames.reshape(-1),
        num_clips=num_clips,
        view_clips=np.repeat(np.arange(num_clips, dtype=np.int64), len(boxes)),
        boxes=np.tile(boxes, (num_clips, 1)),  # [K, 4] -> [V, 4]
        mirror=np.tile(mirror, num_clips),
        size=pipeline.size,
        color=_color(pipeline, seeds[3]),
        effects=draw_effects(pipeline, info.height, info.width, seeds[5]),
        padding=choice.padding.reshape(-1) if choice.padding.any() else None,
        flow_length=pipeline.flow_length if pipeline.modality == "flow" else 0,
        key_time=choice.key_time,
    )


def _color(pipeline: ClipPipeline, seed: np.random.SeedSequence) -> np.ndarray | None:
    if pipeline.color_jitter is None and not pipeline.grayscale:
        return None
    return draw_color(pipeline.color_jitter, np.random.default_rng(seed), grayscale=pipeline.grayscale)
