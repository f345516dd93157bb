"""Where keypoints lie in heatmaps: the compact crop around the people, a crop inside it, and mirroring.

Source: PoseC3D (arXiv:2104.13586), section 3.2; whole-pixel steps are those of MMAction2 1.2.0 (PoseCompact).

Shapes: V clips, M people, T frames, K keypoints.
"""

import numpy as np

from vidflow.config.pipeline import Crop
from vidflow.config.skeleton import CompactCrop, SkeletonPipeline
from vidflow.errors import DataError
from vidflow.pipelines.geometry import crop_boxes
from vidflow.pipelines.skeleton_people import Skeletons
from vidflow.pipelines.skeleton_plan import SkeletonPlan
from vidflow.skeletons.layouts import SkeletonLayout

Box = tuple[int, int, int, int]
"""x1 y1 x2 y2 in whole pixels of the picture; it may reach out of it."""


def compact_box(skeletons: Skeletons, compact: CompactCrop, size: tuple[int, int] | None) -> Box | None:
    """The box around all keypoints; None where they are too few or too close together for one.

    Args:
        size: height and width of the picture in pixels; may be None where the box may leave it.

    Raises:
        DataError: ``size`` is needed and not known.
    """
    seen = skeletons.points[skeletons.present]  # [n, 2]
    if not len(seen):
        return None
    low, high = seen.min(axis=0).astype(np.float64), seen.max(axis=0).astype(np.float64)
    if (high - low < compact.threshold).any():
        return None
    center, half = (low + high) / 2, (high - low) / 2 * (1 + compact.padding)
    if compact.ratio is not None:
        least, most = compact.ratio if isinstance(compact.ratio, tuple) else (compact.ratio, compact.ratio)
        half[1] = max(least * half[0], half[1])
        half[0] = max(half[1] / most, half[0])
    low, high = center - half, center + half
    if not compact.leave_picture:
        if size is None:
            raise DataError("has no picture size, which compact.leave_picture = false needs")
        low, high = np.maximum(low, 0), np.minimum(high, size[::-1])
    x1, y1, x2, y2 = (int(edge) for edge in (*low, *high))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def view_box(
    skeletons: Skeletons,
    picture: tuple[int, int] | None,
    *,
    compact: CompactCrop | None,
    crop: Crop,
    short_side: int | None,
    size: tuple[int, int],
    seed: int,
) -> np.ndarray:
    """What of the picture a view shows: x1 y1 x2 y2 in pixels, float64 [4]; it may reach out of the picture.

    Args:
        skeletons: of the chosen frames.
        picture: height and width in pixels.
        size: of the view, height and width in pixels.
        seed: of the crop.

    Raises:
        DataError: ``picture`` is needed and not known.
    """
    box = compact_box(skeletons, compact, picture) if compact is not None else None
    if box is None:
        if picture is None:
            raise DataError("has no picture size, which heatmaps need; pack it again with one, or use compact")
        box = (0, 0, picture[1], picture[0])
    height, width = box[3] - box[1], box[2] - box[0]
    rng = np.random.default_rng(seed)
    (inside,) = crop_boxes(height, width, crop, size=size, short_side=short_side, rng=rng).astype(np.float64)
    return np.asarray(inside + np.array(box[:2] * 2))


def moved(
    skeletons: Skeletons, box: np.ndarray, size: tuple[int, int], mirrored: SkeletonLayout | None = None
) -> Skeletons:
    """Keypoints in pixels of a view of a height and a width that shows a box of the picture.

    Args:
        mirrored: the layout where the view is mirrored; None where it is not.
    """
    scale = np.array([size[1] / (box[2] - box[0]), size[0] / (box[3] - box[1])])
    points = ((skeletons.points - box[:2]) * scale).astype(np.float32)
    scores, present = skeletons.scores, skeletons.present
    if mirrored is not None:
        order = list(mirrored.mirrored)
        points[..., 0] = size[1] - points[..., 0]
        points, scores, present = points[:, :, order], scores[:, :, order], present[:, :, order]
    points[~present] = 0
    return Skeletons(points, scores, present)


def placed(
    skeletons: Skeletons,
    plan: SkeletonPlan,
    pipeline: SkeletonPipeline,
    layout: SkeletonLayout | None,
    size: tuple[int, int] | None,
) -> Skeletons:
    """Keypoints of the chosen frames in pixels of the heatmap, mirrored where the plan says so.

    Args:
        layout: needed where the plan mirrors.
        size: height and width of the picture in pixels.

    Raises:
        DataError: ``size`` is needed and not known.
    """
    box = view_box(
        skeletons,
        size,
        compact=pipeline.compact,
        crop=pipeline.crop,
        short_side=pipeline.short_side,
        size=pipeline.size,
        seed=plan.box_seed,
    )
    assert layout is not None or not plan.mirror
    return moved(skeletons, box, pipeline.size, layout if plan.mirror else None)
