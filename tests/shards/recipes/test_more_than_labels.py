"""What recipes say beside labels: sentences, answers, people and steps that are left out, missing or odd are told."""

import pytest

from vidflow.errors import DataError
from vidflow.shards.recipes.reading import read_recipe
from vidflow.shards.recipes.recipe import load_recipe


def test_sentences_that_end_before_they_begin_are_counted(published):
    root, _ = published("charades-sta")
    warnings = read_recipe(load_recipe("charades-sta"), root).warnings
    assert "1 sentences end before they begin, and were left out" in warnings


def test_answers_outside_the_list_stay_as_text_and_are_counted(published):
    root, _ = published("msrvtt-qa")
    source = read_recipe(load_recipe("msrvtt-qa"), root)
    assert "1 of 5 questions have no answer that is in the list of answers" in source.warnings


def test_samples_that_hold_nobody_are_counted(published):
    root, _ = published("kinetics-skeleton")
    warnings = read_recipe(load_recipe("kinetics-skeleton"), root).warnings
    assert warnings == ("1 samples hold nobody, and were left out",)


def test_missing_keypoint_files_are_named_unless_allowed(published, packed):
    root, _ = published("kinetics400-2d")
    (root / "kpfiles" / "-a.pkl").unlink()
    with pytest.raises(DataError, match=r"(?s)keypoint files are missing below .*kpfiles.*k400_2d\.pkl\[0\]: -a\.pkl"):
        read_recipe(load_recipe("kinetics400-2d"), root)
    report = packed(read_recipe(load_recipe("kinetics400-2d"), root, allow_missing=True))
    assert [(rejected.id, rejected.reason) for rejected in report.rejected] == [("-a", "No such file or directory")]
    assert report.packed == 2


def test_features_of_charades_have_a_step_every_eight_frames(published):
    root, _ = published("charades-sta-features")
    source = read_recipe(load_recipe("charades-sta-features"), root)
    (item,) = (item for item in source.items if item.id == "Y6R7T")
    info = item.reader.read(item.path, conceal=False).info
    assert (info.num_steps, info.duration, info.seconds_per_step) == (3, 30.0, 8 / 24)


def test_features_of_thumos14_have_a_step_every_four_frames(published):
    root, _ = published("thumos14-features")
    source = read_recipe(load_recipe("thumos14-features"), root)
    (item,) = (item for item in source.items if item.id == "video_test_0000004")
    info = item.reader.read(item.path, conceal=False).info
    assert (info.duration, info.seconds_per_step) == (33.7, 4 / 25)
