"""How skeletons become a model's input: the pipeline table with ``kind = "skeleton"``.

Without ``heatmap`` a pipeline gives key points by the graph models' conventions, ``inputs["skeletons"]``; with it, maps
of them, ``inputs["clips"]``.

Shapes: V clips, M people, T frames, K keypoints, C coordinates.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vidflow.config.base_pipeline import BasePipeline
from vidflow.config.fields import LayoutName, Size
from vidflow.config.heatmap import Heatmap
from vidflow.config.pipeline import CenterCrop, FullFrame, MultiScaleCrop, RandomCrop, RandomResizedCrop
from vidflow.config.sampling import BinSampling, ClipSampling, DenseSampling, SegmentSampling, UniformSampling
from vidflow.schema import Frozen
from vidflow.skeletons.layouts import check_sides

SkeletonSampling = Annotated[
    BinSampling | ClipSampling | SegmentSampling | UniformSampling | DenseSampling, Field(discriminator="kind")
]
SingleCrop = Annotated[
    RandomResizedCrop | MultiScaleCrop | RandomCrop | CenterCrop | FullFrame, Field(discriminator="kind")
]
Keypoint = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(gt=0)]
Feature = Literal["joint", "bone", "joint_motion", "bone_motion"]


class ScreenNormalize(Frozen):
    """Pixels to [-1, 1] in both directions, (0, 0) being the picture's middle. For two coordinates."""

    kind: Literal["screen"] = "screen"
    size: tuple[Pixels, Pixels] = (1080, 1920)
    """Height and width in pixels of pictures whose size the packed sample does not tell."""
    missing: Literal["zero", "moved"] = "zero"
    """Missing keypoints stay at (0, 0), or move as if they were there, to (-1, -1), as MMAction2 1.2.0's models were
    trained."""


class BodyNormalize(Frozen):
    """Coordinates of the body: its centre in the origin, its spine and its shoulders along the axes. For three
    coordinates.

    All is measured once, in the first frame of the first person that has these keypoints, and applied to all frames and
    people.
    """

    kind: Literal["body"] = "body"
    center: Keypoint | None = None
    """Keypoint that moves to the origin; None takes the layout's, as for the next two."""
    spine: tuple[Keypoint, Keypoint] | None = None
    """Keypoints of the spine's lower and upper end."""
    shoulders: tuple[Keypoint, Keypoint] | None = None
    """Keypoints of the right and the left shoulder."""
    align_center: bool = True
    align_spine: bool = True
    """Turn the spine to the third axis."""
    align_shoulders: bool = True
    """Then turn the shoulders to the first axis."""
    order_people: bool = True
    """The person that is there in most frames comes first, and frames without this person are left out."""


class CompactCrop(Frozen):
    """The box around all keypoints of all chosen frames, in place of the picture. For heatmaps."""

    padding: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """How much wider and higher than the keypoints' box."""
    threshold: float = Field(default=10, ge=0)
    """Boxes narrower or lower than this many pixels leave the picture as it is."""
    ratio: float | tuple[float, float] | None = None
    """Height / width that the box is widened to; two numbers bound it; None keeps it."""
    leave_picture: bool = True
    """Whether the box may reach out of the picture."""

    @field_validator("ratio")
    @classmethod
    def _ratio_can_be_reached(cls, value: float | tuple[float, float] | None) -> float | tuple[float, float] | None:
        if value is not None:
            least, most = value if isinstance(value, tuple) else (value, value)
            if not 0 < least <= most < math.inf:
                raise ValueError(f"must be positive, of two numbers the smaller one first, not {value}")
        return value


class SkeletonPipeline(BasePipeline):
    """From packed keypoints to skeletons [V, M, T, K, C], or to heatmaps [V, K or L, T, H, W].

    The order of things: people are chosen, coordinates normalised, turned and mirrored, features made of neighbouring
    frames, frames sampled. For heatmaps: people, frames, compact crop, crop, mirroring, maps.
    """

    kind: Literal["skeleton"] = "skeleton"
    layout: LayoutName | None = None
    """Name of a layout, or a table {num_keypoints, edges, center, left, right, limbs}; None takes the one that samples
    are packed with. Bones, sides, limbs and the body's axes come from it."""
    sampling: SkeletonSampling
    fill: Literal["loop", "zero"] = "loop"
    """What frames hold that only fill up a clip for which the sample is too short: its frames again, or zeros."""
    num_people: int = Field(default=2, gt=0)
    """M: with fewer in a sample places stay empty, of more some are chosen."""
    choose_people: Literal["first", "score", "motion"] = "score"
    """Which of more people: the first ones, those with the highest scores over all frames (where there are none, with
    the most keypoints), or those that move most. They keep their order."""
    fill_people: Literal["zero", "loop"] = "zero"
    """What empty places hold: zeros, or of a sample with one person that person again."""
    normalize: Annotated[ScreenNormalize | BodyNormalize, Field(discriminator="kind")] | None = None
    features: tuple[Feature, ...] = ("joint",)
    """One or more, one after the other along C."""
    scores: bool | None = None
    """Whether scores are a further coordinate of each feature; None: beside two coordinates, and not beside three.
    Where samples have none, keypoints that are there have 1."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of mirroring left to right; the keypoints of the two sides change places. A layout that is a table
    needs left and right for it."""
    rotate: tuple[float, ...] = ()
    """Largest angles in degrees by which skeletons are turned at random: about the first, second and third axis, or one
    angle in the picture's plane. Empty turns nothing."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Each axis is scaled at random by 1 - scale to 1 + scale."""
    shear: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Largest random shear: how much of an axis is added to each of the others, or taken away."""
    heatmap: Heatmap | None = None
    compact: CompactCrop | None = None
    """This and the next three are for heatmaps."""
    short_side: int | None = Field(default=64, gt=0)
    """Short side in pixels to which the picture, or the compact crop, counts as resized before it is cropped."""
    crop: SingleCrop = CenterCrop()
    size: Size = (64, 64)
    """Height and width of the maps in pixels."""

    @field_validator("features")
    @classmethod
    def _features_are_some(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"must be one or more features, each once, not {list(value)}")
        return value

    @field_validator("sampling")
    @classmethod
    def _frames_are_counted(cls, value: SkeletonSampling) -> SkeletonSampling:
        if value.target_fps is not None:
            raise ValueError("target_fps is not for skeletons, whose samples often have no frame rate")
        return value

    @field_validator("rotate")
    @classmethod
    def _angles_fit_the_axes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) not in (0, 1, 3) or any(not 0 <= angle <= 180 for angle in value):
            raise ValueError(f"must be one angle or three, in [0, 180] degrees, not {list(value)}")
        return value

    @model_validator(mode="after")
    def _the_two_outputs_are_not_mixed(self) -> "SkeletonPipeline":
        if min(self.size) <= 0:
            raise ValueError(f"size must be positive, not {list(self.size)}")
        for_maps = ("compact", "short_side", "crop", "size")
        barred = for_maps if self.heatmap is None else ("normalize", "features", "scores", "rotate", "scale", "shear")
        if wrong := [name for name in barred if getattr(self, name) != type(self).model_fields[name].default]:
            other = "needs heatmap" if self.heatmap is None else "is not for heatmaps"
            raise ValueError(f"{', '.join(wrong)} {other}")
        if self.heatmap is None and self.mixing is not None and self.mixing.cutmix is not None:
            raise ValueError("mixing.cutmix is for pictures; skeletons can be mixed by mixing.mixup")
        mirrors = "flip" if self.flip else "heatmap.twice" if self.heatmap is not None and self.heatmap.twice else ""
        if mirrors and self.layout is not None:
            check_sides(mirrors, self.layout)
        if self.rotate and isinstance(self.normalize, ScreenNormalize) and len(self.rotate) != 1:
            raise ValueError(f"rotate = {list(self.rotate)}: with two coordinates there is one angle")
        return self
