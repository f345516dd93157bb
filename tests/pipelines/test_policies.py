"""RandAugment and AugMix: what is drawn."""

import numpy as np
import pytest

from vidflow.config.augmentation import AugMix, RandAugment
from vidflow.pipelines.pixel_ops import COLOR_OPS, GEOMETRIC_OPS
from vidflow.pipelines.policies import (
    AUG_MIX_OPS,
    PYTORCHVIDEO,
    RANGES,
    TIMM,
    draw_aug_mix,
    draw_rand_augment,
    draw_strength,
)


@pytest.mark.parametrize("table", RANGES.values(), ids=RANGES)
def test_every_listed_operation_exists(table):
    assert set(table) <= {*COLOR_OPS, *GEOMETRIC_OPS}
    assert set(AUG_MIX_OPS) <= set(PYTORCHVIDEO)


@pytest.mark.parametrize(
    ("table", "name", "magnitude", "strengths"),
    [
        (PYTORCHVIDEO, "brightness", 7, {1.63, 0.37}),
        (PYTORCHVIDEO, "rotate", 7, {21.0, -21.0}),
        (PYTORCHVIDEO, "posterize", 7, {2.0}),
        (PYTORCHVIDEO, "solarize", 4, {153.0}),
        (PYTORCHVIDEO, "shear_x", 10, {0.3, -0.3}),
        (PYTORCHVIDEO, "translate_y", 9, {0.405, -0.405}),
        (TIMM, "posterize", 9, {1.0}),
        (TIMM, "solarize", 7, {77.0}),
        (TIMM, "solarize_add", 9, {99.0}),
    ],
)
def test_strengths_are_those_of_the_tables(table, name, magnitude, strengths):
    rng = np.random.default_rng(0)
    drawn = {round(draw_strength(table[name], magnitude, 0, rng), 6) for _ in range(50)}
    assert drawn == strengths


def test_magnitudes_spread_around_theirs_and_stay_in_range():
    rng = np.random.default_rng(0)
    angles = np.abs([draw_strength(PYTORCHVIDEO["rotate"], 9.5, 1.0, rng) for _ in range(3000)])
    assert angles.max() == 30
    assert (angles == 30).mean() == pytest.approx(0.31, abs=0.03)  # a normal deviate above half its deviation
    assert np.median(angles) == pytest.approx(28.5, abs=0.2)


def test_rand_augment_draws_its_number_without_repeats_and_leaves_some_out():
    rng = np.random.default_rng(0)
    policy = RandAugment(num_ops=4, magnitude=7, probability=1)
    for _ in range(100):
        names = [name for name, _ in draw_rand_augment(policy, rng)]
        assert len(set(names)) == 4
    half = RandAugment(num_ops=4, magnitude=7)
    mean = np.mean([len(draw_rand_augment(half, rng)) for _ in range(2000)])
    assert mean == pytest.approx(2, abs=0.12)


def test_timms_list_may_give_an_operation_twice_and_every_one_comes_up():
    rng = np.random.default_rng(0)
    policy = RandAugment(num_ops=4, probability=1, ranges="timm")
    drawn = [[name for name, _ in draw_rand_augment(policy, rng)] for _ in range(300)]
    assert any(len(set(names)) < 4 for names in drawn)
    assert {name for names in drawn for name in names} == set(TIMM)


def test_aug_mix_weighs_the_clip_and_its_chains_to_one():
    rng = np.random.default_rng(0)
    depths = set()
    for _ in range(100):
        weights, chains = draw_aug_mix(AugMix(width=3), rng)
        assert len(weights) == 4
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
        depths |= {len(chain) for chain in chains}
    assert depths == {1, 2, 3}
    _, chains = draw_aug_mix(AugMix(width=2, depth=4), rng)
    assert [len(chain) for chain in chains] == [4, 4]


def test_the_same_generator_draws_the_same():
    for draw, policy in ((draw_rand_augment, RandAugment(num_ops=5)), (draw_aug_mix, AugMix())):
        assert draw(policy, np.random.default_rng(7)) == draw(policy, np.random.default_rng(7))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(magnitude=11), "less than or equal to 10"),
        (lambda: RandAugment(num_ops=0), "greater than 0"),
        (lambda: RandAugment(ranges="mine"), "'pytorchvideo' or 'timm'"),
        (lambda: AugMix(alpha=0), "greater than 0"),
        (lambda: AugMix(depth=0), "greater than 0"),
        (lambda: RandAugment(magnitud=3), "magnitud"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
