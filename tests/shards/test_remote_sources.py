"""Lists of addresses: videos on S3 and on web servers are packed as files of this machine are."""

import json
from pathlib import Path

import pytest

from vidflow.errors import DataError, StorageError
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.profiles import PROFILES
from vidflow.shards.sources.annotations import read_annotations
from vidflow.storage import join, locate
from vidflow.storage.s3 import list_objects


@pytest.fixture
def addresses(request, s3, file_server, clips) -> list[str]:
    """Four videos, two on each server; one name needs quoting."""
    root = s3.put({"a b%20.mp4": clips[0], "c.mp4": clips[1]}, "videos")
    file_server.files |= {"videos/d%20e.mp4": clips[2], "videos/f.mp4": clips[3]}
    web = f"{file_server.address}/videos"
    return [f"{root}/a b%20.mp4", f"{root}/c.mp4", f"{web}/d%20e.mp4?signature=1", f"{web}/f.mp4"]


@pytest.fixture
def listed(tmp_path):
    """``listed(addresses)``: a source from a list of them."""

    def make(addresses, **options):
        (tmp_path / "list.csv").write_text(
            "path,label\n" + "".join(f"{address},{i % 2}\n" for i, address in enumerate(addresses))
        )
        return read_annotations([f"train={tmp_path / 'list.csv'}"], **options)

    return make


@pytest.mark.parametrize("profile", ["copy", "intra"])
def test_videos_on_servers_become_the_same_shard(profile, addresses, listed, clips, tmp_path, read_back):
    options = PackOptions(profile=PROFILES[profile], shuffle=False)
    report = pack(listed(addresses), tmp_path / "remote", options, workers=2)
    assert (report.packed, report.info.num_rejected) == (4, 0)
    for i, clip in enumerate(clips):
        (tmp_path / f"{i}.mp4").write_bytes(clip)
    pack(listed([f"{i}.mp4" for i in range(4)]), tmp_path / "local", options, workers=1)
    for remote, local, address in zip(
        read_back(tmp_path / "remote"), read_back(tmp_path / "local"), addresses, strict=True
    ):
        assert remote["fields"]["mp4"] == local["fields"]["mp4"]
        assert remote["json"] == local["json"] | {"id": address}
    assert [path for path in (tmp_path / "remote").iterdir() if path.name.startswith(".")] == []


def test_a_bad_network_changes_nothing(addresses, listed, s3, file_server, clips, command, tmp_path, read_back):
    listed(addresses)
    proxy = s3.through_proxy(rate=0.5, seed=1)
    file_server.spoil("cut", after=1000)
    file_server.spoil("status")
    file_server.spoil("reset", after=3000)
    # In a process of its own: worker processes have the variables that were set when the first of them was started.
    line = ["--annotations", f"train={tmp_path / 'list.csv'}", "--no-shuffle", "--out", tmp_path / "out"]
    done = command("shard", *line)
    assert done.returncode == 0, done.stderr
    assert [sample["fields"]["mp4"] for sample in read_back(tmp_path / "out")] == clips
    assert proxy.num_faults > 0


def test_an_address_that_holds_nothing_is_rejected_by_name(addresses, listed, s3, tmp_path):
    missing = [f"{s3.root('videos')}/none.mp4", addresses[-1].replace("f.mp4", "g.mp4")]
    report = pack(listed([*addresses, *missing]), tmp_path / "out", PackOptions(), workers=2)
    assert report.packed == 4
    assert sorted((r.id, r.stage, r.reason) for r in report.rejected) == [
        (address, "open", "no such file on the server") for address in sorted(missing)
    ]


def test_a_file_on_a_server_that_is_no_video_is_rejected(listed, s3, addresses, tmp_path):
    root = s3.put({"x.mp4": b"<html>log in first</html>", "empty.mp4": b""}, "videos")
    report = pack(
        listed([addresses[0], f"{root}/x.mp4", f"{root}/empty.mp4"]), tmp_path / "out", PackOptions(), workers=1
    )
    assert (report.packed, [r.stage for r in report.rejected]) == (1, ["probe", "probe"])
    assert str(tmp_path) not in report.rejected[0].reason


def test_a_server_that_refuses_ends_the_run(listed, file_server, tmp_path):
    file_server.files["x.mp4"] = b"secret"
    file_server.spoil_all("status", status=403)
    with pytest.raises(StorageError, match=r"/x.mp4: access denied \(HTTP 403\)"):
        pack(listed([f"{file_server.address}/x.mp4"]), tmp_path / "out", PackOptions(), workers=1)
    assert not (tmp_path / "out").exists()


def test_from_s3_to_s3(addresses, listed, s3, tmp_path):
    source = listed(addresses)
    pack(source, s3.root("packed"), PackOptions(), workers=1, work_dir=tmp_path / "work")
    pack(source, tmp_path / "out", PackOptions(), workers=1)
    assert s3.files("packed") == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_local_files_of_a_list_are_still_looked_for(listed, addresses):
    with pytest.raises(DataError, match=r"list.csv:3: .*none.mp4"):
        listed([addresses[0], "none.mp4"])


def test_a_list_may_be_relative_to_an_address(listed, addresses, s3, file_server, tmp_path, read_back):
    for root, name in ((s3.root("videos"), "a b%20.mp4"), (f"{file_server.address}/videos?signature=1", "d e.mp4")):
        out = tmp_path / name
        report = pack(listed([name], root=root), out, PackOptions(), workers=1)
        assert (report.info.name, read_back(out)[0]["json"]["id"]) == ("videos", name)


@pytest.fixture
def folders(tree, s3) -> tuple[Path, str]:
    """The same class folders here and on S3."""
    root = tree("train/run/a.mp4", "train/run/deep/b c.MP4", "train/jump/d.mp4", "val/jump/e.mp4", "val/run/f.mp4")
    (root / "train" / "run" / "notes.txt").write_text("no video")
    (root / "train" / "run" / ".hidden.mp4").write_text("no video")
    (root / "train" / "stray.mp4").write_text("no video")
    (root / "train" / "rest").mkdir()
    (root / "train" / "rest" / "nothing.txt").write_text("a class without videos")
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return root, s3.put(files | {"train/": b""}, "source")


@pytest.mark.parametrize("ratio", [None, 0.6])
def test_class_folders_on_s3_become_the_same_shards(ratio, folders, command, tmp_path):
    here, there = folders
    if ratio is not None:
        here, there = here / "train", f"{there}/train/"
    options = [] if ratio is None else ["--split", ratio, "--seed", "3"]
    local = command("shard", "--src", here, "--out", tmp_path / "local", *options, "--json")
    remote = command("shard", "--src", there, "--out", tmp_path / "remote", *options, "--json")
    assert remote.returncode == 0, remote.stderr
    for name in ("packed", "skipped", "splits"):
        assert json.loads(remote.stdout)[name] == json.loads(local.stdout)[name]
    for name in ["manifest.parquet", *(path.name for path in (tmp_path / "local").glob("*.tar"))]:
        assert (tmp_path / "remote" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    infos = [json.loads((tmp_path / name / "dataset.json").read_text()) for name in ("local", "remote")]
    assert infos[0]["classes"] == infos[1]["classes"]


def test_a_listing_of_many_pages_is_whole(s3, monkeypatch):
    names = [f"{i:04d}" for i in range(1005)]
    s3.put(dict.fromkeys(names, b""), "many")
    assert [name for name, _ in list_objects(s3.root("many"))] == names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--src", "https://host/videos"], "a web server does not list its files; list them in --annotations FILE"),
        (["--src", "s3://nobodys-bucket/x", "--kind", "audio"], "s3://nobodys-bucket/x: no such bucket"),
        (["--src", "https://host/x", "--recipe", "ucf101"], "a web server does not list its files; with --recipe and"),
        (
            ["--src", "S3ROOT", "--kind", "frames"],
            "are read from local folders only, for a server would be asked for each",
        ),
        (["--src", "s3://nobodys-bucket/x"], "s3://nobodys-bucket/x: no such bucket"),
        (["--src", "S3ROOT/none"], "holds nothing; check the address"),
        (["--src", "S3ROOT/train"], "has neither train/ nor val/ nor test/ below it"),
        (["--src", "S3ROOT", "--split", "0.5"], "has the split folders train, val already"),
    ],
)
def test_places_that_do_not_serve_as_a_source_are_refused_with_advice(arguments, words, folders, command, tmp_path):
    arguments = [argument.replace("S3ROOT", folders[1]) for argument in arguments]
    done = command("shard", *arguments, "--out", tmp_path / "out")
    assert done.returncode in (2, 3, 4)
    assert words in done.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "root", "name"),
    [
        ("s3://b/p/x y%20?.tar", "s3://b/p", "x y%20?.tar"),
        ("http://h:1/p/x%20y.tar", "http://h:1/p", "x y.tar"),
        ("/a/b/c.tar", "/a/b", "c.tar"),
        ("file:///a/c.tar", "/a", "c.tar"),
    ],
)
def test_an_address_is_taken_apart(address, root, name):
    storage, found = locate(address)
    assert (storage.root, found) == (root, name)
    assert Path(root).is_absolute() or storage.address(found) == join(root, name) == address


@pytest.mark.parametrize("address", ["s3://bucket/", "http://host/folder/", "http://host"])
def test_an_address_without_a_file_is_refused(address):
    with pytest.raises(StorageError, match="names no file"):
        locate(address)
