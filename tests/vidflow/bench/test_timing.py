"""Rates are medians over passes that take turns, and the first pass only warms up."""

import itertools
import time

import pytest

from vidflow.bench.report import advise
from vidflow.bench.timing import Pass, measure


def test_passes_take_turns_and_the_first_is_not_counted():
    calls = []

    def work(name, seconds):
        def run():
            # The warm-up is made slow, so that counting it would show.
            time.sleep(0.3 if calls.count(name) == 0 else seconds)
            calls.append(name)
            return 10

        return run

    rates = measure({"a": Pass(work("a", 0.02), 5_000_000), "b": Pass(work("b", 0.04))}, repeats=3)
    turns = [name for name, _ in itertools.groupby(calls)]
    assert turns == ["a", "b"] * 4
    # Short work is repeated within a turn, but for the warm-up, which was long.
    assert calls[:2] == ["a", "b"]
    assert 9 <= calls.count("a") - 1 <= 3 * 11
    assert calls.count("b") < calls.count("a")
    assert len(rates["a"].passes) == 3
    assert 250 < rates["a"].clips_per_s <= 500
    assert rates["a"].mb_per_s == pytest.approx(rates["a"].clips_per_s * 0.5)
    assert rates["b"].mb_per_s is None
    assert rates["a"].clips_per_s > rates["b"].clips_per_s


@pytest.mark.parametrize(
    ("bottleneck", "profile", "expected"),
    [
        ("decode", "copy", "--profile train"),
        ("decode", "train", "--profile intra"),
        ("decode", "intra", "already the fastest"),
        ("read", "copy", "faster disk"),
        ("augment", "intra", "smaller output size"),
    ],
)
def test_advice_fits_the_bottleneck(bottleneck, profile, expected):
    assert expected in advise(bottleneck, profile=profile, by_threads={2: 10.0}, num_cores=2)


def test_more_threads_are_advised_only_where_they_helped_and_cores_are_left():
    assert "more threads" in advise("decode", profile="copy", by_threads={1: 10.0, 2: 19.0}, num_cores=8)
    assert "more threads" not in advise("decode", profile="copy", by_threads={1: 10.0, 2: 9.0}, num_cores=8)
    assert "more threads" not in advise("decode", profile="copy", by_threads={1: 10.0, 2: 19.0}, num_cores=2)
