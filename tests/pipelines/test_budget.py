"""The byte budget bounds, lets single giants pass, and wakes up when stopped."""

import threading

from vidflow.pipelines.budget import ByteBudget


def test_a_taker_waits_until_bytes_are_given_back():
    budget = ByteBudget(100, threading.Event())
    assert budget.take(80)
    took = threading.Event()
    waiter = threading.Thread(target=lambda: budget.take(30) and took.set())
    waiter.start()
    assert not took.wait(0.1)
    budget.give(80)
    assert took.wait(2)
    waiter.join()


def test_one_demand_above_the_limit_passes_when_nothing_is_out():
    assert ByteBudget(100, threading.Event()).take(1000)


def test_a_stopped_waiter_gets_nothing():
    stop = threading.Event()
    budget = ByteBudget(100, stop)
    budget.take(100)
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(budget.take(1)))
    waiter.start()
    stop.set()
    budget.wake()
    waiter.join(2)
    assert answers == [False]
