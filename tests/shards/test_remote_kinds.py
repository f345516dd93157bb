"""Recipes and samples of all kinds in a bucket are packed as those of a folder, and what changes there is noticed."""

import pickle
import wave
from pathlib import Path

import numpy as np
import pytest

from vidflow.errors import DataError
from vidflow.shards.order import file_states, order_tasks
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.sources.annotations import read_annotations
from vidflow.shards.sources.bucket_folders import read_bucket_folders
from vidflow.shards.sources.bucket_mirrors import BucketMirror


def upload(folder: Path, s3, prefix: str) -> str:
    """The files of a folder as objects; the address."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return s3.put(files, prefix)


def sounds(folder: Path) -> list[str]:
    for i, name in enumerate(["train/hum/a.wav", "train/click/b.wav", "val/hum/c.wav"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(np.arange(800 + i, dtype="<i2").tobytes())
    (folder / "train" / "hum" / "notes.txt").write_text("no sound")
    return ["--kind", "audio"]


def features(folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(4):
        np.save(folder / f"v{i}.npy", rng.normal(size=(5 + i, 3)).astype(np.float32))
    (folder.parent / "list.txt").write_text("".join(f"v{i}.npy {i % 2}\n" for i in range(4)))
    return ["--kind", "feature", "--annotations", f"train={folder.parent / 'list.txt'}"]


def skeletons(folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    for i in range(4):
        rows = np.arange(1, 80 * (i + 1) + 1).reshape(-1, 4) / 100
        text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
        (folder / f"a{i % 2 + 1:02d}_s{i + 1:02d}_e01_skeleton3D.txt").write_text(text)
    return ["--kind", "skeleton", "--split-rule", "train=subject % 2 == 1", "--split-rule", "test"]


def archive(folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    notes = [
        {"frame_dir": f"s{i}", "label": i % 2, "total_frames": 4, "keypoint": rng.normal(size=(1, 4, 17, 2))}
        for i in range(4)
    ]
    content = {"split": {"train": ["s0", "s1", "s2"], "val": ["s3"]}, "annotations": notes}
    (folder / "set.pkl").write_bytes(pickle.dumps(content))
    return ["--kind", "skeleton"]


@pytest.mark.parametrize("make", [sounds, features, skeletons, archive])
def test_a_kind_in_a_bucket_becomes_the_same_shards(make, s3, command, tmp_path, files_of):
    folder = tmp_path / "set"
    options = make(folder)
    root = upload(folder, s3, "some/set")
    file = "/set.pkl" if make is archive else ""
    local = command("shard", "--src", f"{folder}{file}", "--out", tmp_path / "local", *options)
    remote = command("shard", "--src", f"{root}{file}", "--out", tmp_path / "remote", *options)
    assert local.returncode == 0, local.stderr
    assert remote.returncode == 0, remote.stderr
    assert remote.stdout.replace("remote", "local") == local.stdout
    assert files_of(tmp_path / "remote") == files_of(tmp_path / "local")


def test_a_recipe_in_a_bucket_becomes_the_same_shards(s3, command, tree, tmp_path, files_of):
    names = [f"UCF-101/{name}/v_{name}_g0{g}_c01.mp4" for name in ("Archery", "Biking") for g in (1, 2)]
    folder = tree(*names)
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 Biking\n")
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g01_c01.avi 1\nBiking/v_Biking_g01_c01.avi 2\n")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g02_c01.avi\nBiking/v_Biking_g02_c01.avi\n")
    root = upload(folder, s3, "ucf")
    local = command("shard", "--recipe", "ucf101", "--src", folder, "--out", tmp_path / "local")
    remote = command("shard", "--recipe", "ucf101", "--src", root, "--out", tmp_path / "remote")
    assert local.returncode == 0, local.stderr
    assert remote.returncode == 0, remote.stderr
    assert files_of(tmp_path / "remote") == files_of(tmp_path / "local")

    s3.client.delete_object(Bucket=s3.name, Key="ucf/ucfTrainTestlist/testlist01.txt")
    missing = command("shard", "--recipe", "ucf101", "--src", root, "--out", tmp_path / "other")
    assert missing.returncode == 3
    assert f"looked in {root}/ucfTrainTestlist, {root} for" in missing.stderr
    assert "/vidflow-" not in missing.stderr, "the place of the mirror means nothing to the user"


def test_messages_name_the_address_and_the_mirror_goes_with_its_reader(s3):
    mirror = BucketMirror(s3.put({"a/x.wav": b"1", "a/": b"", "../up.wav": b"2", "b//y.wav": b"3"}, "set"))
    assert sorted(mirror.infos) == ["a/x.wav"]
    assert (mirror.root / "a" / "x.wav").stat().st_size == 0

    def fail(root):
        raise DataError(f"{root}/a/x.wav: is odd")

    with pytest.raises(DataError, match=f"^{s3.root('set')}/a/x.wav: is odd$"):
        mirror.read(fail, mirror.root)
    root = mirror.root
    del mirror
    assert not root.exists()


def test_an_object_that_would_be_a_file_and_a_folder_is_named(s3):
    with pytest.raises(DataError, match=r"set/a/x.wav: cannot be a file beside the others"):
        BucketMirror(s3.put({"a": b"1", "a/x.wav": b"2"}, "set"))


def test_a_list_of_frame_folders_on_a_server_is_refused_sample_by_sample(s3, command, tmp_path):
    (tmp_path / "list.csv").write_text(f"path,label\n{s3.root('frames')}/v1,0\n")
    line = ["--kind", "frames", "--annotations", f"train={tmp_path / 'list.csv'}"]
    done = command("shard", *line, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "frame folders are read from local folders only" in done.stderr


@pytest.mark.parametrize("way", ["list", "folders"])
def test_a_rerun_notices_that_an_object_has_changed(way, s3, clips, tmp_path):
    root = s3.put({f"train/a/{i}.mp4": clips[i] for i in range(4)}, "set")

    def source():
        if way == "folders":
            return read_bucket_folders(root)
        (tmp_path / "list.txt").write_text("".join(f"train/a/{i}.mp4 0\n" for i in range(4)))
        return read_annotations([f"train={tmp_path / 'list.txt'}"], root=root)

    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    options = PackOptions(max_count=1)
    with pytest.raises(KeyboardInterrupt):
        pack(source(), tmp_path / "out", options, workers=1, on_progress=interrupt)
    data = bytearray(clips[0])
    data[-1] ^= 1  # of the same size: the ETag alone tells
    s3.put({"train/a/0.mp4": bytes(data)}, "set")
    with pytest.raises(DataError, match=r"a source has changed, it was .*version.* and is now"):
        pack(source(), tmp_path / "out", options, workers=1)
    s3.put({"train/a/0.mp4": clips[0]}, "set")
    assert pack(source(), tmp_path / "out", options, workers=1).num_resumed >= 2
    s3.put({"train/a/0.mp4": clips[0] + b"\0\0\0\x08free"}, "set")
    with pytest.raises(DataError, match="was packed otherwise: sources_sha256"):
        pack(source(), tmp_path / "out", options, workers=1)


def test_sizes_come_from_the_listing_and_else_from_the_server(s3, clips, tmp_path):
    root = s3.put({"train/a/0.mp4": clips[0]}, "set")
    proxy = s3.through_proxy()
    tasks = order_tasks(read_bucket_folders(root).items, seed=0, shuffle=False)
    num_listings = len(proxy.requests)
    (state,) = file_states(tasks)
    assert (state.size, len(proxy.requests)) == (len(clips[0]), num_listings)
    (tmp_path / "list.txt").write_text(f"{root}/train/a/0.mp4 0\n{root}/none.mp4 0\n")
    tasks = order_tasks(read_annotations([f"train={tmp_path / 'list.txt'}"]).items, seed=0, shuffle=False)
    assert file_states(tasks) == [state, None]
