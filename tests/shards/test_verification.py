"""``vidflow verify`` finds every kind of damage, and none where there is none."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidflow import manifest
from vidflow.dataset import PackedDataset
from vidflow.shards.profiles import PROFILES
from vidflow.shards.sources.class_folders import read_class_folders
from vidflow.shards.verification import verify_dataset


@pytest.fixture
def root(items, packed, tmp_path):
    packed(items(5), max_count=3)
    return tmp_path / "out"


def differences(root, *, decode=True):
    return [str(d) for d in verify_dataset(PackedDataset.open(root), workers=2, decode=decode).differences]


def edit_manifest(root, change) -> None:
    rows = pq.read_table(root / manifest.FILE_NAME).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=manifest.SCHEMA), root / manifest.FILE_NAME)


def edit_json(root, change) -> None:
    values = json.loads((root / "dataset.json").read_text())
    change(values)
    (root / "dataset.json").write_text(json.dumps(values))


def flip_byte(root, shard: str, position: int) -> None:
    with (root / shard).open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0xFF]))


@pytest.mark.parametrize("profile", ["copy", "train", "intra"])
def test_a_fresh_data_set_has_no_differences(profile, tree, packed, odd_media, tmp_path):
    root = tree("train/run/0.mp4", "val/run/1.mp4")
    for name in ("vfr.mkv", "rot90.mp4", "webm_named.mp4", "midcorrupt.mp4", "frag.mp4", "mpeg2.mpg"):
        (root / "train" / "run" / name).write_bytes(odd_media[name].read_bytes())
    report = packed(read_class_folders(root), profile=PROFILES[profile], on_damage="conceal")
    assert report.packed == 8
    found = verify_dataset(PackedDataset.open(tmp_path / "out"), workers=2)
    assert (found.differences, found.num_samples, found.num_shards) == ((), 8, 2)


def test_a_flipped_byte_of_a_video_is_found_with_and_without_decoding(root):
    dataset = PackedDataset.open(root)
    record, location = dataset.row(0)
    # The name of the box that holds the index: without it nothing decodes.
    flip_byte(root, location.shard, (root / location.shard).read_bytes().index(b"moov", location.data_offset))
    assert differences(root, decode=False) == [f"{location.shard}: its SHA-256 is not the one of dataset.json"]
    assert any(f"sample {record.key} ({record.id})" in text for text in differences(root))


def test_a_flipped_byte_of_a_json_member_is_found(root):
    record, location = PackedDataset.open(root).row(1)
    flip_byte(root, location.shard, (root / location.shard).read_bytes().index(b"fps", location.offset))
    assert any(f"sample {record.key} ({record.id}): KEY.json" in text for text in differences(root, decode=False))


def test_a_cut_shard_is_found(root):
    shard = root / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-3000])
    found = differences(root)
    assert any("bytes, dataset.json says" in text for text in found)
    assert any("SHA-256" in text for text in found)


def test_a_lost_shard_is_found(root):
    (root / "train-000001.tar").unlink()
    assert any("train-000001.tar" in text and "No such file" in text for text in differences(root))


def test_shards_that_changed_places_are_found(root):
    a, b = root / "train-000000.tar", root / "train-000001.tar"
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)
    found = differences(root, decode=False)
    assert any("belongs to no manifest row" in text for text in found)
    assert any("is missing" in text for text in found)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("offset", 512, "the manifest says"),
        ("data_offset", 1024, "the manifest says"),
        ("data_length", 100, "the manifest says"),
        ("length", 1024, "ends at byte"),
        ("labels", [0, 0], "has 2 labels in a single-label data set"),
        ("labels", [7], "labels [7] have no class"),
        ("id", "other.mp4", "KEY.json differs from the manifest in id"),
        ("num_frames", 500, "KEY.json differs from the manifest in video"),
        ("split", "val", "is of split 'val' in a shard of 'train'"),
        ("shard", "train-000009.tar", "which dataset.json does not list"),
        ("key", "000001", "the key is used 2 times"),
    ],
)
def test_a_manifest_row_that_is_not_so_is_found(root, column, value, text):
    edit_manifest(root, lambda rows: rows[0].update({column: value}))
    assert any(text in found for found in differences(root, decode=False)), differences(root, decode=False)


def test_a_missing_row_is_found(root):
    edit_manifest(root, lambda rows: rows.pop())
    assert any("4 rows, but dataset.json counts 5" in text for text in differences(root))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda v: v["splits"]["train"].update(num_frames=1), "sums of split 'train'"),
        (lambda v: v["shards"][0].update(size=1), "bytes, dataset.json says 1"),
        (lambda v: v["shards"][0].update(sha256="0" * 64), "SHA-256"),
        (lambda v: v.update(num_rejected=3), "rejected.jsonl has 0 lines, dataset.json says 3"),
    ],
)
def test_a_dataset_json_that_is_not_so_is_found(root, change, text):
    edit_json(root, change)
    assert any(text in found for found in differences(root, decode=False))


def test_what_decodes_is_compared_with_the_record(root):
    """A record that is wrong in the same way in both places: only decoding can tell."""
    dataset = PackedDataset.open(root)
    record, location = dataset.row(0)
    shard = (root / location.shard).read_bytes()
    wrong = record.model_dump_json().replace('"codec":"h264"', '"codec":"h263"').encode()
    (root / location.shard).write_bytes(shard.replace(record.model_dump_json().encode(), wrong))
    edit_manifest(root, lambda rows: rows[0].update(codec="h263"))
    place = f"{location.shard} sample {record.key} ({record.id})"
    assert f"{place}: codec is h264, the manifest says h263" in differences(root)


def test_the_command_exits_with_8_and_lists_all_differences(root, command):
    assert command("verify", root).returncode == 0
    for index in (0, 4):
        _, location = PackedDataset.open(root).row(index)
        flip_byte(root, location.shard, location.data_offset + location.data_length // 2)
    result = command("verify", root)
    assert result.returncode == 8
    assert "train-000000.tar: its SHA-256" in result.stdout
    assert "train-000001.tar: its SHA-256" in result.stdout
    result = command("verify", root, "--no-decode", "--json")
    assert result.returncode == 8
    report = json.loads(result.stdout)
    assert (report["ok"], report["num_samples"], len(report["differences"])) == (False, 5, 2)
    assert report["differences"][0]["shard"] == "train-000000.tar"
