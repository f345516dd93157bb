"""A shard that is not the one that was packed is noticed and named; lenient reading loses only what is damaged."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from damage import damage_header, damage_sample

from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import AlteredShardError, DataError, EndsEarlyError, StorageError, VidflowError
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.reading import read_leniently, read_samples


@pytest.fixture
def root(packed_root, tmp_path):
    """A data set of one's own to damage."""
    return shutil.copytree(packed_root, tmp_path / "shards")


def everything(root, **options):
    dataset = PackedDataset.open(root)
    return list(read_samples(dataset, np.arange(len(dataset)), **options))


def leniently(root, **options):
    """Positions that come out, errors by position, and what is said of whole shards."""
    dataset = PackedDataset.open(root)
    damage: list[VidflowError] = []
    good, bad = [], {}
    for index, record, found in read_leniently(dataset, np.arange(len(dataset)), damaged=damage.append, **options):
        assert record == dataset.record(index)
        if isinstance(found, VidflowError):
            bad[index] = str(found)
        else:
            good.append(index)
    return good, bad, damage


def alter_byte(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 1]))


def test_sound_shards_pass_with_checksums(root):
    assert len(everything(root, checksums=True)) == 24
    assert leniently(root, checksums=True) == (list(range(24)), {}, [])


def test_a_single_altered_bit_is_found_by_the_checksum(root):
    dataset = PackedDataset.open(root)
    _, location = dataset.row(8)
    alter_byte(root / location.shard, location.data_offset + location.data_length // 2)
    assert len(everything(root)) == 24
    with pytest.raises(AlteredShardError, match=rf"{location.shard}: has the SHA-256 .* dataset.json says"):
        everything(root, checksums=True)
    good, bad, damage = leniently(root, checksums=True)
    assert (len(good), bad) == (24, {})
    assert [location.shard in str(error) for error in damage] == [True]


def test_altered_zeros_at_the_end_of_a_shard_are_found_too(root):
    shard = PackedDataset.open(root).info.shards[1]
    alter_byte(root / shard.name, shard.size - 1)
    with pytest.raises(AlteredShardError, match=shard.name):
        everything(root, checksums=True)


def test_checksums_continue_over_the_border_of_two_reads(root, monkeypatch):
    monkeypatch.setattr("vidflow.pipelines.reading.MAX_RUN_BYTES", 30_000)
    assert len(everything(root, checksums=True)) == 24
    dataset = PackedDataset.open(root)
    _, location = dataset.row(3)
    alter_byte(root / location.shard, location.data_offset + 40)
    with pytest.raises(AlteredShardError, match=location.shard):
        everything(root, checksums=True)


def test_a_shard_of_which_a_part_is_read_is_not_judged_by_its_checksum(root):
    dataset = PackedDataset.open(root)
    _, location = dataset.row(0)
    alter_byte(root / location.shard, location.data_offset + 40)
    assert len(list(read_samples(dataset, np.arange(1, len(dataset)), checksums=True))) == 23


@pytest.mark.parametrize("kept", [0, 100, 700, 0.3, 0.5, 0.999])
def test_a_cut_shard_is_named_and_loses_only_its_end(root, kept):
    dataset = PackedDataset.open(root)
    shard = dataset.info.shards[1]
    size = int(shard.size * kept) if isinstance(kept, float) else kept
    with (root / shard.name).open("r+b") as file:
        file.truncate(size)
    with pytest.raises((AlteredShardError, EndsEarlyError), match=shard.name):
        everything(root)
    good, bad, damage = leniently(root)
    own = [i for i in range(len(dataset)) if dataset.row(i)[1].shard == shard.name]
    whole = [i for i in own if dataset.row(i)[1].offset + dataset.row(i)[1].length <= size]
    assert sorted(good + list(bad)) == list(range(24))
    assert [i for i in good if i in own] == whole
    assert all(shard.name in text for text in bad.values())
    assert len(damage) == 1


def test_a_cut_shard_on_a_server_that_ends_cleanly_is_noticed(s3, packed_root):
    files = {path.name: path.read_bytes() for path in packed_root.iterdir() if path.is_file()}
    shard = PackedDataset.open(packed_root).info.shards[2]
    files[shard.name] = files[shard.name][: shard.size // 2]
    root = s3.put(files)
    with pytest.raises((AlteredShardError, EndsEarlyError), match=f"{root}/{shard.name}"):
        everything(root)
    good, bad, _ = leniently(root)
    assert sorted(good + list(bad)) == list(range(24))
    assert 0 < len(bad) < 6
    assert all(f"{root}/{shard.name}" in text for text in bad.values())


def test_a_longer_shard_is_noticed_by_its_size(root):
    shard = PackedDataset.open(root).info.shards[0]
    with (root / shard.name).open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(AlteredShardError, match=rf"{shard.name}: has {shard.size + 512} bytes, .* {shard.size}"):
        everything(root)
    good, bad, damage = leniently(root)
    assert (len(good), bad, len(damage)) == (24, {}, 1)


def test_a_longer_shard_on_a_server_is_noticed_without_asking_for_its_size(file_server, packed_root):
    file_server.files |= {path.name: path.read_bytes() for path in packed_root.iterdir() if path.is_file()}
    shard = PackedDataset.open(packed_root).info.shards[0]
    file_server.files[shard.name] += bytes(512)
    with pytest.raises(AlteredShardError, match=shard.name):
        everything(file_server.address)
    assert [r.range for r in file_server.requests if shard.name in r.path] != ["bytes=0-0"]


def test_a_damaged_header_loses_one_sample(root):
    lost = damage_header(root, 8)
    with pytest.raises(DataError):
        everything(root)
    good, bad, _ = leniently(root)
    assert list(bad) == [8]
    assert lost in bad[8] or "damaged tar" in bad[8]
    assert len(good) == 23


def test_a_member_that_comes_twice_loses_one_sample(root):
    dataset = PackedDataset.open(root)
    record, location = dataset.row(8)
    path = root / location.shard
    content = bytearray(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.getmember(f"{record.key}.json")
    member.name = f"{record.key}.{record.media.container}"
    content[member.offset : member.offset + 512] = member.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{location.shard}: damaged tar .*{member.name}: duplicate file name"):
        everything(root)
    good, bad, _ = leniently(root)
    assert (len(good), list(bad)) == (23, [8])


def test_a_record_of_another_sample_is_refused(root):
    dataset = PackedDataset.open(root)
    record, location = dataset.row(7)
    path = root / location.shard
    content = bytearray(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.getmember(f"{record.key}.json")
    text = bytes(content[member.offset_data : member.offset_data + member.size])
    values = json.loads(text)
    other = text.replace(json.dumps(values["id"]).encode(), json.dumps(values["id"][:-1] + "X").encode())
    assert other != text
    content[member.offset_data : member.offset_data + member.size] = other
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{location.shard}: {record.key}.json is of key {record.key} \(.*X\)"):
        everything(root)
    assert list(leniently(root)[1]) == [7]


def test_damaged_media_are_no_matter_of_reading(root):
    damage_sample(root, 5)
    assert len(everything(root)) == 24


def test_a_missing_shard_is_never_skipped(root):
    shard = PackedDataset.open(root).info.shards[1]
    (root / shard.name).unlink()
    with pytest.raises(StorageError, match=f"{shard.name}: No such file"):
        leniently(root)


def test_a_server_that_is_down_is_never_skipped(file_server, packed_root, monkeypatch):
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "2")
    file_server.files |= {path.name: path.read_bytes() for path in packed_root.iterdir() if path.is_file()}
    dataset = PackedDataset.open(file_server.address)
    assert len(dataset) == 24
    file_server.spoil_all("status")
    with pytest.raises(StorageError, match="gave up after 2 attempts"):
        list(read_leniently(dataset, np.arange(24), damaged=lambda error: None))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_altered_only_samples_that_were_touched_are_lost(root, seed):
    dataset = PackedDataset.open(root)
    sound = {index: data for index, _, data in read_samples(dataset, np.arange(len(dataset)))}
    chance = np.random.default_rng(seed)
    shard = dataset.info.shards[int(chance.integers(len(dataset.info.shards)))]
    spans = []
    with (root / shard.name).open("r+b") as file:
        for _ in range(int(chance.integers(1, 4))):
            # Headers are rare among the bytes, and break more than others: half of the damage goes there.
            rows = [dataset.row(i)[1] for i in range(len(dataset)) if dataset.row(i)[1].shard == shard.name]
            begin = rows[int(chance.integers(len(rows)))].offset
            at = begin + int(chance.integers(512)) if chance.random() < 0.5 else int(chance.integers(shard.size))
            noise = chance.bytes(int(chance.choice([1, 8, 600, 3000])))[: shard.size - at]
            file.seek(at)
            file.write(noise)
            spans.append((at, at + len(noise)))
        if seed % 4 == 3:
            size = int(chance.integers(shard.size))
            file.truncate(size)
            spans.append((size, shard.size))
    good, bad = {}, set()
    for index, record, found in read_leniently(dataset, np.arange(len(dataset)), damaged=lambda error: None):
        if isinstance(found, VidflowError):
            assert shard.name in str(found)
            bad.add(index)
        else:
            good[index] = found[record.media.container]
    assert sorted([*good, *bad]) == list(range(len(dataset)))
    for index in range(len(dataset)):
        _, location = dataset.row(index)
        end = location.offset + location.length
        touched = location.shard == shard.name and any(a < end and b > location.offset for a, b in spans)
        if not touched:
            assert good[index] == sound[index]


@pytest.mark.parametrize("number", [0, 3])
def test_a_pass_of_a_loader_judges_its_last_shard_too(root, number):
    dataset = PackedDataset.open(root)
    shard = [shard for shard in dataset.info.shards if shard.split == "train"][number]
    alter_byte(root / shard.name, shard.size - 1)
    options = {"split": "train", "batch_size": 4, "training": False, "executor": "reference"}
    with pytest.raises(AlteredShardError, match=shard.name):
        list(build_loader(dataset, ClipPipeline(size=(16, 16)), checksums=True, **options))
    lenient = build_loader(dataset, ClipPipeline(size=(16, 16)), checksums=True, on_bad_sample="skip", **options)
    assert not [sample for batch in lenient for sample in batch.skipped]
    assert [shard.name in text for text in lenient.damage] == [True]
