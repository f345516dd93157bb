"""Videos that are packed with the skeletons of their people: members, records, damage, and the way back to files."""

import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidflow import manifest
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.members import skeleton_arrays
from vidflow.pipelines.reading import read_members
from vidflow.schema import FramesInfo, SampleRecord, SkeletonInfo
from vidflow.shards.order import source_lines, sources_hash
from vidflow.shards.pose.archive import SkeletonArchive, write_archive
from vidflow.shards.prepare import Task
from vidflow.shards.sources.companions import SkeletonsOfVideo, with_skeletons
from vidflow.shards.sources.items import Companion, SourceItem, SourceList
from vidflow.shards.unpacking import safe_path

FRAMES = 12


def vidflow(*arguments, code=0):
    command = [sys.executable, "-m", "vidflow", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def write_skeletons(path: Path, *, frames: int = FRAMES, people: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(1, 60, (people, frames, 17, 2)).astype(np.float32)
    scores = rng.uniform(0.5, 1, (people, frames, 17)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_archive(path, SkeletonArchive(keypoints, scores, np.arange(frames) / 25.0, (64, 48), "coco"))
    return keypoints


@pytest.fixture(scope="module")
def sources(tmp_path_factory, numbered_video) -> tuple[Path, Path]:
    """Four videos in two classes, and the folder of their skeletons."""
    videos, skeletons = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("skeletons")
    for number in range(4):
        name = f"train/{'ab'[number % 2]}/v{number}"
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        numbered_video(videos / f"{name}.mp4", num_frames=FRAMES, height=48, width=64)
        write_skeletons(skeletons / f"{name}.npz", seed=number)
    return videos, skeletons


@pytest.fixture(scope="module")
def packed(sources, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "shards"
    vidflow("shard", "--src", sources[0], "--out", out, "--skeletons", sources[1], "--quiet")
    return out


def test_the_members_follow_the_video_and_the_record_tells_of_both(packed, sources):
    dataset = PackedDataset.open(packed)
    assert len(dataset) == 4
    for index, record, members in read_members(dataset, np.arange(4)):
        number = int(Path(record.id).stem[1:])
        assert list(members) == ["mp4", "keypoint.npy", "keypoint_score.npy"]
        keypoints, scores = skeleton_arrays(record, members)
        np.testing.assert_array_equal(keypoints, np.load(sources[1] / record.id.replace(".mp4", ".npz"))["keypoint"])
        assert scores.shape == (2, FRAMES, 17)
        assert (record.kind, record.video.num_frames, record.skeleton.num_frames) == ("video", FRAMES, FRAMES)
        assert (record.skeleton.layout, record.skeleton.num_people, record.skeleton.width) == ("coco", 2, 64)
        assert dataset.row(index)[0] == record
        assert record.labels == (number % 2,)
    with tarfile.open(packed / "train-000000.tar") as archive:
        stored = json.load(archive.extractfile(next(name for name in archive.getnames() if name.endswith(".json"))))
    assert set(stored) >= {"video", "skeleton"}
    assert SampleRecord.model_validate(stored).skeleton.num_keypoints == 17


def test_verify_looks_at_the_skeletons_too(packed, tmp_path):
    vidflow("verify", packed, "--decode")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in packed.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    shard = broken / "train-000000.tar"
    with tarfile.open(shard) as archive:
        member = next(member for member in archive if member.name.endswith("keypoint.npy"))
    data = bytearray(shard.read_bytes())
    data[member.offset_data + 128 : member.offset_data + 132] = np.float32(np.nan).tobytes()
    shard.write_bytes(data)
    assert "holds values that are not finite" in vidflow("verify", broken, "--decode", code=8).stdout


def test_unpacked_files_pack_to_the_same_samples(packed, tmp_path):
    told = vidflow("unpack", packed, tmp_path / "files", "--quiet").stdout
    assert (tmp_path / "files/skeletons/train/a/v0.mp4/keypoint.npy").is_file()
    again = tmp_path / "again"
    command = told.partition("pack them again: vidflow ")[2].replace("--out DIR", "").split()
    vidflow(*command, "--out", again, "--quiet")
    first, second = PackedDataset.open(packed), PackedDataset.open(again)
    found = {
        record.id: (record.skeleton, members["keypoint.npy"])
        for _, record, members in read_members(second, np.arange(4))
    }
    for _, record, members in read_members(first, np.arange(4)):
        assert found[record.id] == (record.skeleton, members["keypoint.npy"])


def test_the_profile_that_encodes_anew_keeps_the_skeletons(sources, tmp_path):
    vidflow(
        "shard",
        "--src",
        sources[0],
        "--out",
        tmp_path / "t",
        "--skeletons",
        sources[1],
        "--profile",
        "train",
        "--quiet",
    )
    record, _ = PackedDataset.open(tmp_path / "t").row(0)
    assert record.skeleton is not None
    vidflow("verify", tmp_path / "t", "--decode")


def test_encoding_a_packed_data_set_anew_keeps_them(packed, tmp_path):
    vidflow("repack", packed, tmp_path / "intra", "--profile", "intra", "--workers", 1, "--quiet")
    assert PackedDataset.open(tmp_path / "intra").info.options["skeletons"] is True
    for root in (packed, tmp_path / "intra"):
        vidflow("verify", root, "--quiet")
    before, after = (
        {record.id: (record.skeleton, members) for _, record, members in read_members(dataset, np.arange(4))}
        for dataset in map(PackedDataset.open, (packed, tmp_path / "intra"))
    )
    assert before.keys() == after.keys()
    for name, (info, members) in before.items():
        assert after[name][0] == info
        for suffix in ("keypoint.npy", "keypoint_score.npy"):
            assert bytes(after[name][1][suffix]) == bytes(members[suffix])
        assert bytes(after[name][1]["mp4"]) != bytes(members["mp4"])


def test_repacking_keeps_them(packed, tmp_path):
    vidflow("repack", packed, tmp_path / "r", "--quiet")
    (_, record, members), *_ = read_members(PackedDataset.open(tmp_path / "r"), np.arange(1))
    assert record.skeleton is not None
    assert "keypoint.npy" in members


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "skeletons: No such file or directory"),
        ("other length", "skeletons: are of 9 frames, and 12 decode; extract them again"),
        ("no archive", "skeletons: no readable .npz file of plain arrays"),
    ],
)
def test_a_video_whose_skeletons_cannot_be_packed_is_rejected_by_name(sources, tmp_path, damage, reason):
    skeletons = tmp_path / "skeletons"
    for path in sources[1].rglob("*.npz"):
        target = skeletons / path.relative_to(sources[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    victim = skeletons / "train/b/v1.npz"
    victim.unlink()
    if damage == "other length":
        write_skeletons(victim, frames=9)
    elif damage == "no archive":
        victim.write_bytes(b"PK\x03\x04 damaged")
    vidflow(
        "shard", "--src", sources[0], "--out", tmp_path / "o", "--skeletons", skeletons, "--profile", "train", "--quiet"
    )
    (line,) = (tmp_path / "o/rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "train/b/v1.mp4"
    assert json.loads(line)["reason"].startswith(reason)
    assert len(PackedDataset.open(tmp_path / "o")) == 3


def test_skeletons_come_from_a_pickle_by_the_videos_names(sources, tmp_path, numbered_video):
    numbered_video(tmp_path / "v/train/a/S001_rgb.mp4", num_frames=6)
    numbered_video(tmp_path / "v/train/b/S002_rgb.mp4", num_frames=6)
    numbered_video(tmp_path / "v/train/b/S003_rgb.mp4", num_frames=6)
    rng = np.random.default_rng(0)
    entries = [
        {"frame_dir": name, "label": 0, "img_shape": (48, 64), "total_frames": 6,
         "keypoint": rng.uniform(1, 40, (1, 6, 17, 2)).astype(np.float16),
         "keypoint_score": np.ones((1, 6, 17), np.float16)}
        for name in ("S001", "S002", "S009")
    ]  # fmt: skip
    file = tmp_path / "ntu.pkl"
    file.write_bytes(pickle.dumps({"split": {"xsub_train": ["S001"]}, "annotations": entries}))
    vidflow("shard", "--src", tmp_path / "v", "--out", tmp_path / "o", "--skeletons", file, "--quiet")
    (line,) = (tmp_path / "o/rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "train/b/S003_rgb.mp4"
    assert json.loads(line)["reason"] == "skeletons: has no sample named train/b/S003_rgb"
    for _, record, members in read_members(PackedDataset.open(tmp_path / "o"), np.arange(2)):
        entry = next(entry for entry in entries if entry["frame_dir"] in record.id)
        np.testing.assert_array_equal(skeleton_arrays(record, members)[0], entry["keypoint"])
        assert (record.skeleton.width, record.skeleton.height) == (64, 48)


def test_videos_of_one_name_are_not_taken_for_one_entry_of_a_pickle(tmp_path, numbered_video):
    for name in ("a", "b"):
        numbered_video(tmp_path / f"v/train/{name}/x.mp4", num_frames=6)
    entries = [
        {"frame_dir": name, "label": 0, "keypoint": np.ones((1, 6, 17, 2), np.float32)} for name in ("x", "train/a/x")
    ]
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(entries))
    vidflow("shard", "--src", tmp_path / "v", "--out", tmp_path / "o", "--skeletons", tmp_path / "s.pkl", "--quiet")
    assert PackedDataset.open(tmp_path / "o").column("id").tolist() == ["train/a/x.mp4"]


def listed(*ids: str) -> SourceList:
    return SourceList("videos", tuple(SourceItem(f"/videos/{name}", name, "train", (0,)) for name in ids), ("a",))


def test_absolute_paths_of_a_list_stay_in_the_folder_of_the_skeletons(tmp_path):
    """They are found where unpacking writes them, and not beside the videos."""
    beside = tmp_path / "videos"
    for name in ("a", "b"):
        write_skeletons(beside / f"{name}.npz")
    ids = [str(beside / "a.mp4"), f"{beside}/../videos/b.mp4"]
    folder = tmp_path / "skeletons"
    folder.mkdir()
    with pytest.raises(
        DataError, match=r"has those of none of the 2 videos.*; list the videos by their paths from --src"
    ):
        with_skeletons(listed(*ids), folder)
    wanted = [folder / f"{safe_path(name).removesuffix('.mp4')}.npz" for name in ids]
    write_skeletons(wanted[0])
    companions = [item.companion for item in with_skeletons(listed(*ids), folder).items]
    assert [Path(companion.path) for companion in companions if companion] == wanted


def test_a_changed_skeleton_file_is_another_source(sources, tmp_path):
    path = tmp_path / "x.npz"
    write_skeletons(path)
    item = SourceItem("v.mp4", "v.mp4", "train", (0,), companion=Companion(str(path), SkeletonsOfVideo()))
    tasks = [Task(0, "000000", item)]
    before = [*source_lines(tasks, [None]), sources_hash(tasks, [None])]
    write_skeletons(path, frames=9)
    after = [*source_lines(tasks, [None]), sources_hash(tasks, [None])]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_video_in_which_nobody_was_found_is_packed(sources, tmp_path, numbered_video):
    numbered_video(tmp_path / "v/train/a/x.mp4", num_frames=5)
    keypoints = np.zeros((1, 5, 17, 2), np.float32)
    (tmp_path / "s/train/a").mkdir(parents=True)
    write_archive(tmp_path / "s/train/a/x.npz", SkeletonArchive(keypoints, None, None, (64, 48), "coco"))
    vidflow("shard", "--src", tmp_path / "v", "--out", tmp_path / "o", "--skeletons", tmp_path / "s", "--quiet")
    record, _ = PackedDataset.open(tmp_path / "o").row(0)
    assert (record.skeleton.num_people, record.skeleton.has_scores) == (1, False)


def test_folders_without_skeletons_of_the_videos_and_other_samples_are_refused(sources, tmp_path):
    assert "neither a folder nor a pickle" in vidflow(
        "shard", "--src", sources[0], "--out", tmp_path / "o", "--skeletons", tmp_path / "none", code=3
    ).stderr  # fmt: skip
    (tmp_path / "empty").mkdir()
    assert "has those of none of the 4 videos" in vidflow(
        "shard", "--src", sources[0], "--out", tmp_path / "o", "--skeletons", tmp_path / "empty", code=3
    ).stderr  # fmt: skip
    assert "belong to videos" in vidflow(
        "shard", "--kind", "skeleton", "--src", sources[1], "--out", tmp_path / "o", "--skeletons", sources[1], code=2
    ).stderr  # fmt: skip
    assert not (tmp_path / "o").exists()


def skeleton(**changes) -> SkeletonInfo:
    values = {"layout": "coco", "num_people": 1, "num_frames": 4, "num_keypoints": 17, "num_coords": 2} | changes
    return SkeletonInfo(**values)


FOLDER = FramesInfo(container="jpg", num_frames=4, width=8, height=8)


def test_skeletons_must_have_a_frame_for_each_picture():
    values = {"key": "0", "id": "a", "split": "train"}
    SampleRecord(**values, kind="frames", frames=FOLDER, skeleton=skeleton())
    with pytest.raises(ValueError, match="skeletons of 5 frames beside a frames sample of 4 frames"):
        SampleRecord(**values, kind="frames", frames=FOLDER, skeleton=skeleton(num_frames=5))
    with pytest.raises(ValueError, match=r"kind skeleton needs skeleton=\.\.\., it has frames, skeleton"):
        SampleRecord(**values, kind="skeleton", frames=FOLDER, skeleton=skeleton())
    with pytest.raises(ValueError, match=r"kind frames needs frames=\.\.\., it has skeleton"):
        SampleRecord(**values, kind="frames", skeleton=skeleton())


def test_manifests_that_are_older_than_this_column_are_read(packed, tmp_path):
    table = pq.read_table(packed / "manifest.parquet")
    without = table.drop_columns(["skeleton"])
    pq.write_table(without, tmp_path / "manifest.parquet")
    found = manifest.read_table(tmp_path / "manifest.parquet", "here")
    assert found.column("skeleton").null_count == 4
    assert manifest.from_row(found.to_pylist()[0])[0].skeleton is None
    pq.write_table(without.drop_columns(["id"]), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="no column"):
        manifest.read_table(tmp_path / "manifest.parquet", "here")
    assert isinstance(table.schema.field("skeleton").type, pa.StructType)
