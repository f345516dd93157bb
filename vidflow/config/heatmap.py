"""Heatmaps of skeletons: the ``heatmap`` table of a skeleton pipeline."""

from typing import Literal

from pydantic import Field, model_validator

from vidflow.schema import Frozen


class Heatmap(Frozen):
    """One map per keypoint or limb and frame, drawn on the device from keypoints in output pixels.

    Source: "Revisiting Skeleton-based Action Recognition" (PoseC3D, arXiv:2104.13586), section 3.2, eq. 1 and 2.
    """

    kind: Literal["keypoints", "limbs", "both"] = "keypoints"
    """``both``: the maps of all keypoints, then those of all limbs."""
    limbs: tuple[tuple[int, int], ...] | None = Field(default=None, min_length=1)
    """Pairs of keypoints, in the order of the maps; None takes the layout's. Weights belong to one order."""
    sigma: float = Field(default=0.6, gt=0)
    """Width of the Gaussians in output pixels (standard deviation)."""
    use_scores: bool = True
    """Maps are as high as the keypoint's score, a limb's as the lower one of its ends'; False draws every keypoint that
    is there at height 1."""
    twice: bool = False
    """Test with mirrored copies of all views, behind them: V becomes 2 V."""

    @model_validator(mode="after")
    def _limbs_are_drawn(self) -> "Heatmap":
        if self.limbs is not None and self.kind == "keypoints":
            raise ValueError("limbs: kind = 'keypoints' draws none; use kind = 'limbs' or 'both'")
        return self
