"""File names give labels and splits; rules and patterns that do not work are refused with what was wrong."""

import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.shards.sources.named_files import SplitRule, read_named_files

REGEX = r"(?P<label>[a-z]+)_(?P<group>p\d+)_(?P<take>\d+)"


@pytest.fixture
def named(tmp_path):
    """``named("run_p1_01", rules=...)`` lists empty files of these names."""

    def read(*names: str, rules=("train",), regex=REGEX, **options):
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / f"{name}.x").touch()
        parsed = [SplitRule.parse(rule) for rule in rules]
        return read_named_files(folder, regex, accepts=lambda name: name.endswith(".x"), rules=parsed, **options)

    return read


def test_the_first_rule_that_holds_gives_the_split(named):
    source = named("run_p1_01", "run_p3_12", "walk_p2_03", rules=("test=take > 10", "val=label == 'walk'", "train"))
    splits = {item.id: item.split for item in source.items}
    assert splits == {"run_p1_01.x": "train", "run_p3_12.x": "test", "walk_p2_03.x": "val"}


def test_a_group_that_rules_tear_apart_is_refused(named):
    with pytest.raises(DataError, match="'p1' \\(test and train\\)"):
        named("run_p1_01", "run_p1_12", rules=("test=take > 10", "train"))


def test_a_file_that_no_rule_takes_is_refused(named):
    with pytest.raises(DataError, match=r"no --split-rule takes 1 of 2 files, such as walk_p2_03\.x"):
        named("run_p1_01", "walk_p2_03", rules=("train=label == 'run'",))


@pytest.mark.parametrize(
    "rule", ["train=nothing > 3", "train=take", "train=take >", "train=__import__('os')", "tr ain", "=take", "train="]
)
def test_a_rule_that_does_not_work_is_refused(named, rule):
    with pytest.raises(ConfigError, match="--split-rule"):
        named("run_p1_01", rules=(rule,))


def test_a_number_too_long_for_64_bits_is_a_text(named):
    rules = ("test=take == '99999999999999999999'", "train")
    source = named(f"run_p1_{'9' * 20}", "run_p2_1", rules=rules)
    assert [item.split for item in source.items] == ["test", "train"]
    with pytest.raises(ConfigError, match="take > 1: does not work"):
        named(rules=("test=take > 1",))


def test_a_pattern_needs_a_label(named):
    with pytest.raises(ConfigError, match=r"has no \(\?P<label>"):
        named("run_p1_01", regex="(.*)")
    with pytest.raises(ConfigError, match="not a regular expression"):
        named("run_p1_01", regex="(")


def test_names_of_the_list_without_a_file_are_refused(named, tmp_path):
    only = tmp_path / "only.txt"
    only.write_text("run_p1_01\nrun_p9_01\n")
    with pytest.raises(DataError, match=r"only.txt:2: no file for 'run_p9_01' and 0 other names"):
        named("run_p1_01", only=only)


def test_only_the_names_of_the_list_are_packed(named, tmp_path):
    only = tmp_path / "only.txt"
    only.write_bytes(b"\xef\xbb\xbfrun_p1_01\r\n")
    source = named("run_p1_01", "run_p2_01", only=only)
    assert [item.id for item in source.items] == ["run_p1_01.x"]
    assert source.skipped == {"name that is not in --only": 1}


def test_a_share_in_place_of_rules_keeps_groups_whole(named):
    source = named(*(f"run_p{i // 2}_{i}" for i in range(20)), rules=(), split=0.5)
    splits = {}
    for item in source.items:
        splits.setdefault(item.group, set()).add(item.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "val"}


def test_rules_or_a_share_are_needed_and_not_both(named):
    with pytest.raises(ConfigError, match="give --split-rule"):
        named("run_p1_01", rules=())
    with pytest.raises(ConfigError, match="give --split-rule"):
        named("run_p1_01", split=0.5)
