"""Packed data sets as files again: the same bytes under the same names, and never outside the folder."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixed_reader import FixedReader

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, StorageError
from vidflow.shards.packed_samples import choose
from vidflow.shards.sources.annotations import read_annotations
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.class_folders import read_class_folders
from vidflow.shards.sources.classes import read_class_names
from vidflow.shards.sources.items import SourceItem, SourceList
from vidflow.shards.unpacking import file_name_of, safe_path, unpack

NAMES = (
    "train/run/drinking (31).mp4",
    "train/run/caf\u00e9.mp4",
    "train/run/cafe\u0301.mp4",
    "train/run/日本, x.mp4",
    "train/run/line\nbreak.mp4",
    'train/run/"quoted".MP4',
    b"train/run/caf\xe9 latin1.mp4",
    "train/a {1..3}::b/clip.mp4",
    "val/run/clip.mp4",
)


def everything(dataset: PackedDataset) -> np.ndarray:
    return np.arange(len(dataset))


def contents(folder: Path) -> dict[bytes, bytes]:
    """Path -> content of all videos below a folder."""
    root = os.fsencode(folder)
    found = {}
    for path, _, names in os.walk(root):
        for name in names:
            if name.lower().endswith(b".mp4"):
                whole = os.path.join(path, name)  # noqa: PTH118 -- bytes
                found[os.path.relpath(whole, root)] = Path(os.fsdecode(whole)).read_bytes()
    return found


def records(folder: Path) -> dict[str, tuple]:
    dataset = PackedDataset.open(folder)
    rows = [dataset.record(index) for index in range(len(dataset))]
    return {r.id: (r.split, tuple(dataset.info.classes[label] for label in r.labels), r.group, r.video) for r in rows}


def test_files_come_back_byte_for_byte_and_pack_to_the_same_samples(tree, packed, tmp_path):
    root = tree(*NAMES)
    source = read_class_folders(root)
    packed(source, max_count=4)
    dataset = PackedDataset.open(tmp_path / "out")
    report = unpack(dataset, tmp_path / "files", everything(dataset))
    assert (report.num_samples, report.num_written, report.warnings) == (len(NAMES), len(NAMES), ())
    assert contents(tmp_path / "files") == contents(root)
    classes = read_class_names(tmp_path / "files" / "classes.txt")
    again = read_annotations([str(tmp_path / "files" / "annotations.csv")], classes=classes)
    packed(replace(again, name="source"), "again", max_count=4)
    assert records(tmp_path / "again") == records(tmp_path / "out")
    first, second = (PackedDataset.open(tmp_path / name).info for name in ("out", "again"))
    assert [shard.sha256 for shard in first.shards] == [shard.sha256 for shard in second.shards]


def test_groups_and_several_labels_come_back(items, packed, tmp_path):
    source = items(3)
    made = [
        replace(item, labels=labels, group="g 1") for item, labels in zip(source.items, [(0, 2), (), (1,)], strict=True)
    ]
    packed(SourceList("items", tuple(made), ("walk slowly", "run", "a,b"), multi_label=True))
    dataset = PackedDataset.open(tmp_path / "out")
    unpack(dataset, tmp_path / "files", everything(dataset))
    again = read_annotations(
        [str(tmp_path / "files" / "annotations.csv")],
        classes=read_class_names(tmp_path / "files" / "classes.txt"),
        multi_label=True,
    )
    assert {item.id: (item.labels, item.group) for item in again.items} == {
        item.id: (item.labels, item.group) for item in made
    }


def test_an_escape_stands_for_a_byte_only_where_one_was():
    assert os.fsencode(file_name_of("caf\\udce9.mp4")) == b"caf\xe9.mp4"
    assert file_name_of("caf\\udcc3\\udca9.mp4") == "caf\\udcc3\\udca9.mp4"  # as bytes it would be valid UTF-8
    assert file_name_of("x\\ud8ff.mp4") == "x\\ud8ff.mp4"


@pytest.mark.parametrize(
    ("sample_id", "path"),
    [
        ("/etc/passwd", "etc/passwd"),
        ("../../x.mp4", "__/__/x.mp4"),
        ("a/../../x.mp4", "a/__/__/x.mp4"),
        ("./a//b.mp4", "a/b.mp4"),
        ("..", "__"),
        ("/", "_"),
        ("a\0b.mp4", "a_b.mp4"),
    ],
)
def test_no_id_leads_out_of_the_folder(sample_id, path, tmp_path):
    assert safe_path(sample_id) == path
    assert (tmp_path / safe_path(sample_id)).resolve().is_relative_to(tmp_path)


def test_ids_that_lead_out_or_repeat_are_written_inside_and_reported(items, packed, tmp_path):
    source = items(5)
    ids = ["../up.mp4", "/tmp/abs.mp4", "same.mp4", "same.mp4", "same.mp4/below.mp4"]
    made = [replace(item, id=sample_id) for item, sample_id in zip(source.items, ids, strict=True)]
    packed(replace(source, items=tuple(made)), shuffle=False)
    dataset = PackedDataset.open(tmp_path / "out")
    report = unpack(dataset, tmp_path / "deep" / "files", everything(dataset))
    found = contents(tmp_path / "deep" / "files")
    assert set(found) == {
        b"__/up.mp4", b"tmp/abs.mp4", b"same.000002.mp4", b"same.000003.mp4", b"same.mp4/below.mp4",
    }  # fmt: skip
    assert sorted(found.values()) == sorted(Path(item.path).read_bytes() for item in source.items)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["files"]
    assert "4 samples could not keep their path" in report.warnings[0]
    again = read_annotations([str(tmp_path / "deep" / "files" / "annotations.csv")])
    assert len(again.items) == 5


def test_a_link_in_the_folder_is_not_followed_out_of_it(tree, packed, tmp_path):
    packed(read_class_folders(tree("train/run/a.mp4")))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train").symlink_to(tmp_path / "elsewhere")
    dataset = PackedDataset.open(tmp_path / "out")
    with pytest.raises(StorageError, match="a link leads out of"):
        unpack(dataset, tmp_path / "files", everything(dataset))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_other_files_are_never_overwritten(tree, packed, tmp_path):
    packed(read_class_folders(tree("train/run/a.mp4", "train/run/b.mp4")))
    dataset = PackedDataset.open(tmp_path / "out")
    mine = tmp_path / "files" / "train" / "run" / "a.mp4"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match="is there with other content"):
        unpack(dataset, tmp_path / "files", everything(dataset))
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    unpack(dataset, tmp_path / "files", everything(dataset))
    with pytest.raises(DataError, match=r"annotations\.csv: is there with other content"):
        unpack(dataset, tmp_path / "files", everything(dataset)[:1])


def test_files_of_an_earlier_run_are_kept(items, packed, tmp_path):
    packed(items(4))
    dataset = PackedDataset.open(tmp_path / "out")
    unpack(dataset, tmp_path / "files", everything(dataset))
    (tmp_path / "files" / "0001.mp4").unlink()
    before = (tmp_path / "files" / "0002.mp4").stat()
    report = unpack(dataset, tmp_path / "files", everything(dataset))
    assert (report.num_written, report.num_kept) == (1, 3)
    after = (tmp_path / "files" / "0002.mp4").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_killed_run_leaves_no_half_file_and_is_finished_by_the_same_command(items, packed, command, tmp_path):
    source = items(6)
    packed(source)
    dying = (
        "import os, pathlib, signal\n"
        "real, left = pathlib.Path.replace, [3]\n"
        "def replace(self, target):\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(self, target)\n"
        "pathlib.Path.replace = replace\n"
        "from vidflow.cli.main import main\n"
        "main()\n"
    )
    line = ["unpack", str(tmp_path / "out"), str(tmp_path / "files")]
    killed = subprocess.run([sys.executable, "-c", dying, *line], capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(contents(tmp_path / "files")) == 3
    again = command(*line)
    assert again.returncode == 0, again.stderr
    assert "6 samples" in again.stdout
    assert "3 were there already" in again.stdout
    assert set(contents(tmp_path / "files").values()) == {Path(item.path).read_bytes() for item in source.items}
    assert {p.name for p in (tmp_path / "files").iterdir() if p.suffix != ".mp4"} == {"annotations.csv", "classes.txt"}


def test_split_and_where_choose_samples(tree, packed, command, tmp_path):
    packed(read_class_folders(tree("train/run/a.mp4", "train/run/b.mp4", "val/run/c.mp4", "val/run/d.mp4")))
    result = command("unpack", tmp_path / "out", tmp_path / "files", "--split", "val", "--where", "num_frames > 7")
    assert result.returncode == 0, result.stderr
    assert set(contents(tmp_path / "files")) == {b"val/run/d.mp4"}
    dataset = PackedDataset.open(tmp_path / "out")
    with pytest.raises(DataError, match="no split 'test'"):
        choose(dataset, ["test"])
    with pytest.raises(DataError, match="no sample of train, val has where"):
        choose(dataset, where="num_frames > 1000")


def test_a_shard_that_holds_something_else_is_refused(items, packed, tmp_path):
    packed(items(3))
    shard = tmp_path / "out" / "train-000000.tar"
    shard.write_bytes(b"x" * shard.stat().st_size)
    dataset = PackedDataset.open(tmp_path / "out")
    with pytest.raises(DataError, match="there is no tar member"):
        unpack(dataset, tmp_path / "files", everything(dataset))


def test_pictures_of_frames_and_arrays_come_back_as_files(packed, tmp_path):
    from vidflow.members import to_npy
    from vidflow.schema import FeatureInfo, FramesInfo
    from vidflow.shards.contents import Contents, Member

    frames = Contents(
        FramesInfo(container="jpg", num_frames=2, width=4, height=4, num_flow=1),
        (Member("rgb.00001.jpg", b"one"), Member("rgb.00002.jpg", b"two"),
         Member("flow_x.00001.jpg", b"x"), Member("flow_y.00001.jpg", b"y")),
    )  # fmt: skip
    array = to_npy(np.zeros((3, 5), np.float32))
    feature = Contents(FeatureInfo(num_steps=3, num_features=5), (Member("feature.npy", array),))
    source = tmp_path / "any"
    source.write_bytes(b"any")
    made = tuple(
        SourceItem(str(source), name, "train", (0,), reader=FixedReader(found))
        for name, found in (("dir/clip", frames), ("v_1.csv", feature))
    )
    packed(SourceList("mixed", made, ("a",)))
    dataset = PackedDataset.open(tmp_path / "out")
    unpack(dataset, tmp_path / "files", everything(dataset))
    found = {str(p.relative_to(tmp_path / "files")): p.read_bytes() for p in (tmp_path / "files").rglob("*.[jn]p[gy]")}
    assert found == {
        "dir/clip/img_00001.jpg": b"one", "dir/clip/img_00002.jpg": b"two",
        "dir/clip/flow_x_00001.jpg": b"x", "dir/clip/flow_y_00001.jpg": b"y", "v_1.csv/feature.npy": array,
    }  # fmt: skip


def test_mel_features_pack_again_to_the_same_bytes(packed, tmp_path):
    (tmp_path / "mel").mkdir()
    for i in range(3):
        np.save(tmp_path / "mel" / f"{i}.npy", np.full((4 + i, 8), i + 0.5, np.float32))
    (tmp_path / "mel" / "list.csv").write_text("path,label,split\n0.npy,0,train\n1.npy,1,train\n2.npy,0,val\n")
    packed(read_source("audio", KindOptions(annotations=[str(tmp_path / "mel" / "list.csv")])))
    first = PackedDataset.open(tmp_path / "out")
    unpack(first, tmp_path / "files", everything(first))
    options = KindOptions(
        annotations=[str(tmp_path / "files" / "annotations.csv")],
        classes=read_class_names(tmp_path / "files" / "classes.txt"),
    )
    packed(replace(read_source("audio", options), name=first.info.name), "again")
    second = PackedDataset.open(tmp_path / "again")
    assert [shard.sha256 for shard in second.info.shards] == [shard.sha256 for shard in first.info.shards]


def test_a_data_set_on_a_server_is_unpacked_alike(tree, packed, s3, files_of, tmp_path):
    packed(read_class_folders(tree("train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4")))
    dataset = PackedDataset.open(tmp_path / "out")
    unpack(dataset, tmp_path / "files", everything(dataset))
    remote = PackedDataset.open(s3.put(files_of(tmp_path / "out")))
    unpack(remote, tmp_path / "fetched", everything(remote))
    assert files_of(tmp_path / "fetched") == files_of(tmp_path / "files")
