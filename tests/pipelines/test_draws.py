"""What an epoch draws: exact quotas, every sample equally often in the long run, a function of seed and epoch."""

import numpy as np
import pytest

from vidflow.pipelines.draws import Group, balanced_groups, draw, share_out


def counts(groups, size, *, epochs=1, seed=0, first=0):
    """How often each of ``size`` positions comes in some epochs."""
    found = np.zeros(size, int)
    for epoch in range(first, first + epochs):
        positions = draw(groups, seed=seed, epoch=epoch).positions
        np.add.at(found, positions, 1)
    return found


def test_a_quota_of_all_members_draws_each_once():
    draws = draw([Group(np.arange(7), 7)], seed=3, epoch=5)
    assert draws.positions.tolist() == list(range(7))
    assert draws.repeats.tolist() == [0] * 7


def test_repeats_are_counted_and_come_one_pass_after_the_other():
    draws = draw([Group(np.arange(3), 9)], seed=0, epoch=0)
    assert draws.positions.tolist() == [0, 1, 2] * 3
    assert draws.repeats.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("quota", [1, 4, 7, 10, 23])
def test_every_member_is_drawn_equally_often_over_the_epochs(quota):
    for epochs in (1, 3, 7):
        found = counts([Group(np.arange(7), quota)], 7, epochs=epochs)
        assert found.sum() == quota * epochs
        assert found.max() - found.min() <= 1


def test_groups_keep_their_quotas_in_every_epoch():
    groups = [Group(np.arange(10), 4), Group(np.arange(10, 13), 8)]
    for epoch in range(5):
        found = counts(groups, 13, first=epoch)
        assert (found[:10].sum(), found[10:].sum()) == (4, 8)


def test_a_part_of_a_group_differs_between_epochs_and_seeds_and_is_the_same_again():
    groups = [Group(np.arange(100), 20)]
    one = lambda **kw: draw(groups, **{"seed": 1, "epoch": 2} | kw).positions.tolist()  # noqa: E731
    assert one() == one()
    assert one() != one(epoch=3)
    assert one() != one(seed=2)


def test_a_sample_of_two_groups_counts_its_repeats_over_both():
    draws = draw([Group(np.array([0, 1]), 2), Group(np.array([1, 2]), 2)], seed=0, epoch=0)
    assert draws.positions.tolist() == [0, 1, 2, 1]
    assert draws.repeats.tolist() == [0, 0, 0, 1]


def test_balanced_groups_give_each_class_the_same_number_of_draws():
    labels = [[0]] * 50 + [[1]] * 5 + [[2]] * 20
    groups = balanced_groups(labels, total=75)
    found = counts(groups, 75, epochs=4)
    assert [found[:50].sum(), found[50:55].sum(), found[55:].sum()] == [100, 100, 100]
    assert set(found[:50].tolist()) == {2}
    assert set(found[50:55].tolist()) == {20}


def test_balanced_groups_of_several_labels_draw_a_sample_for_each_and_none_without():
    groups = balanced_groups([[0, 3], [3], []], total=4)
    found = counts(groups, 3, epochs=10)
    assert found.tolist() == [30, 10, 0]


@pytest.mark.parametrize(("total", "weights"), [(10, [1, 1, 1]), (1000, [0.7, 0.2, 0.1]), (7, [5.0]), (3, [1e-9, 1])])
def test_shares_are_whole_and_add_up(total, weights):
    quotas = share_out(total, weights)
    assert sum(quotas) == total
    exact = np.array(weights) / sum(weights) * total
    assert np.all(np.abs(np.array(quotas) - exact) < 1)


def test_a_group_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs members and a quota, not 0 and 3"):
        Group(np.array([], int), 3)
