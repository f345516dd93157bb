"""Tars that other tools have written: taken over sample by sample, and nothing lost or let in unseen."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.pipelines.reading import read_samples
from vidflow.shards.profiles import PROFILES
from vidflow.shards.sources.foreign_tars import find_tars, read_foreign_tars
from vidflow.shards.verification import verify_dataset


@pytest.fixture
def write_tar(tmp_path) -> Callable[..., str]:
    """``write_tar("a.tar", [("0.mp4", data), ...])`` writes members in this order; a ``TarInfo`` is taken as it is."""

    def write(name: str, members: list[tuple[str, bytes | tarfile.TarInfo]]) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for member, data in members:
                if isinstance(data, tarfile.TarInfo):
                    archive.addfile(data)
                    continue
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return str(path)

    return write


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["train-000000.tar", "w.tar"])
def test_tars_are_not_taken_over_into_their_own_folder(clips, write_tar, packed, tmp_path, name, overwrite):
    path = write_tar(f"out/{name}", [("a.mp4", clips[0]), ("a.cls", b"0")])
    before = Path(path).read_bytes()
    with pytest.raises(ConfigError, match="out: holds the shards that are read; give another --out"):
        packed(read_foreign_tars([f"{tmp_path}/out/*.tar"]), overwrite=overwrite)
    assert Path(path).read_bytes() == before


def test_tars_of_webdatasets_own_writer_are_taken_over(clips, packed, tmp_path):
    with webdataset.ShardWriter(f"{tmp_path}/w-%03d.tar", maxcount=3, verbose=0) as sink:
        for i in range(7):
            sink.write({"__key__": f"dir/clip{i}", "mp4": clips[i % 4], "cls": i % 3, "txt": "a caption"})
    source = read_foreign_tars([f"{tmp_path}/w-*.tar"])
    packed(source)
    dataset = PackedDataset.open(tmp_path / "out")
    assert verify_dataset(dataset, workers=1).differences == ()
    found = {
        record.id: (record.split, record.labels, data)
        for _, record, data in read_samples(dataset, np.arange(len(dataset)))
    }
    assert found == {f"w-{i // 3:03d}/dir/clip{i}.mp4": ("train", (i % 3,), clips[i % 4]) for i in range(7)}
    assert dataset.info.classes == ("0", "1", "2")
    assert "these fields are not kept: txt (7)" in source.warnings


def test_labels_stand_in_json_and_may_be_names(clips, write_tar):
    members = []
    for i, action in enumerate(("run", "walk", "run")):
        members += [
            (f"{i}.mp4", clips[0]),
            (f"{i}.json", json.dumps({"label": 5, "a": {"b": action}}).encode()),
            (f"{i}.what.txt", action.encode()),
        ]
    tar = write_tar("a.tar", members)
    named = read_foreign_tars([tar], label_field="json.a.b")
    assert ([item.labels for item in named.items], named.classes) == ([(0,), (1,), (0,)], ("run", "walk"))
    assert read_foreign_tars([tar], label_field="what.txt").classes == ("run", "walk")
    assert [item.labels for item in read_foreign_tars([tar]).items] == [(5,)] * 3
    with pytest.raises(DataError, match=r"(?s)3 things.*no label in json\.c"):
        read_foreign_tars([tar], label_field="json.c")


def test_several_labels_need_the_option(clips, write_tar):
    tar = write_tar("a.tar", [("0.mp4", clips[0]), ("0.json", b'{"label": [1, 3]}'), ("1.mp4", clips[0])])
    with pytest.raises(DataError, match="2 labels; give --multi-label"):
        read_foreign_tars([tar])
    source = read_foreign_tars([tar], multi_label=True, num_classes=4)
    assert [item.labels for item in source.items] == [(1, 3), ()]


def test_members_that_lie_apart_are_refused_by_key(clips, write_tar):
    tar = write_tar("a.tar", [("a.mp4", clips[0]), ("b.mp4", clips[1]), ("a.cls", b"0"), ("b.cls", b"1")])
    with pytest.raises(DataError) as error:
        read_foreign_tars([tar])
    assert "members of sample 'a' lie apart" in str(error.value)
    assert "members of sample 'b' lie apart" in str(error.value)


@pytest.mark.parametrize("names", [("a.mp4", "a.cls", "a.mp4"), ("x.MP4", "x.mp4", "x.cls")])
def test_a_field_that_is_there_twice_is_refused(names, clips, write_tar):
    tar = write_tar("a.tar", [(name, b"0" if name.endswith("cls") else clips[0]) for name in names])
    with pytest.raises(DataError, match="has the field 'mp4' twice"):
        read_foreign_tars([tar])


@pytest.mark.parametrize("name", ["../x.mp4", "/etc/x.mp4", "a/../../x.mp4"])
def test_names_that_lead_out_of_a_folder_are_refused(name, clips, write_tar):
    tar = write_tar("a.tar", [(name, clips[0]), (name[:-3] + "cls", b"0")])
    with pytest.raises(DataError, match="leads out of any folder"):
        read_foreign_tars([tar])


def test_links_hidden_names_and_inner_tars_are_counted_and_named(clips, write_tar):
    tar = write_tar(
        "a.tar",
        [
            ("a.mp4", clips[0]), ("a.cls", b"0"),
            ("b.mp4", special("b.mp4", tarfile.SYMTYPE, "/etc/passwd")), ("b.cls", b"0"),
            ("c.mp4", special("c.mp4", tarfile.LNKTYPE, "a.mp4")),
            (".hid.mp4", clips[0]), ("noext", b"x"), ("inner.tar", b"x"),
            ("folder", special("folder", tarfile.DIRTYPE)), ("__meta__", b"x"),
        ],
    )  # fmt: skip
    source = read_foreign_tars([tar])
    assert [item.id for item in source.items] == ["a/a.mp4"]
    assert source.skipped == {
        "link or other special member": 2,
        "hidden name, or no extension": 2,
        "tar inside the tar": 1,
        "sample without a video": 1,
    }
    assert any("'b.mp4' is passed over (link" in warning for warning in source.warnings)


def test_pickles_are_never_read(clips, write_tar, tmp_path, packed):
    class Touching:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    bomb = pickle.dumps(Touching())
    tar = write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", b"0"), ("a.pyd", bomb), ("a.pkl", bomb), ("a.pth", bomb)])
    source = read_foreign_tars([tar])
    packed(source)
    assert not (tmp_path / "touched").exists()
    assert any("not kept: pkl (1), pth (1), pyd (1)" in warning for warning in source.warnings)


def test_a_pickle_as_a_label_is_refused(clips, write_tar):
    tar = write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", pickle.dumps(3))])
    with pytest.raises(DataError, match="neither text nor JSON"):
        read_foreign_tars([tar])


@pytest.mark.parametrize("damage", ["cut", "no tar", "compressed", "empty"])
def test_a_damaged_tar_is_refused(damage, clips, write_tar):
    tar = Path(write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", b"0")]))
    if damage == "compressed":
        import gzip

        tar.write_bytes(gzip.compress(tar.read_bytes()))
    else:
        tar.write_bytes({"cut": tar.read_bytes()[:900], "no tar": b"x" * 2000, "empty": b""}[damage])
    with pytest.raises(DataError, match=r"a\.tar: not a whole, uncompressed tar file"):
        read_foreign_tars([str(tar)])


def test_a_tar_that_is_cut_between_members_is_told(clips, write_tar):
    tar = Path(write_tar("a.tar", [("a.cls", b"0"), ("a.mp4", clips[0])]))
    end = 1024 + 512 + -(-len(clips[0]) // 512) * 512
    tar.write_bytes(tar.read_bytes()[:end])
    source = read_foreign_tars([str(tar)])
    assert len(source.items) == 1
    assert any("no end marker" in warning for warning in source.warnings)


def test_two_videos_in_a_sample_need_a_choice(clips, write_tar, packed, tmp_path):
    tar = write_tar("a.tar", [("a.left.mp4", clips[0]), ("a.right.mp4", clips[1]), ("a.cls", b"0")])
    with pytest.raises(ConfigError, match=r"several videos \(left\.mp4, right\.mp4\); give --video-field"):
        read_foreign_tars([tar])
    packed(read_foreign_tars([tar], video_field="right.mp4"))
    dataset = PackedDataset.open(tmp_path / "out")
    assert [data for _, _, data in read_samples(dataset, np.arange(1))] == [clips[1]]


def test_splits_come_with_the_tars_or_by_share(clips, write_tar):
    one, two = (
        write_tar(
            f"{name}/0.tar",
            [(f"{i}.{ext}", data) for i in range(4) for ext, data in (("mp4", clips[0]), ("cls", b"0"))],
        )
        for name in ("x", "y")
    )
    source = read_foreign_tars([f"train={one}", f"val={two}"])
    assert {item.id: item.split for item in source.items} == {
        f"{name}/0/{i}.mp4": split for name, split in (("x", "train"), ("y", "val")) for i in range(4)
    }
    shared = read_foreign_tars([one, two], split=0.5)
    assert {item.split for item in shared.items} == {"train", "val"}
    with pytest.raises(ConfigError, match="leave --split out"):
        read_foreign_tars([f"train={one}"], split=0.5)
    with pytest.raises(DataError, match="named twice"):
        read_foreign_tars([one, f"val={one}"])


def test_patterns_and_odd_names_find_tars(clips, write_tar, tmp_path):
    odd = write_tar("a [1] {0..2}=x.tar", [("a.mp4", clips[0]), ("a.cls", b"0")])
    assert find_tars([odd]) == [(None, odd)]
    with pytest.raises(DataError, match="no file matches it"):
        find_tars([str(tmp_path / "none-*.tar")])
    with pytest.raises(DataError, match="no such file, and no file matches"):
        find_tars([f"train={'a' * 300}.tar"])


def test_damaged_videos_are_rejected_and_re_encoding_works(clips, write_tar, packed, tmp_path):
    tar = write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", b"0"), ("b.mp4", b"broken"), ("b.cls", b"0")])
    for profile in ("copy", "intra"):
        report = packed(read_foreign_tars([tar]), profile, profile=PROFILES[profile])
        assert (report.packed, [entry.id for entry in report.rejected]) == (1, ["a/b.mp4"])
        assert str(tmp_path) not in report.rejected[0].reason
        assert verify_dataset(PackedDataset.open(tmp_path / profile), workers=1).differences == ()


def test_tars_on_a_server_are_taken_over(clips, write_tar, s3, command, tmp_path):
    data = Path(write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", b"0"), ("b.mp4", clips[1]), ("b.cls", b"1")]))
    root = s3.put({"a.tar": data.read_bytes()})
    result = command("index", f"{root}/a.tar", "--out", tmp_path / "out", "--workers", 1)
    assert result.returncode == 0, result.stderr
    dataset = PackedDataset.open(tmp_path / "out")
    found = {record.id: data for _, record, data in read_samples(dataset, np.arange(2))}
    assert found == {"a/a.mp4": clips[0], "a/b.mp4": clips[1]}


def test_the_command_from_end_to_end(clips, write_tar, command, tmp_path):
    tar = write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", b"0"), ("b.mp4", clips[1]), ("b.cls", b"1")])
    result = command("index", tar, "--out", tmp_path / "out", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert "2 found = 2 packed" in result.stdout
    assert "complete already" in command("index", tar, "--out", tmp_path / "out").stdout
    missing = command("index", tmp_path / "none.tar", "--out", tmp_path / "none")
    assert (missing.returncode, (tmp_path / "none").exists()) == (3, False)


def test_a_tar_that_changes_after_it_was_listed_gives_no_wrong_sample(clips, write_tar, packed):
    tar = write_tar("a.tar", [("a.mp4", clips[0]), ("a.cls", b"0"), ("b.mp4", clips[1]), ("b.cls", b"0")])
    source = read_foreign_tars([tar])
    write_tar("a.tar", [("0.txt", b"x" * 700), ("a.mp4", clips[0]), ("a.cls", b"0"), ("b.mp4", clips[1])])
    with pytest.raises(DataError, match="none of 2 files could be packed"):
        packed(source)
