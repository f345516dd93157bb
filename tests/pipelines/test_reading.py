"""Samples come out of shards as the manifest promises, or the shard is named."""

import shutil

import numpy as np
import pytest

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, StorageError
from vidflow.pipelines.reading import read_samples


@pytest.fixture
def copied(packed_root, tmp_path):
    """A data set of one's own to damage."""
    return shutil.copytree(packed_root, tmp_path / "shards")


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "with gaps"])
def test_every_sample_is_its_source_file_in_any_order(packed, clips, order):
    reads = np.arange(len(packed))
    if order == "backward":
        reads = reads[::-1].copy()
    elif order == "shuffled":
        reads = np.random.default_rng(0).permutation(reads)
    elif order == "with gaps":
        reads = reads[::3]
    seen = []
    for index, record, data in read_samples(packed, reads):
        assert record == packed.record(index)
        assert data == (clips / record.id).read_bytes()
        seen.append(index)
    assert seen == reads.tolist()


def test_neighbours_are_one_range(packed, monkeypatch):
    opened = []
    original = type(packed.storage).open
    monkeypatch.setattr(
        type(packed.storage), "open", lambda self, name, *a: opened.append(name) or original(self, name, *a)
    )
    list(read_samples(packed, np.arange(len(packed))))
    assert opened == [shard.name for shard in packed.info.shards]


def test_a_cut_shard_is_named(copied):
    dataset = PackedDataset.open(copied)
    name = dataset.info.shards[0].name
    with (copied / name).open("r+b") as file:
        file.truncate(dataset.info.shards[0].size // 2)
    with pytest.raises((StorageError, DataError), match=name):
        list(read_samples(dataset, np.arange(len(dataset))))


def test_a_shard_with_other_content_is_named(copied):
    dataset = PackedDataset.open(copied)
    first, second = (shard.name for shard in dataset.info.shards[:2])
    shutil.copy(copied / second, copied / first)
    with pytest.raises((StorageError, DataError), match=first):
        list(read_samples(dataset, np.arange(len(dataset))))


def test_a_missing_shard_is_named(copied):
    dataset = PackedDataset.open(copied)
    name = dataset.info.shards[1].name
    (copied / name).unlink()
    with pytest.raises(StorageError, match=f"{name}: No such file"):
        list(read_samples(dataset, np.arange(len(dataset))))
