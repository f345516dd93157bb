"""Class folders as a source: layouts, names, links, and what is passed over."""

import os
import unicodedata
from pathlib import Path

import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.shards.sources.class_folders import read_class_folders


def found(source) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(item.id, item.split, item.labels) for item in source.items}


def test_split_folders_give_splits_and_sorted_classes(tree):
    source = read_class_folders(tree("train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4", "test/jump/d.mp4"))
    assert source.classes == ("jump", "run")
    assert found(source) == {
        ("train/run/a.mp4", "train", (1,)),
        ("train/jump/b.mp4", "train", (0,)),
        ("val/run/c.mp4", "val", (1,)),
        ("test/jump/d.mp4", "test", (0,)),
    }


def test_classes_come_from_all_splits(tree):
    source = read_class_folders(tree("train/b/x.mp4", "val/a/x.mp4"))
    assert source.classes == ("a", "b")


def test_files_lie_at_any_depth_below_their_class(tree):
    source = read_class_folders(tree("train/run/2024/may/a.mp4"))
    assert found(source) == {("train/run/2024/may/a.mp4", "train", (0,))}


@pytest.mark.parametrize("name", ["x.mp4", "x.MP4", "x.AVI", "x.MoV", "x.WebM", "x.mkv"])
def test_video_extensions_count_in_any_case(tree, name):
    assert len(read_class_folders(tree(f"train/run/{name}")).items) == 1


def test_equal_base_names_are_different_samples(tree):
    source = read_class_folders(tree("train/a/clip.mp4", "train/b/clip.mp4", "train/b/clip.MP4", "train/b/clip.avi"))
    assert len({item.id for item in source.items}) == 4


def test_other_files_are_counted_by_reason(tree):
    root = tree("train/run/a.mp4", "train/run/._a.mp4", "train/run/notes.txt", "train/run/noext", "train/loose.mp4")
    (root / "train" / ".git").mkdir()
    source = read_class_folders(root)
    assert len(source.items) == 1
    assert source.skipped == {"hidden name": 2, "not a video's file name": 2, "not inside a class folder": 1}


def test_links_to_files_and_folders_are_followed(tree, tmp_path):
    root = tree("train/run/a.mp4")
    elsewhere = tree("farm/b.mp4", root=tmp_path / "elsewhere")
    (root / "train" / "run" / "b.mp4").symlink_to(elsewhere / "farm" / "b.mp4")
    (root / "train" / "jump").symlink_to(elsewhere / "farm")
    assert {item.id for item in read_class_folders(root).items} == {
        "train/run/a.mp4",
        "train/run/b.mp4",
        "train/jump/b.mp4",
    }


def test_a_link_to_a_folder_above_ends_and_is_counted(tree):
    root = tree("train/run/a.mp4")
    (root / "train" / "run" / "again").symlink_to(root / "train" / "run")
    source = read_class_folders(root)
    assert len(source.items) == 1
    assert source.skipped == {"link to a folder above it": 1}


@pytest.mark.parametrize("target", ["train", ".", "..", "val/../train"])
@pytest.mark.parametrize("link", ["train/run/up", "train/run/deep/up", "train/up"])
def test_a_link_to_a_folder_above_the_class_gives_no_video_another_label(tree, link, target):
    root = tree("train/run/deep/a.mp4", "train/walk/b.mp4", "val/run/c.mp4")
    tree("other.mp4", root=root.parent)
    (root / link).symlink_to(root / target)
    source = read_class_folders(root)
    assert found(source) == {
        ("train/run/deep/a.mp4", "train", (0,)),
        ("train/walk/b.mp4", "train", (1,)),
        ("val/run/c.mp4", "val", (0,)),
    }
    assert (source.classes, source.skipped) == (("run", "walk"), {"link to a folder above it": 1})


def test_a_split_folder_that_is_a_link_is_followed_and_its_loops_end(tree, tmp_path):
    elsewhere = tree("run/a.mp4", "walk/b.mp4", root=tmp_path / "elsewhere")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train").symlink_to(elsewhere)
    (elsewhere / "run" / "up").symlink_to(elsewhere)
    (elsewhere / "walk" / "up").symlink_to(tmp_path / "source")
    source = read_class_folders(tmp_path / "source")
    assert {item.id for item in source.items} == {"train/run/a.mp4", "train/walk/b.mp4"}
    assert source.skipped == {"link to a folder above it": 2}


def test_broken_links_stay_samples_so_that_packing_rejects_them(tree):
    root = tree("train/run/a.mp4")
    (root / "train" / "run" / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "train" / "run" / "loop.mp4").symlink_to("loop.mp4")
    assert {item.id for item in read_class_folders(root).items} == {
        "train/run/a.mp4",
        "train/run/gone.mp4",
        "train/run/loop.mp4",
    }


def test_a_class_in_both_unicode_spellings_is_one_class(tree):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    source = read_class_folders(tree(f"train/{composed}/a.mp4", f"val/{decomposed}/a.mp4"))
    assert source.classes == (composed,)
    assert [item.labels for item in source.items] == [(0,), (0,)]
    assert {item.id for item in source.items} == {f"train/{composed}/a.mp4", f"val/{decomposed}/a.mp4"}


def test_a_name_that_is_not_utf8_keeps_its_bytes_and_gets_a_clean_id(tree):
    source = read_class_folders(tree(b"train/run/caf\xe9.mp4"))
    (item,) = source.items
    assert item.id == "train/run/caf\\udce9.mp4"
    assert os.fsencode(item.path).endswith(b"caf\xe9.mp4")


def test_one_level_needs_a_split(tree):
    with pytest.raises(DataError, match=r"--split 0\.9"):
        read_class_folders(tree("run/a.mp4"))


def test_one_level_is_split_by_class(tree):
    root = tree(*(f"{name}/{i}.mp4" for name in ("a", "b") for i in range(10)))
    source = read_class_folders(root, split=0.8)
    for label in (0, 1):
        splits = [item.split for item in source.items if item.labels == (label,)]
        assert (splits.count("train"), splits.count("val")) == (8, 2)


def test_a_split_beside_split_folders_is_refused(tree):
    with pytest.raises(DataError, match="leave --split out"):
        read_class_folders(tree("train/run/a.mp4", "val/run/a.mp4"), split=0.9)


def test_split_folders_beside_other_folders_are_refused(tree):
    with pytest.raises(DataError, match="beside extra"):
        read_class_folders(tree("train/run/a.mp4", "extra/run/a.mp4"))


def test_given_classes_decide_the_order_and_may_be_empty(tree):
    source = read_class_folders(tree("train/run/a.mp4"), classes=("walk", "run"))
    assert source.classes == ("walk", "run")
    assert source.items[0].labels == (1,)


def test_a_folder_that_no_given_class_names_is_refused(tree):
    with pytest.raises(DataError, match="'run'"):
        read_class_folders(tree("train/run/a.mp4"), classes=("walk",))


def test_a_missing_folder_is_named(tmp_path):
    for name in ("nothing", "a" * 300):
        with pytest.raises(DataError, match="no such folder"):
            read_class_folders(tmp_path / name)


def test_groups_stay_together(tree):
    root = tree(*(f"run/source{s}_clip{c}.mp4" for s in range(6) for c in range(4)))
    source = read_class_folders(root, split=0.5, group_regex=r"(.+)_clip\d+")
    splits: dict[str | None, set[str]] = {}
    for item in source.items:
        splits.setdefault(item.group, set()).add(item.split)
    assert set(splits) == {f"source{s}" for s in range(6)}
    assert all(len(found) == 1 for found in splits.values())
    assert {item.split for item in source.items} == {"train", "val"}


def test_split_folders_that_tear_a_group_apart_are_refused(tree):
    with pytest.raises(DataError, match="'s1'"):
        read_class_folders(tree("train/run/s1_clip1.mp4", "val/run/s1_clip2.mp4"), group_regex=r"(.+)_clip\d+")


def test_a_pattern_that_matches_nothing_is_refused(tree):
    with pytest.raises(DataError, match="matches none"):
        read_class_folders(tree("train/run/a.mp4"), group_regex=r"(.+)_clip\d+")


def test_a_broken_pattern_is_refused(tree):
    with pytest.raises(ConfigError, match="not a regular expression"):
        read_class_folders(tree("train/run/a.mp4"), group_regex="(")


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, 90.0])
def test_a_ratio_out_of_range_is_refused(tree, ratio):
    with pytest.raises(ConfigError, match="--split"):
        read_class_folders(tree("run/a.mp4"), split=ratio)


def test_one_more_file_moves_no_other_between_the_splits(tree):
    root = tree(*(f"run/{i}.mp4" for i in range(20)))
    before = {item.id: item.split for item in read_class_folders(root, split=0.5).items}
    tree("run/new.mp4")
    after = {item.id: item.split for item in read_class_folders(root, split=0.5).items}
    assert sum(before[name] != after[name] for name in before) <= 1


def test_another_seed_gives_another_split(tree):
    root = tree(*(f"run/{i}.mp4" for i in range(20)))
    first, again, other = (read_class_folders(root, split=0.5, seed=seed).items for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_name_is_the_folders(tree):
    assert read_class_folders(tree("train/run/a.mp4")).name == Path("source").name
