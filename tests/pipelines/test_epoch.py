"""Epoch plans: equal shares, nothing twice, a function of seed and epoch, and exact continuation."""

import numpy as np
import pytest

from vidflow.errors import DataError
from vidflow.pipelines.epoch import Stage, Window, bounded_shuffle, line_up, plan_evaluation, plan_training, remaining

WINDOW = Window(num_samples=16, num_bytes=10**9)


def shards_of(counts: list[int]) -> np.ndarray:
    return np.repeat([f"s{i}" for i in range(len(counts))], counts)


def training(counts, *, world_size, batch_size=1, seed=0, epoch=0, window=WINDOW, stages=()):
    """All ranks' plans over shards with these sample counts."""
    n = sum(counts)
    line, sizes = remaining(
        np.arange(n), shards_of(counts), np.full(n, 100), stages, seed=seed, epoch=epoch, window=window
    )
    share = {"seed": seed, "epoch": epoch, "world_size": world_size, "batch_size": batch_size, "window": window}
    return [plan_training(line, sizes, rank=rank, **share) for rank in range(world_size)]


@pytest.mark.parametrize("counts", [[7, 5, 3], [10], [1, 1, 1], [64] * 3])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_ranks_get_equal_disjoint_shares_of_full_batches(counts, world_size, batch_size):
    plans = training(counts, world_size=world_size, batch_size=batch_size)
    everything = np.concatenate([plan.order for plan in plans])
    assert len({len(plan.order) for plan in plans}) == 1
    assert len(np.unique(everything)) == len(everything)
    left_out = sum(counts) - len(everything)
    assert 0 <= left_out < world_size * batch_size
    assert not any(plan.padding.any() for plan in plans)


def test_sixty_four_ranks_over_three_shards_share_without_repeats():
    plans = training([500, 300, 224], world_size=64, batch_size=4)
    everything = np.concatenate([plan.order for plan in plans])
    assert {len(plan.order) for plan in plans} == {16}
    assert sorted(everything) == list(range(1024))


def test_one_epoch_is_the_same_every_time_and_epochs_and_seeds_differ():
    order = lambda **kw: training([40, 40], world_size=2, **kw)[0].order.tolist()  # noqa: E731
    assert order(seed=1, epoch=3) == order(seed=1, epoch=3)
    assert order(seed=1, epoch=3) != order(seed=1, epoch=4)
    assert order(seed=1, epoch=3) != order(seed=2, epoch=3)


def test_a_rank_meets_other_samples_in_other_epochs_even_with_one_shard():
    shares = [frozenset(training([100], world_size=2, epoch=epoch)[0].order.tolist()) for epoch in range(4)]
    assert len(set(shares)) == 4


def test_reading_order_keeps_neighbours_together():
    plan = training([50, 50, 50], world_size=1)[0]
    jumps = np.count_nonzero(np.diff(plan.reads) != 1)
    assert jumps <= 3  # two between shards, one where the line is turned


def test_what_is_read_is_what_is_handed_out():
    for plan in training([31, 17], world_size=3, batch_size=4):
        assert sorted(plan.reads.tolist()) == sorted(plan.order.tolist())


def test_shuffle_never_reaches_beyond_its_window():
    order = bounded_shuffle(np.full(1000, 10), Window(num_samples=50, num_bytes=10**9), np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    assert np.all(order <= np.arange(1000) + 50)
    assert np.abs(order - np.arange(1000)).mean() > 10  # it does mix


def test_shuffle_holds_no_more_bytes_than_its_window():
    sizes = np.random.default_rng(1).integers(1, 100, 400)
    order = bounded_shuffle(sizes, Window(num_samples=10**6, num_bytes=500), np.random.default_rng(0))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    for step in range(len(order)):
        taken = order[: step + 1].max() + 1
        waiting = sizes[:taken][place[:taken] > step].sum()
        assert waiting <= 500


def test_one_sample_larger_than_the_window_passes():
    order = bounded_shuffle(np.array([10, 9999, 10]), Window(num_samples=2, num_bytes=100), np.random.default_rng(0))
    assert sorted(order) == [0, 1, 2]


def test_a_whole_selection_inside_the_window_is_fully_permuted():
    firsts = {int(bounded_shuffle(np.full(6, 1), Window(), np.random.default_rng(seed))[0]) for seed in range(60)}
    assert firsts == set(range(6))


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 12])
def test_evaluation_counts_each_sample_once_and_fills_ranks_equally(world_size):
    plans = [plan_evaluation(np.arange(100, 110), rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(plan.order) for plan in plans}) == 1
    real = np.concatenate([plan.order[~plan.padding] for plan in plans])
    assert real.tolist() == list(range(100, 110))
    for plan in plans:
        assert set(plan.order.tolist()) == set(plan.reads.tolist())


def test_skip_gives_the_rest_of_the_order_and_reads_nothing_else():
    plan = training([60], world_size=1)[0]
    rest = plan.skip(25)
    assert rest.order.tolist() == plan.order[25:].tolist()
    assert sorted(rest.reads.tolist()) == sorted(rest.order.tolist())


@pytest.mark.parametrize(("first", "second", "third"), [(2, 1, 3), (1, 4, 2), (3, 3, 1)])
def test_resuming_twice_with_other_world_sizes_loses_and_repeats_nothing(first, second, third):
    counts, batch_size = [30, 25, 17], 2
    seen: list[int] = []
    stages: tuple[Stage, ...] = ()
    for world_size, num_batches in ((first, 3), (second, 2)):
        for plan in training(counts, world_size=world_size, batch_size=batch_size, stages=stages):
            seen += plan.order[: num_batches * batch_size].tolist()
        stages += (Stage(world_size=world_size, batch_size=batch_size, num_batches=num_batches),)
    for plan in training(counts, world_size=third, batch_size=batch_size, stages=stages):
        seen += plan.order.tolist()
    assert len(seen) == len(set(seen))
    assert sum(counts) - len(seen) < third * batch_size


def test_a_position_past_the_epoch_is_refused():
    with pytest.raises(DataError, match="9 batches of 2 on 1 ranks, but an epoch has 5"):
        training([10], world_size=1, stages=(Stage(world_size=1, batch_size=2, num_batches=9),))


def test_line_up_holds_every_sample_once():
    line = line_up(np.arange(5, 25), shards_of([8, 12]), seed=0, epoch=0)
    assert sorted(line.tolist()) == list(range(5, 25))
