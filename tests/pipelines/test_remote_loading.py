"""Shards on S3 and on web servers train as local ones do: the same batches, whatever the network does."""

import threading
import time

import numpy as np
import pytest
import torch

from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop, SegmentSampling
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, StorageError
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.reading import read_samples

PIPELINE = ClipPipeline(
    sampling=SegmentSampling(num_segments=2, random=True), crop=RandomResizedCrop(), size=(32, 32), flip=0.5
)


def epoch(dataset, *, executor="reference", **options):
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2, "seed": 3} | options
    return list(build_loader(dataset, PIPELINE, executor=executor, **options))


def shard_files(packed_root):
    return {path.name: path.read_bytes() for path in packed_root.iterdir() if path.is_file()}


@pytest.fixture(params=["http", "s3"])
def root(request, packed_root):
    files = shard_files(packed_root)
    if request.param == "s3":
        return request.getfixturevalue("s3").put(files)
    server = request.getfixturevalue("file_server")
    server.files |= {f"sets/{name}": data for name, data in files.items()}
    return f"{server.address}/sets"


def test_batches_are_those_of_the_local_shards(root, packed):
    for ours, local in zip(epoch(PackedDataset.open(root)), epoch(packed), strict=True):
        assert ours.ids == local.ids
        assert torch.equal(ours.clips, local.clips)


def test_an_epoch_over_a_bad_network_loses_and_repeats_nothing(s3, packed, packed_root, monkeypatch):
    monkeypatch.setenv("VIDFLOW_STORAGE_TIMEOUT", "1")
    root = s3.put(shard_files(packed_root))
    proxy = s3.through_proxy(rate=0.5, seed=2)
    proxy.kinds = ("status", "reset", "cut", "late reset", "end", "stall")
    for _ in range(2):
        ours = [batch.ids for batch in epoch(PackedDataset.open(root))]
        assert ours == [batch.ids for batch in epoch(packed)]
    assert proxy.num_faults > 3


def test_samples_in_any_order_are_the_local_ones(root, packed):
    dataset = PackedDataset.open(root)
    order = np.random.default_rng(0).permutation(len(packed))
    for (index, record, data), local in zip(read_samples(dataset, order), read_samples(packed, order), strict=True):
        assert (index, record, data) == local


def test_a_cut_shard_is_named_by_its_address(s3, packed, packed_root):
    files = shard_files(packed_root)
    name = packed.info.shards[0].name
    files[name] = files[name][: len(files[name]) // 2]
    dataset = PackedDataset.open(s3.put(files))
    with pytest.raises(StorageError) as caught:
        list(read_samples(dataset, np.arange(len(dataset))))
    assert str(caught.value).startswith(f"{dataset.storage.root}/{name}: has no bytes [0, ")
    assert str(caught.value).endswith("run `vidflow verify` and pack the shard again")


def test_a_missing_shard_ends_the_epoch_with_its_address(s3, packed, packed_root):
    files = shard_files(packed_root)
    name = packed.info.shards[1].name
    del files[name]
    dataset = PackedDataset.open(s3.put(files))
    with pytest.raises(StorageError) as caught:
        epoch(dataset)
    assert str(caught.value) == f"{dataset.storage.root}/{name}: no such object; check the address"


def test_a_shard_that_is_replaced_in_the_middle_of_an_epoch_is_an_error(s3, packed_root, packed):
    files = shard_files(packed_root)
    dataset = PackedDataset.open(s3.put(files))
    name = packed.info.shards[0].name
    samples = read_samples(dataset, np.array([0, 2, 4]))  # three ranges of one shard
    next(samples)
    s3.put({name: files[name][::-1]})
    with pytest.raises((StorageError, DataError), match=name):
        list(samples)


def test_no_data_set_there_is_said_with_the_address(s3):
    with pytest.raises(DataError, match=rf"{s3.root()}/dataset.json: no such file; pack a data set first"):
        PackedDataset.open(s3.root())


def test_leaving_an_epoch_does_not_wait_for_a_silent_server(file_server, packed_root):
    file_server.files |= shard_files(packed_root)
    dataset = PackedDataset.open(file_server.address)
    assert len(dataset)
    # By name: shards are asked for side by side, and any request may be the first.
    file_server.spoil_all("stall", after=10, spared=("train-000000.tar",))
    batches = iter(build_loader(dataset, PIPELINE, split="train", batch_size=2, training=False, executor="reference"))
    next(batches)
    begin = time.monotonic()
    batches.close()
    assert time.monotonic() - begin < 10


def test_leaving_an_epoch_early_is_quiet_and_leaves_no_thread(s3, packed_root):
    dataset = PackedDataset.open(s3.put(shard_files(packed_root)))
    before = threading.active_count()
    batches = iter(build_loader(dataset, PIPELINE, split="train", batch_size=2, training=True, executor="reference"))
    next(batches)
    batches.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline, [thread.name for thread in threading.enumerate()]
        time.sleep(0.01)
