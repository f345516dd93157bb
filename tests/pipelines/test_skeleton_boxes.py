"""The compact crop and where keypoints lie in heatmaps: against MMAction2's values, and on bad input."""

import numpy as np
import pytest
from skeleton_cases import array_of, assert_same, cases

from vidflow.config.heatmap import Heatmap
from vidflow.config.pipeline import CenterCrop, FullFrame, RandomResizedCrop
from vidflow.config.sampling import BinSampling
from vidflow.config.skeleton import CompactCrop, SkeletonPipeline
from vidflow.errors import DataError
from vidflow.pipelines.skeleton_boxes import compact_box, placed
from vidflow.pipelines.skeleton_people import present_skeletons
from vidflow.pipelines.skeleton_plan import SkeletonPlan
from vidflow.skeletons.layouts import LAYOUTS

COCO = LAYOUTS["coco"]
CHAIN = "PoseCompact ->"
COMPACT = [case for case in cases("geometry.json", "PoseCompact") if not case["what"].startswith(CHAIN)]


def pipeline(**changes) -> SkeletonPipeline:
    return SkeletonPipeline(sampling=BinSampling(length=8), **{"heatmap": Heatmap(), "short_side": None} | changes)


@pytest.mark.parametrize("case", COMPACT, ids=lambda case: case["what"])
def test_compact_boxes_are_those_of_the_reference(case):
    values, expected = case["inputs"], case["outputs"]
    points = array_of(values["keypoint"], values["then"])
    ratio = values.get("hw_ratio")
    compact = CompactCrop(
        padding=values.get("padding", 0.25),
        threshold=values.get("threshold", 10),
        ratio=tuple(ratio) if isinstance(ratio, list) else ratio,
        leave_picture=values.get("allow_imgpad", True),
    )
    size = tuple(values["img_shape"])
    box = compact_box(present_skeletons(points, None), compact, size)
    if expected["shift_xy"] is None:
        assert box is None
        return
    x1, y1, x2, y2 = box
    assert [x1, y1] == expected["shift_xy"]
    assert [y2 - y1, x2 - x1] == expected["img_shape"]


def test_compact_crop_resizing_centre_crop_and_flip_are_those_of_the_reference():
    (case,) = cases("geometry.json", CHAIN)
    points = array_of(case["inputs"]["keypoint"])
    where = pipeline(compact=CompactCrop(ratio=1.0), short_side=64, crop=CenterCrop(), size=(64, 64))
    plan = SkeletonPlan(frames_seed=0, box_seed=0, mirror=True)
    found = placed(present_skeletons(points, None), plan, where, COCO, tuple(case["inputs"]["img_shape"]))
    assert_same(found.points, case["outputs"]["keypoint_digest"], tolerance=1e-5)


def test_a_picture_is_resampled_as_clips_are():
    points = np.array([[[[10, 20], [100, 50]]]], np.float32)
    layout_free = pipeline(crop=FullFrame(), size=(50, 20))
    found = placed(present_skeletons(points, None), SkeletonPlan(0, 0, mirror=False), layout_free, None, (100, 200))
    assert found.points[0, 0].tolist() == [[1, 10], [10, 25]]


def test_mirroring_exchanges_the_sides_and_leaves_missing_keypoints():
    points = array_of({"u": "mirror", "shape": [1, 1, 17, 2], "scale": 30, "offset": 50})
    points[0, 0, 5] = 0
    scores = np.linspace(0.1, 0.9, 17, dtype=np.float32)[None, None]
    flat = pipeline(crop=FullFrame(), size=(100, 100))
    found = placed(present_skeletons(points, scores), SkeletonPlan(0, 0, mirror=True), flat, COCO, (100, 100))
    assert (found.points[0, 0, 6] == 0).all()
    assert found.scores[0, 0, 6] == 0
    np.testing.assert_allclose(found.points[0, 0, 5], [100 - points[0, 0, 6, 0], points[0, 0, 6, 1]], rtol=1e-5)
    assert found.scores[0, 0, 5] == scores[0, 0, 6]


def test_a_random_crop_is_decided_by_the_plan():
    points = array_of({"u": "random", "shape": [1, 1, 17, 2], "scale": 30, "offset": 50})
    random = pipeline(crop=RandomResizedCrop(area=(0.3, 0.9)), size=(56, 56))

    def found(seed: int) -> np.ndarray:
        plan = SkeletonPlan(0, seed, mirror=False)
        return placed(present_skeletons(points, None), plan, random, COCO, (100, 100)).points

    assert np.array_equal(found(1), found(1))
    assert not np.array_equal(found(1), found(2))


@pytest.mark.parametrize("compact", [None, CompactCrop(), CompactCrop(leave_picture=False)])
def test_a_picture_of_unknown_size_is_refused_where_it_is_needed(compact):
    nobody = present_skeletons(np.zeros((1, 3, 17, 2), np.float32), None)
    with pytest.raises(DataError, match="has no picture size"):
        placed(nobody, SkeletonPlan(0, 0, mirror=False), pipeline(compact=compact), COCO, None)


def test_a_compact_crop_needs_no_picture_where_it_may_leave_it():
    points = array_of({"u": "unknown", "shape": [1, 2, 17, 2], "scale": 30, "offset": 50})
    where = pipeline(compact=CompactCrop(ratio=1.0), crop=FullFrame())
    found = placed(present_skeletons(points, None), SkeletonPlan(0, 0, mirror=False), where, COCO, None)
    assert found.points.min() > 0
    assert found.points.max() < 64


def test_a_box_outside_the_picture_is_none():
    points = np.array([[[[-90, -90], [-20, -20]]]], np.float32)
    assert compact_box(present_skeletons(points, None), CompactCrop(leave_picture=False), (100, 100)) is None
