"""The ordered pool: order, crashes, errors, and no process left behind."""

import signal
from contextlib import closing

import psutil
import pytest
from pool_work import crash_on_three, crash_once, environment_of, fail, square_slowly

from vidflow.errors import StorageError
from vidflow.shards.workers import Crash, map_in_order


def children() -> set[int]:
    # The tracker of multiprocessing outlives every pool.
    return {c.pid for c in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(c.cmdline())}


def test_results_keep_the_order_of_the_items():
    assert [result for _, result in map_in_order(square_slowly, range(50), workers=3)] == [n * n for n in range(50)]


def test_more_workers_than_items():
    assert list(map_in_order(square_slowly, [4], workers=8)) == [(4, 16)]


def test_workers_have_the_environment_of_today_and_not_of_the_first_pool(monkeypatch):
    list(map_in_order(square_slowly, [1], workers=1))
    monkeypatch.setenv("VIDFLOW_TEST_WORD", "later")
    assert list(map_in_order(environment_of, ["VIDFLOW_TEST_WORD"], workers=1)) == [("VIDFLOW_TEST_WORD", "later")]


def test_no_items():
    assert list(map_in_order(square_slowly, [], workers=2)) == []


def test_a_crash_costs_one_item():
    results = dict(map_in_order(crash_on_three, range(8), workers=2))
    assert results.pop(3) == Crash(-signal.SIGKILL)
    assert results == {n: n for n in (0, 1, 2, 4, 5, 6, 7)}
    assert "SIGKILL" in Crash(-signal.SIGKILL).reason


def test_an_item_whose_worker_died_is_tried_again(tmp_path):
    assert list(map_in_order(crash_once, [str(tmp_path / "marker")], workers=1)) == [(str(tmp_path / "marker"), "done")]


def test_a_users_error_stays_itself_and_a_bug_keeps_its_traceback():
    with pytest.raises(StorageError, match="disk full"):
        list(map_in_order(fail, [2], workers=1))
    with pytest.raises(RuntimeError, match=r"in fail[\s\S]*ZeroDivisionError: seven"):
        list(map_in_order(fail, [7], workers=1))


def test_no_process_is_left_when_the_reader_stops_early():
    before = children()
    with closing(map_in_order(square_slowly, range(1000), workers=2)) as results:
        next(results)
        assert children() - before
    assert children() - before == set()


def test_a_long_source_is_not_drawn_ahead_without_bound():
    drawn = []

    def source():
        for number in range(1000):
            drawn.append(number)
            yield number

    with closing(map_in_order(square_slowly, source(), workers=1)) as results:
        next(results)
        assert len(drawn) < 50
