"""Skeleton plans: what is drawn, and that it depends on nothing else."""

import json

import numpy as np
import pytest

from vidflow.config.sampling import BinSampling, ClipSampling
from vidflow.config.skeleton import SkeletonPipeline
from vidflow.errors import DataError
from vidflow.pipelines.plan import sample_rng
from vidflow.pipelines.skeleton_plan import SkeletonPlan, make_skeleton_plan

RANDOM = BinSampling(length=8, random=True)


def plan(coords: int = 3, *, index: int = 0, **changes) -> SkeletonPlan:
    pipeline = SkeletonPipeline(**{"sampling": RANDOM} | changes)
    return make_skeleton_plan(coords, pipeline, sample_rng(0, 0, index))


def test_one_draw_does_not_change_another():
    plain, much = plan(), plan(flip=1.0, rotate=(10, 20, 30), scale=0.2, shear=0.1)
    assert (plain.frames_seed, plain.box_seed) == (much.frames_seed, much.box_seed)
    assert np.array_equal(plan(rotate=(10, 20, 30), scale=0.2).warp, plan(rotate=(10, 20, 30), scale=0.2, flip=1).warp)


def test_the_same_sample_draws_the_same_frames_and_another_one_others():
    frames = [plan(index=index).frames(100, RANDOM)[0].tolist() for index in (3, 3, 4)]
    assert frames[0] == frames[1] != frames[2]
    assert all(0 <= frame < 100 for frame in frames[0][0])


def test_tests_draw_the_frames_of_the_reference():
    # MMAction2 1.2.0's UniformSampleFrames(clip_len=12, num_clips=2, test_mode=True, seed=0) of 14 frames.
    frames, padding = plan().frames(14, BinSampling(length=12, num_clips=2, test_seed=0))
    assert frames.reshape(-1).tolist() == [
        *(0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13),
        *(0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13),
    ]
    assert not padding.any()


def test_frames_beyond_a_short_sample_are_padding():
    frames, padding = plan().frames(3, ClipSampling(length=7))
    assert frames.tolist() == [[0, 1, 2, 0, 1, 2, 0]]
    assert padding.tolist() == [[False] * 3 + [True] * 4]


def test_a_sample_that_is_too_short_is_refused_where_it_is_asked():
    with pytest.raises(DataError, match="3"):
        plan().frames(3, ClipSampling(length=7, out_of_bound="error"))


@pytest.mark.parametrize("coords", [2, 3])
def test_turning_keeps_lengths_and_stays_within_its_angles(coords):
    rotate = (30.0,) if coords == 2 else (0.0, 0.0, 30.0)
    angles = []
    for index in range(200):
        warp = plan(coords, index=index, rotate=rotate).warp
        assert np.allclose(warp @ warp.T, np.eye(coords), atol=1e-6)
        angles.append(np.rad2deg(np.arctan2(warp[1, 0], warp[0, 0])))
    assert -30 <= min(angles) < -25
    assert 25 < max(angles) <= 30


def test_scaling_and_shearing_stay_within_their_range():
    warps = np.stack([plan(index=index, scale=0.2, shear=0.1).warp for index in range(200)])
    scales, others = warps[:, np.eye(3, dtype=bool)], warps[:, ~np.eye(3, dtype=bool)]
    assert 0.8 <= scales.min() < 0.82
    assert 1.18 < scales.max() <= 1.2
    assert 0.08 < np.abs(others).max() <= 0.12 + 1e-6


def test_labels_follow_mirroring():
    mirrored, plain = SkeletonPlan(0, 0, mirror=True), SkeletonPlan(0, 0, mirror=False)
    assert mirrored.move_labels([3, 5], {3: 4, 4: 3}) == (4, 5)
    assert plain.move_labels([3, 5], {3: 4, 4: 3}) == (3, 5)


def test_mirroring_has_its_probability():
    share = np.mean([plan(index=index, flip=0.3).mirror for index in range(500)])
    assert 0.22 < share < 0.38


@pytest.mark.parametrize("changes", [{}, {"rotate": (10, 10, 10)}])
def test_a_plan_comes_back_from_json(changes):
    made = plan(**changes)
    back = SkeletonPlan.from_dict(json.loads(json.dumps(made.to_dict())))
    assert back.to_dict() == made.to_dict()


@pytest.mark.parametrize(("coords", "rotate"), [(2, (1.0, 1.0, 1.0)), (3, (5.0,))])
def test_angles_for_another_number_of_coordinates_are_refused(coords, rotate):
    with pytest.raises(DataError, match=f"skeletons of {coords} coordinates"):
        plan(coords, rotate=rotate)


def test_a_warp_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"float64 \[4, 4\]"):
        SkeletonPlan(0, 0, mirror=False, warp=np.eye(4))
