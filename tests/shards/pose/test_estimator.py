"""Estimators are found by name or import path, and held to what they promise."""

import dot_people
import pytest

from vidflow.errors import ConfigError
from vidflow.shards.pose.estimator import find_estimator, make_estimator


def test_an_import_path_finds_the_users_own_class():
    assert find_estimator("dot_people:DotEstimator") is dot_people.DotEstimator


def test_an_estimator_is_made_once_per_process_and_options():
    first = make_estimator("dot_people:DotEstimator", "model.bin", 2)
    assert first.model == "model.bin"
    assert make_estimator("dot_people:DotEstimator", "model.bin", 2) is first
    assert make_estimator("dot_people:DotEstimator", None, 2) is not first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mediapip", "--estimator mediapip: there is mediapipe, or an import path such as"),
        ("no_such_module:Pose", "cannot import no_such_module"),
        ("dot_people:Missing", "dot_people has no class or function 'Missing'"),
        ("dot_people:FIGURE", "dot_people has no class or function 'FIGURE'"),
        ("dot_people:WithoutArguments", "it is called with model=..., max_people=..."),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        find_estimator(name)


def test_something_without_the_method_is_refused():
    with pytest.raises(ConfigError, match="gives a str without a method estimate"):
        make_estimator("dot_people:not_an_estimator", None, 2)
