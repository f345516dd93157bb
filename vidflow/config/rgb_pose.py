"""How a video with skeletons becomes frames and heatmaps: the pipeline table with ``kind = "rgb_pose"``.

Shapes: V clips, T frames of each, T' heatmaps of each, M people, K keypoints, L limbs, H x W pixels.
"""

from typing import Literal

from pydantic import Field, model_validator

from vidflow.config.base_pipeline import BasePipeline
from vidflow.config.fields import LayoutName, Size
from vidflow.config.heatmap import Heatmap
from vidflow.config.pipeline import FullFrame, Normalize
from vidflow.config.skeleton import CompactCrop, SingleCrop, SkeletonSampling
from vidflow.skeletons.layouts import check_sides


class RGBPosePipeline(BasePipeline):
    """From encoded frames and packed keypoints to normalised clips [V, 3, T, H, W] and heatmaps [V, K and/or L, T',
    H / stride, W / stride] of the same box (RGBPose-Conv3D, arXiv:2104.13586)."""

    kind: Literal["rgb_pose"] = "rgb_pose"
    sampling: SkeletonSampling
    """Frames of the video."""
    pose_sampling: SkeletonSampling
    """Frames of the skeletons, drawn apart from the others."""
    layout: LayoutName | None = None
    """As in a skeleton pipeline."""
    num_people: int = Field(default=10, gt=0)
    """The most people that are drawn, M."""
    choose_people: Literal["first", "score", "motion"] = "score"
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of mirroring both left to right."""
    compact: CompactCrop | None = CompactCrop(ratio=1.0)
    """The box around the people in place of the picture; what of it lies outside the picture is grey."""
    short_side: int | None = Field(default=256, gt=0)
    """Short side in pixels to which the box counts as resized before it is cropped."""
    crop: SingleCrop = FullFrame()
    size: Size = (224, 224)
    """Height and width of the frames in pixels."""
    heatmap: Heatmap = Heatmap(sigma=0.7)
    stride: int = Field(default=4, gt=0)
    """Pixels of the frames for one of the heatmaps."""
    normalize: Normalize = Normalize()

    @model_validator(mode="after")
    def _both_inputs_fit_together(self) -> "RGBPosePipeline":
        if min(self.size) <= 0 or any(side % self.stride for side in self.size):
            raise ValueError(f"size {list(self.size)} must be positive multiples of stride ({self.stride})")
        if self.sampling.target_fps is not None or self.pose_sampling.target_fps is not None:
            raise ValueError("target_fps is not for rgb_pose, whose frames are counted")
        if len(self.normalize.mean) != 3:
            raise ValueError(f"normalize: rgb needs 3 values, not {len(self.normalize.mean)}")
        if self.heatmap.twice:
            raise ValueError("heatmap.twice: is not for rgb_pose, whose frames come once")
        if self.flip and self.layout is not None:
            check_sides("flip", self.layout)
        if self.mixing is not None:
            raise ValueError("mixing: is not for rgb_pose, whose two inputs must stay together")
        return self

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Height and width of the heatmaps in pixels."""
        return self.size[0] // self.stride, self.size[1] // self.stride
