"""Packing real files: names, keys, shards, manifest, and what plain webdataset reads back."""

import json
import os
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError, StorageError
from vidflow.shards import tar
from vidflow.shards.sources.class_folders import read_class_folders
from vidflow.shards.sources.items import SourceList

NAMES = (
    "train/run/drinking (31).mp4",
    "train/run/v1.5 a.mp4",
    "train/run/v1.6 a.mp4",
    "train/run/caf\u00e9.mp4",
    "train/run/cafe\u0301.mp4",
    "train/run/日本 x.mp4",
    "train/run/line\nbreak.mp4",
    "train/run/clip.MP4",
    "train/run/clip.mp4",
    "train/jump/clip.mp4",
    "train/a {1..3}::b/clip.mp4",
    b"train/run/caf\xe9 latin1.mp4",
    "val/run/clip.mp4",
)


def test_every_name_packs_and_comes_back_through_plain_webdataset(tree, packed, read_back, tmp_path, clips):
    source = read_class_folders(tree(*NAMES))
    report = packed(source, max_count=5)
    samples = read_back(tmp_path / "out")
    assert report.packed == len(samples) == len(NAMES)
    assert len({sample["key"] for sample in samples}) == len(NAMES)
    assert all(set(sample["fields"]) == {"mp4", "json"} for sample in samples)
    contents = {item.id: Path(item.path).read_bytes() for item in source.items}
    labels = {item.id: list(item.labels) for item in source.items}
    for sample in samples:
        assert sample["fields"]["mp4"] == contents[sample["json"]["id"]]
        assert sample["json"]["labels"] == labels[sample["json"]["id"]]
        assert sample["json"]["key"] == sample["key"]
    ids = {sample["json"]["id"] for sample in samples}
    assert {name for name in NAMES if isinstance(name, str)} <= ids
    assert "train/run/caf\\udce9 latin1.mp4" in ids


def test_manifest_rows_point_at_the_bytes(items, packed, tmp_path):
    source = items(7)
    packed(source, max_count=3)
    dataset = PackedDataset.open(tmp_path / "out")
    paths = {item.id: item.path for item in source.items}
    for index in range(len(dataset)):
        record, location = dataset.row(index)
        data = dataset.storage.read(location.shard, location.data_offset, location.data_length)
        assert data == Path(paths[record.id]).read_bytes()
        # The whole range is a small tar of its own: the two members and nothing else.
        part = dataset.storage.read(location.shard, location.offset, location.length)
        (tmp_path / "part.tar").write_bytes(part + tar.END_OF_ARCHIVE)
        with tarfile.open(tmp_path / "part.tar") as archive:
            assert archive.getnames() == [f"{record.key}.mp4", f"{record.key}.json"]
            assert json.load(archive.extractfile(f"{record.key}.json")) == json.loads(record.model_dump_json())


def test_the_record_holds_what_decodes(items, packed, tmp_path):
    packed(items(4))
    dataset = PackedDataset.open(tmp_path / "out")
    videos = {dataset.record(i).id: dataset.record(i).video for i in range(4)}
    assert [videos[f"{i:04d}.mp4"].num_frames for i in range(4)] == [5, 6, 7, 8]
    assert {(v.width, v.height, v.codec, v.container) for v in videos.values()} == {(64, 48, "h264", "mp4")}


def test_dataset_json_sums_up(tree, packed, tmp_path):
    report = packed(read_class_folders(tree("train/a/0.mp4", "train/b/1.mp4", "val/a/2.mp4")), max_count=1)
    info = PackedDataset.open(tmp_path / "out").info
    assert info == report.info
    assert (info.name, info.classes) == ("source", ("a", "b"))
    assert {name: (split.num_samples, split.num_frames) for name, split in info.splits.items()} == {
        "train": (2, 11),
        "val": (1, 7),
    }
    assert [(shard.name, shard.num_samples) for shard in info.shards] == [
        ("train-000000.tar", 1), ("train-000001.tar", 1), ("val-000000.tar", 1),
    ]  # fmt: skip
    assert all((tmp_path / "out" / shard.name).stat().st_size == shard.size for shard in info.shards)
    assert (info.options["profile"], info.options["max_count"]) == ("copy", 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shards_hold_at_most_max_count(items, packed, read_back, tmp_path, count):
    report = packed(items(count), max_count=3)
    assert [shard.num_samples for shard in report.info.shards] == ([3, count - 3] if count > 3 else [count])
    assert len(read_back(tmp_path / "out")) == count


def test_shards_hold_at_most_max_bytes_and_a_giant_has_its_own(items, packed, tmp_path):
    source = items(5, sizes=[10_000, 10_000, 500_000, 10_000, 10_000])
    report = packed(source, max_bytes=100_000, shuffle=False)
    assert [shard.num_samples for shard in report.info.shards] == [2, 1, 2]
    small = [shard.size for shard in report.info.shards if shard.num_samples == 2]
    assert max(small) <= 100_000
    assert any("0002.mp4 is larger than --max-bytes" in warning for warning in report.warnings)


def test_a_shard_may_be_exactly_max_bytes(items, packed, tmp_path):
    sizes = [10_000, 10_000, 10_000]
    whole = packed(items(3, sizes=sizes), "whole", shuffle=False).info.shards[0].size
    assert len(packed(items(3, sizes=sizes), "fits", shuffle=False, max_bytes=whole).info.shards) == 1
    assert len(packed(items(3, sizes=sizes), "less", shuffle=False, max_bytes=whole - 1).info.shards) == 2


def test_samples_of_a_split_are_mixed_the_same_way_each_time(items, packed, tmp_path, files_of):
    source = items(20)
    ids = {}
    for out, options in (("a", {}), ("b", {}), ("other", {"seed": 1}), ("plain", {"shuffle": False})):
        packed(source, out, **options)
        ids[out] = PackedDataset.open(tmp_path / out).column("id").tolist()
    assert ids["plain"] == sorted(ids["plain"])
    assert ids["a"] == ids["b"] != ids["plain"]
    assert ids["other"] != ids["a"]
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_the_number_of_workers_leaves_no_trace(items, packed, tmp_path, files_of):
    source = items(20)
    Path(source.items[3].path).write_bytes(b"broken")
    packed(source, "one", workers=1, max_count=4)
    packed(source, "three", workers=3, max_count=4)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three")


def test_more_workers_than_files(items, packed, tmp_path, read_back):
    packed(items(3), workers=8)
    assert len(read_back(tmp_path / "out")) == 3


def test_bad_files_are_rejected_with_their_reason_and_the_rest_is_packed(tree, packed, odd_media, tmp_path):
    root = tree("train/run/good.mp4")
    for name in odd_media.bad:
        (root / "train" / "run" / name).write_bytes(odd_media[name].read_bytes())
    (root / "train" / "run" / "gone.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(root / "train" / "run" / "pipe.mp4")
    report = packed(read_class_folders(root))
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert {Path(line["id"]).name for line in lines} == {*odd_media.bad, "gone.mp4", "pipe.mp4"}
    assert all(line["reason"] and str(tmp_path) not in line["reason"] for line in lines)
    assert (report.packed, report.info.num_rejected) == (1, len(lines))
    reasons = {Path(line["id"]).name: (line["stage"], line["reason"]) for line in lines}
    assert reasons["gone.mp4"] == ("open", "No such file or directory")
    assert reasons["pipe.mp4"] == ("open", "not a regular file")
    assert "0 bytes" in reasons["empty.mp4"][1]
    assert "no video stream" in reasons["audio_only.mp4"][1]


def test_found_is_the_sum_of_packed_rejected_and_skipped(tree, packed):
    root = tree("train/run/a.mp4", "train/run/b.mp4", "train/run/._a.mp4", "train/run/x.txt")
    (root / "train" / "run" / "b.mp4").write_bytes(b"")
    report = packed(read_class_folders(root))
    assert (report.found, report.packed, report.info.num_rejected, sum(report.skipped.values())) == (4, 1, 1, 2)


def test_the_file_that_max_rejects_does_not_allow_stops_the_run(items, packed, tmp_path):
    source = items(6)
    for item in source.items[:2]:
        Path(item.path).write_bytes(b"broken")
    with pytest.raises(DataError, match="2 samples rejected, 1 are allowed; the latest is 000"):
        packed(source, max_rejects=1)
    assert packed(source, max_rejects=2).packed == 4


def test_nothing_to_pack_is_an_error_and_leaves_no_files(packed, tmp_path):
    with pytest.raises(DataError, match="3 x hidden name"):
        packed(SourceList("empty", (), ("a",), skipped=Counter({"hidden name": 3})))
    assert not (tmp_path / "out").exists()


def test_nothing_that_could_be_packed_is_an_error_and_leaves_no_files(items, packed, tmp_path):
    source = items(2)
    for item in source.items:
        Path(item.path).write_bytes(b"")
    with pytest.raises(DataError, match="none of 2 files could be packed: 2 x probe: cannot be opened"):
        packed(source)
    assert not (tmp_path / "out").exists()


def test_damage_is_rejected_or_concealed_and_counted(tree, packed, odd_media, tmp_path):
    root = tree("train/run/good.mp4")
    (root / "train" / "run" / "hurt.mp4").write_bytes(odd_media["midcorrupt.mp4"].read_bytes())
    source = read_class_folders(root)
    assert packed(source, "strict").packed == 1
    assert packed(source, "kept", on_damage="conceal").packed == 2
    dataset = PackedDataset.open(tmp_path / "kept")
    damaged = {dataset.record(i).id: dataset.record(i).video.num_damaged for i in range(2)}
    assert damaged["train/run/good.mp4"] == 0
    assert damaged["train/run/hurt.mp4"] > 0


def test_a_container_under_another_name_gets_its_true_extension(tree, packed, odd_media, read_back, tmp_path):
    root = tree("train/run/a.mp4")
    (root / "train" / "run" / "b.mp4").write_bytes(odd_media["webm_named.mp4"].read_bytes())
    packed(read_class_folders(root))
    assert {tuple(sorted(sample["fields"])) for sample in read_back(tmp_path / "out")} == {
        ("json", "mp4"),
        ("json", "webm"),
    }


def test_groups_and_multi_labels_reach_the_manifest(items, packed, tmp_path):
    source = items(2)
    changed = tuple(replace(item, labels=(0, 2), group="g") for item in source.items)
    packed(replace(source, items=changed, classes=("a", "b", "c"), multi_label=True))
    dataset = PackedDataset.open(tmp_path / "out")
    assert dataset.info.multi_label
    assert (dataset.record(0).labels, dataset.record(0).group) == ((0, 2), "g")


def test_packing_again_does_nothing(items, packed, tmp_path, files_of):
    source = items(3)
    packed(source)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    report = packed(source)
    assert report.already_complete
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_another_command_into_the_same_folder_is_refused_with_the_difference(items, packed):
    source = items(3)
    packed(source)
    with pytest.raises(DataError, match=r"max_count was 1000 and is now 2.*--overwrite"):
        packed(source, max_count=2)


def test_changed_sources_are_refused(items, packed, clips):
    source = items(3)
    packed(source)
    Path(source.items[0].path).write_bytes(clips[3])
    with pytest.raises(DataError, match="sources_sha256"):
        packed(source)


def test_overwrite_replaces_a_data_set_and_leaves_other_files(items, packed, tmp_path, files_of):
    source = items(6)
    packed(source, max_count=1)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    packed(source, max_count=4, overwrite=True)
    packed(source, "fresh", max_count=4)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh") | {"notes.txt": b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_shards_of_unknown_origin_are_not_touched(items, packed, tmp_path, overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train-000000.tar").write_bytes(b"precious")
    with pytest.raises(DataError, match="unknown origin; move them elsewhere"):
        packed(items(1), overwrite=overwrite)
    assert (tmp_path / "out" / "train-000000.tar").read_bytes() == b"precious"
    assert not (tmp_path / "out" / ".vidflow").exists()


def test_overwrite_removes_nothing_where_there_is_a_tar_that_packing_has_not_written(items, packed, tmp_path, files_of):
    packed(items(3), max_count=1)
    (tmp_path / "out" / "backup-20240101.tar").write_bytes(b"precious")
    before = files_of(tmp_path / "out")
    with pytest.raises(DataError, match=r"holds backup-20240101\.tar of unknown origin"):
        packed(items(3), max_count=2, overwrite=True)
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("change", [{"schema_version": 99}, {"splits": []}])
def test_overwrite_replaces_a_data_set_of_another_version(items, packed, tmp_path, change):
    packed(items(3), max_count=1)
    path = tmp_path / "out" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"not the dataset\.json of this version; give --overwrite"):
        packed(items(3), max_count=1)
    packed(items(3), max_count=3, overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["train-000000.tar"]


@pytest.mark.parametrize("files_left", [0, 1, 3, 5])
def test_an_overwriting_run_that_was_killed_while_it_removed_is_finished_by_the_same_command(
    items, packed, tmp_path, files_of, monkeypatch, files_left
):
    from vidflow.shards.target import FolderTarget

    packed(items(4), max_count=1)
    remove, left = FolderTarget.remove, [7 - files_left]

    def killed(target, name):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        remove(target, name)

    monkeypatch.setattr(FolderTarget, "remove", killed)
    monkeypatch.setattr("vidflow.shards.run._leave_nothing", lambda journal, existed: None)
    if files_left:
        with pytest.raises(KeyboardInterrupt):
            packed(items(4), max_count=2, overwrite=True)
    monkeypatch.undo()
    packed(items(4), max_count=2, overwrite=True)
    packed(items(4), "fresh", max_count=2)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_a_complete_data_set_with_a_lost_shard_is_not_called_complete(items, packed, tmp_path):
    source = items(2)
    packed(source)
    (tmp_path / "out" / "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar: missing or cut"):
        packed(source)


def test_a_second_run_into_the_same_folder_is_kept_out(items, packed, tmp_path):
    from vidflow.shards.journal import Journal

    journal = Journal(tmp_path / "out")
    journal.lock()
    with pytest.raises(StorageError, match="another run"):
        packed(items(1))
    journal.unlock()
    assert packed(items(1)).packed == 1


def test_a_file_that_changes_between_probe_and_copy_is_rejected(items, tmp_path, clips):
    from vidflow.media.probe import probe_video
    from vidflow.schema import SampleRecord
    from vidflow.shards.contents import Member
    from vidflow.shards.files import FileState
    from vidflow.shards.writer import ShardWriter, SourceChangedError

    first, second = (Path(item.path) for item in items(2).items)
    writer = ShardWriter(tmp_path / "train-000000.tar", part=tmp_path / "part", split="train")
    video = probe_video(first)
    record = SampleRecord(key="000000", id="a", split="train", labels=(0,), video=video)
    state = FileState.of(second.stat())
    second.write_bytes(clips[2] + b"more")
    with pytest.raises(SourceChangedError, match="has changed"):
        writer.add(record, b"{}", [Member("mp4", path=str(second), state=state)])
    # Nothing of it stays: the shard is the one that never saw the file.
    member = Member("mp4", path=str(first), state=FileState.of(first.stat()))
    location = writer.add(record, b"{}", [member])
    shard = writer.close()
    assert (location.offset, shard.num_samples) == (0, 1)
    with tarfile.open(tmp_path / "train-000000.tar") as archive:
        assert archive.getnames() == ["000000.mp4", "000000.json"]


def test_a_full_disk_is_seen_before_anything_is_written(items, packed, tmp_path, monkeypatch):
    from vidflow.shards import pack as module

    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(StorageError, match="10,000 are free"):
        packed(items(40))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"max_count": 0}, {"max_bytes": 0}, {"workers": 0}])
def test_limits_below_one_are_refused(items, packed, options):
    with pytest.raises(ConfigError, match="must be at least 1"):
        packed(items(1), **options)


def test_classes_and_splits_that_came_out_empty_are_said(items, packed):
    source = items(3)
    broken = replace(source.items[2], split="val", labels=(1,))
    Path(broken.path).write_bytes(b"broken")
    report = packed(replace(source, items=(*source.items[:2], broken), classes=("a", "b", "c")))
    assert report.warnings == (
        "val: none of its samples could be packed",
        "no sample of 2 of 3 classes, such as 'b'",
    )
