"""Packed data sets made from others: selected, split, relabelled, repacked; the media's bytes stay what they were."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dying import DYING
from fixed_reader import FixedReader

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.pipelines.reading import read_samples
from vidflow.schema import Moment, Question, Segment, TimedBox
from vidflow.shards.editing import edit
from vidflow.shards.edits import reencode, reordering, selection, splitting
from vidflow.shards.packed_samples import rows_at
from vidflow.shards.profiles import PROFILES
from vidflow.shards.relabeling import parse_map, relabeling, renaming
from vidflow.shards.sources.items import Annotations, SourceList
from vidflow.shards.verification import verify_dataset


@pytest.fixture
def dataset(items, packed, tmp_path) -> PackedDataset:
    """24 clips of the classes a, b and c, in groups of two, 16 in train and 8 in val, 5 to a shard."""
    source = items(24)
    made = tuple(
        replace(item, labels=(i % 3,), group=f"g{i // 2}", split="train" if i < 16 else "val")
        for i, item in enumerate(source.items)
    )
    packed(SourceList("clips", made, ("a", "b", "c")), "source", max_count=5)
    return PackedDataset.open(tmp_path / "source")


def samples_of(folder: Path) -> dict[str, tuple]:
    """Id -> split, class names, group and bytes, as the loader's reader gives them; checked by verify."""
    dataset = PackedDataset.open(folder)
    assert verify_dataset(dataset, workers=1).differences == ()
    classes = dataset.info.classes
    return {
        record.id: (record.split, tuple(classes[label] for label in record.labels), record.group, data)
        for _, record, data in read_samples(dataset, np.arange(len(dataset)))
    }


def test_a_selection_holds_the_samples_of_the_query_and_no_other(dataset, tmp_path):
    before = samples_of(tmp_path / "source")
    edit(dataset, tmp_path / "out", selection(dataset, splits=["train"], where="label != 1 and num_frames > 5"))
    wanted = dataset.table.to_pylist()
    kept = {row["id"] for row in wanted if row["split"] == "train" and row["label"] != 1 and row["num_frames"] > 5}
    assert 0 < len(kept) < 16
    assert samples_of(tmp_path / "out") == {name: before[name] for name in kept}
    info = PackedDataset.open(tmp_path / "out").info
    assert (list(info.splits), info.classes) == (["train"], ("a", "b", "c"))
    assert info.options["max_count"] == 5
    assert info.options["edits"][0]["where"] == "label != 1 and num_frames > 5"


def test_keys_of_the_new_data_set_are_its_own_ordinals(dataset, tmp_path):
    edit(dataset, tmp_path / "out", selection(dataset, where="label == 2"))
    out = PackedDataset.open(tmp_path / "out")
    assert out.column("key").tolist() == [f"{i:06d}" for i in range(8)]


def test_an_edit_of_an_edit_keeps_both_in_its_history(dataset, tmp_path):
    edit(dataset, tmp_path / "one", selection(dataset, splits=["train"]))
    one = PackedDataset.open(tmp_path / "one")
    edit(one, tmp_path / "two", reordering(one, max_count=2))
    history = PackedDataset.open(tmp_path / "two").info.options["edits"]
    assert [entry["command"] for entry in history] == ["select", "repack"]


def test_repacking_changes_shards_and_order_and_nothing_else(dataset, tmp_path, files_of):
    before = samples_of(tmp_path / "source")
    edit(dataset, tmp_path / "out", reordering(dataset, max_count=3, seed=7))
    assert samples_of(tmp_path / "out") == before
    out = PackedDataset.open(tmp_path / "out")
    assert [shard.num_samples for shard in out.info.shards] == [3, 3, 3, 3, 3, 1, 3, 3, 2]
    assert out.column("id").tolist() != dataset.column("id").tolist()
    edit(dataset, tmp_path / "again", reordering(dataset, max_count=3, seed=7))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "again")


def test_repacking_by_bytes_keeps_the_order(dataset, tmp_path):
    size = dataset.info.shards[0].size
    edit(dataset, tmp_path / "out", reordering(dataset, max_bytes=size // 2))
    out = PackedDataset.open(tmp_path / "out")
    assert out.column("id").tolist() == dataset.column("id").tolist()
    assert max(shard.size for shard in out.info.shards) <= size // 2


def test_repacking_alike_gives_the_same_shards(dataset, tmp_path):
    edit(dataset, tmp_path / "out", reordering(dataset))
    out = PackedDataset.open(tmp_path / "out")
    assert [shard.sha256 for shard in out.info.shards] == [shard.sha256 for shard in dataset.info.shards]
    assert out.table.equals(dataset.table)


def test_repacking_with_a_profile_re_encodes(dataset, tmp_path):
    report = reencode(dataset, tmp_path / "out", PROFILES["intra"], max_count=4, workers=1)
    assert report.packed == 24
    out = PackedDataset.open(tmp_path / "out")
    assert verify_dataset(out, workers=1).differences == ()
    assert out.column("id").tolist() == dataset.column("id").tolist()
    assert out.column("num_frames").tolist() == dataset.column("num_frames").tolist()
    assert out.column("group").tolist() == dataset.column("group").tolist()
    assert all(
        record.video.key_frames == tuple(range(record.video.num_frames)) for record, _ in rows_at(out, np.arange(24))
    )
    assert (out.info.options["profile"], out.info.options["edits"][0]["command"]) == ("intra", "repack")
    with pytest.raises(ConfigError, match="keeps the bytes"):
        reencode(dataset, tmp_path / "copy", PROFILES["copy"], workers=1)


def test_a_new_split_is_stratified_and_keeps_groups_whole(dataset, tmp_path):
    before = samples_of(tmp_path / "source")
    edit(dataset, tmp_path / "out", splitting(dataset, ratio=0.75, seed=3))
    after = samples_of(tmp_path / "out")
    assert {name: sample[1:] for name, sample in after.items()} == {name: s[1:] for name, s in before.items()}
    splits: dict[str, set[str]] = {}
    for split, _, group, _ in after.values():
        splits.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert {sample[0] for sample in after.values()} == {"train", "val"}
    assert 4 <= sum(sample[0] == "val" for sample in after.values()) <= 8
    val_classes = {sample[1] for sample in after.values() if sample[0] == "val"}
    assert len(val_classes) == 3


def test_other_splits_stay_when_one_is_split(items, packed, tmp_path):
    source = items(12)
    made = tuple(replace(item, split="train" if i < 8 else "test") for i, item in enumerate(source.items))
    packed(SourceList("clips", made, ("a",)), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    edit(dataset, tmp_path / "out", splitting(dataset, ratio=0.5, only=["train"]))
    info = PackedDataset.open(tmp_path / "out").info
    assert {name: split.num_samples for name, split in info.splits.items()} == {"train": 4, "val": 4, "test": 4}
    with pytest.raises(DataError, match="split 'train' stays"):
        splitting(dataset, ratio=0.5, only=["test"])


def test_groups_by_name_hold_in_a_new_split(items, packed, tmp_path):
    packed(items(20), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    edit(dataset, tmp_path / "out", splitting(dataset, ratio=0.5, group_regex=r"(\d{3})"))
    samples = samples_of(tmp_path / "out")
    assert {sample[2] for sample in samples.values()} == {"000", "001"}
    assert len({(sample[0], sample[2]) for sample in samples.values()}) == 2


def test_renamed_classes_keep_their_samples_and_merged_ones_share(dataset, tmp_path):
    before = samples_of(tmp_path / "source")
    edit(dataset, tmp_path / "out", renaming(dataset, {"a": "c", "b": "walk=fast"}))
    names = {"a": "c", "b": "walk=fast", "c": "c"}
    expected = {name: (split, (names[label],), *rest) for name, (split, (label,), *rest) in before.items()}
    assert samples_of(tmp_path / "out") == expected
    assert PackedDataset.open(tmp_path / "out").info.classes == ("c", "walk=fast")


def test_classes_can_be_put_in_another_order(dataset, tmp_path):
    before = samples_of(tmp_path / "source")
    edit(dataset, tmp_path / "out", renaming(dataset, {}, classes=["c", "new", "a", "b"]))
    assert samples_of(tmp_path / "out") == before
    assert PackedDataset.open(tmp_path / "out").info.classes == ("c", "new", "a", "b")
    with pytest.raises(DataError, match="lacks 1 classes, such as 'b'"):
        renaming(dataset, {}, classes=["a", "c"])


def test_labels_of_segments_and_boxes_are_renamed_too(items, packed, tmp_path):
    source = items(1)
    notes = Annotations(
        segments=(Segment(start=0, end=0.1, label=1),),
        boxes=(TimedBox(time=0, x1=0, y1=0, x2=1, y2=1, labels=(0, 1)),),
    )
    packed(replace(source, items=(replace(source.items[0], annotations=notes),), classes=("a", "b", "c")), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    edit(dataset, tmp_path / "out", renaming(dataset, {"a": "c", "b": "c"}))
    record = PackedDataset.open(tmp_path / "out").record(0)
    assert (record.labels, record.segments[0].label, record.boxes[0].labels) == ((0,), 0, (0,))


def test_moments_and_questions_stay_with_their_sample_and_labels_of_questions_are_renamed(items, packed, tmp_path):
    source = items(2)
    notes = Annotations(
        moments=(Moment(start=0, end=0.1, text="x"),), questions=(Question(text="who?", answers=("b",), labels=(1, 0)),)
    )
    first = replace(source.items[0], annotations=notes)
    packed(replace(source, items=(first, source.items[1]), classes=("a", "b", "c")), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    edit(dataset, tmp_path / "renamed", renaming(dataset, {"a": "c", "b": "c"}))
    edit(dataset, tmp_path / "selected", selection(dataset, where=f"id == '{first.id}'"))
    reencode(dataset, tmp_path / "intra", PROFILES["intra"], workers=1)
    found = {}
    for name in ("renamed", "selected", "intra"):
        made = PackedDataset.open(tmp_path / name)
        (found[name],) = (r for r in (made.record(i) for i in range(len(made))) if r.id == first.id)
        assert found[name].moments == notes.moments
    assert found["selected"].questions == found["intra"].questions == notes.questions
    (renamed,) = found["renamed"].questions
    assert (renamed.text, renamed.answers, renamed.labels) == ("who?", ("b",), (0,))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("x=y", "write OLD=NEW"),
        ("runing=y", "did you mean 'running'"),
        ("running", "write OLD=NEW"),
        ("running=", "no new name"),
        ("a=b=c", "may start with class 'a' or 'a=b'"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        parse_map([argument], ["running", "a", "a=b"])


def test_labels_come_from_a_list(dataset, tmp_path):
    before = samples_of(tmp_path / "source")
    (tmp_path / "new.csv").write_text("id,label\n0003.mp4,c\n0007.mp4,0\n")
    from vidflow.shards.sources.lines import Columns

    change = relabeling(dataset, tmp_path / "new.csv", columns=Columns(path="id", label="label"))
    edit(dataset, tmp_path / "out", change)
    after = samples_of(tmp_path / "out")
    changed = {name: sample[1] for name, sample in after.items() if sample[1] != before[name][1]}
    assert changed == {"0003.mp4": ("c",), "0007.mp4": ("a",)}


def test_a_list_that_does_not_fit_is_refused_with_its_lines(dataset, tmp_path):
    (tmp_path / "new.txt").write_text("0003.mp4 c\nnot there.mp4 a\n0003.mp4 a\n")
    with pytest.raises(DataError) as error:
        relabeling(dataset, tmp_path / "new.txt")
    assert "new.txt:2:15: no sample 'not there.mp4'" in str(error.value)
    assert "new.txt:3:10: '0003.mp4' was listed already, with other labels" in str(error.value)
    (tmp_path / "new.txt").write_text("0003.mp4 d\n")
    with pytest.raises(DataError, match="no class 'd'"):
        relabeling(dataset, tmp_path / "new.txt")


def test_a_list_cannot_name_one_of_several_samples_of_one_id(items, packed, tmp_path):
    source = items(3)
    made = tuple(replace(item, id="1.mp4" if i else "0.mp4") for i, item in enumerate(source.items))
    packed(replace(source, items=made, classes=("a", "b")))
    twice = PackedDataset.open(tmp_path / "out")
    (tmp_path / "new.txt").write_text("0.mp4 b\n1.mp4 b\n")
    with pytest.raises(DataError, match=r"1 lines that do not fit.*\n.*new\.txt:2:7: 2 samples are called '1\.mp4'"):
        relabeling(twice, tmp_path / "new.txt")
    (tmp_path / "new.txt").write_text("0.mp4 b\n")
    edit(twice, tmp_path / "edited", relabeling(twice, tmp_path / "new.txt"))
    labels = PackedDataset.open(tmp_path / "edited").table.select(["id", "label"]).to_pylist()
    assert sorted((row["id"], row["label"]) for row in labels) == [("0.mp4", 1), ("1.mp4", 0), ("1.mp4", 0)]


def test_a_class_that_samples_keep_cannot_go(dataset, tmp_path):
    (tmp_path / "new.txt").write_text("0003.mp4 x\n")
    with pytest.raises(DataError, match="which --classes lacks"):
        edit(dataset, tmp_path / "out", relabeling(dataset, tmp_path / "new.txt", classes=["a", "b", "x"]))
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_written_over(dataset, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "source")
    for out in (tmp_path / "source", f"{tmp_path}/source/", tmp_path / "link"):
        with pytest.raises(ConfigError, match="is the data set that is read"):
            edit(dataset, out, reordering(dataset), overwrite=True)


def test_another_edit_into_the_same_folder_is_refused(dataset, tmp_path):
    edit(dataset, tmp_path / "out", selection(dataset, where="label == 1"))
    assert edit(dataset, tmp_path / "out", selection(dataset, where="label == 1")).already_complete
    with pytest.raises(DataError, match="packed otherwise"):
        edit(dataset, tmp_path / "out", selection(dataset, where="label == 2"))
    edit(dataset, tmp_path / "out", selection(dataset, where="label == 2"), overwrite=True)
    assert {sample[1] for sample in samples_of(tmp_path / "out").values()} == {("c",)}


def test_samples_of_every_kind_are_copied(packed, items, tmp_path):
    from vidflow.schema import FramesInfo
    from vidflow.shards.contents import Contents, Member
    from vidflow.shards.sources.items import SourceItem

    source = items(1)
    members = tuple(Member(f"rgb.{i:05d}.jpg", bytes([i]) * i) for i in range(1, 4))
    contents = Contents(FramesInfo(container="jpg", num_frames=3, width=4, height=4), members)
    frames = SourceItem(source.items[0].path, "dir", "train", (0,), reader=FixedReader(contents))
    packed(replace(source, items=(*source.items, frames)), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    edit(dataset, tmp_path / "out", reordering(dataset, max_count=1))
    shards = {p.name: p.stat().st_size for p in (tmp_path / "out").glob("*.tar")}
    assert len(shards) == 2
    from vidflow.pipelines.reading import read_members

    read = {record.id: found for _, record, found in read_members(PackedDataset.open(tmp_path / "out"), np.arange(2))}
    assert read["dir"] == {member.suffix: member.data for member in members}


@pytest.mark.parametrize("steps", [3, 9, 16, pytest.param(22, marks=pytest.mark.slow)])
def test_a_killed_edit_is_finished_by_the_same_command(steps, dataset, command, files_of, tmp_path):
    line = ["repack", str(tmp_path / "source"), str(tmp_path / "out"), "--max-count", "4", "--seed", "1"]
    killed = subprocess.run(
        [sys.executable, "-c", DYING, str(steps), *line], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL, "fewer steps than that: the test must be changed"
    again = command(*line)
    assert again.returncode == 0, again.stderr
    edit(dataset, tmp_path / "whole", reordering(dataset, max_count=4, seed=1))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["select", "--where", "label == 1"], "8 found = 8 packed"),
        (["split", "--split", "0.5"], "train: "),
        (["relabel", "--map", "a=z"], "24 found = 24 packed"),
        (["repack", "--profile", "train", "--workers", "1"], "24 found = 24 packed"),
    ],
)
def test_the_commands_from_end_to_end(arguments, expected, dataset, command, tmp_path):
    name, *options = arguments
    result = command(name, tmp_path / "source", tmp_path / "out", *options)
    assert result.returncode == 0, result.stderr
    assert expected in result.stdout
    again = command(name, tmp_path / "source", tmp_path / "out", *options)
    assert "complete already" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["select"], 2, "give --where, --split or both"),
        (["select", "--where", "nonsense > 1"], 3, "does not work"),
        (["split", "--split", "1.5"], 2, "must lie between 0 and 1"),
        (["relabel", "--map", "q=z"], 2, "write OLD=NEW"),
        (["repack", "--max-count", "0"], 2, "must be at least 1"),
        (["repack", "--profile", "copy"], 2, "keeps the bytes"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(arguments, status, message, dataset, command, tmp_path):
    name, *options = arguments
    result = command(name, tmp_path / "source", tmp_path / "out", *options)
    assert result.returncode == status
    assert message in result.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_data_sets_on_a_server_are_edited_from_there_and_to_there(dataset, s3, files_of, tmp_path):
    root = s3.put(files_of(tmp_path / "source"))
    remote = PackedDataset.open(root)
    local_edit = selection(dataset, splits=["train"], where="label == 1")
    edit(dataset, tmp_path / "local", local_edit)
    edit(remote, tmp_path / "fetched", selection(remote, splits=["train"], where="label == 1"))
    edit(remote, s3.root("there"), selection(remote, splits=["train"], where="label == 1"))
    assert files_of(tmp_path / "fetched") == files_of(tmp_path / "local") == s3.files("there")


def test_re_encoding_reads_from_a_server(s3, dataset, files_of, command, tmp_path):
    root = s3.put(files_of(tmp_path / "source"))
    result = command("repack", root, tmp_path / "out", "--profile", "intra", "--workers", 1)
    assert result.returncode == 0, result.stderr
    reencode(dataset, tmp_path / "local", PROFILES["intra"], workers=1)
    shards = {name: data for name, data in files_of(tmp_path / "local").items() if name.endswith(".tar")}
    assert shards == {name: data for name, data in files_of(tmp_path / "out").items() if name.endswith(".tar")}


def test_merged_classes_count_once_in_a_sample_of_several_labels(items, packed, tmp_path):
    source = items(1)
    sample = replace(source.items[0], labels=(2, 0, 1))
    packed(SourceList("clips", (sample,), ("a", "b", "c"), multi_label=True), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    edit(dataset, tmp_path / "out", renaming(dataset, {"b": "a"}))
    out = PackedDataset.open(tmp_path / "out")
    assert (out.info.classes, out.record(0).labels) == (("a", "c"), (1, 0))


def test_only_video_is_re_encoded(packed, items, tmp_path):
    from vidflow.schema import FeatureInfo
    from vidflow.shards.contents import Contents, Member
    from vidflow.shards.sources.items import SourceItem

    source = items(1)
    contents = Contents(FeatureInfo(num_steps=1, num_features=1), (Member("feature.npy", b"x"),))
    feature = SourceItem(source.items[0].path, "v", "train", (0,), reader=FixedReader(contents))
    packed(replace(source, items=(*source.items, feature)), "source")
    dataset = PackedDataset.open(tmp_path / "source")
    with pytest.raises(DataError, match="samples of kind feature"):
        reencode(dataset, tmp_path / "out", PROFILES["train"], workers=1)
