"""Training through a cache: the same batches, and from the second epoch on no question to the server."""

import pytest
import torch

from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop, SegmentSampling
from vidflow.dataset import PackedDataset
from vidflow.errors import AlteredShardError, DataError
from vidflow.pipelines.loader import build_loader
from vidflow.storage.cached import cached

PIPELINE = ClipPipeline(
    sampling=SegmentSampling(num_segments=2, random=True), crop=RandomResizedCrop(), size=(32, 32), flip=0.5
)


def loader(dataset, **options):
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2, "executor": "reference"} | options
    return build_loader(dataset, PIPELINE, **options)


@pytest.fixture
def files(packed_root):
    return {path.name: path.read_bytes() for path in packed_root.iterdir() if path.is_file()}


def test_an_epoch_over_a_bad_network_is_the_local_one_and_the_next_asks_nothing(s3, files, packed, tmp_path):
    root = s3.put(files)
    proxy = s3.through_proxy(rate=0.2, seed=1)
    remote = cached(PackedDataset.open(root), str(tmp_path / "cache"), limit_bytes=10**9)
    ours, local = loader(remote, checksums=True), loader(packed)
    for epoch in range(3):
        for batch, expected in zip(ours, local, strict=True):
            assert batch.ids == expected.ids
            assert torch.equal(batch.clips, expected.clips)
        if epoch == 0:
            asked = len(proxy.requests)
            assert proxy.num_faults
    assert len(proxy.requests) == asked


def test_a_small_cache_changes_no_batch(s3, files, packed, tmp_path):
    limit = max(shard.size for shard in packed.info.shards)
    remote = cached(PackedDataset.open(s3.put(files)), str(tmp_path / "cache"), limit_bytes=limit)
    for _ in range(2):
        for batch, expected in zip(loader(remote), loader(packed), strict=True):
            assert batch.ids == expected.ids
            assert torch.equal(batch.clips, expected.clips)
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.tar")) <= limit


@pytest.mark.parametrize("place", ["last byte", "tar header"])
def test_a_file_that_was_altered_in_the_cache_is_named_and_may_be_deleted(s3, files, packed, tmp_path, place):
    root = s3.put(files)
    remote = cached(PackedDataset.open(root), str(tmp_path / "cache"), limit_bytes=10**9)
    options = {"training": False, "checksums": True}
    expected = [batch.ids for batch in loader(remote, **options)]
    _, location = packed.row(8)
    (sha256,) = [shard.sha256 for shard in packed.info.shards if shard.name == location.shard]
    path = tmp_path / "cache" / f"{sha256}.tar"
    data = bytearray(path.read_bytes())
    data[-1 if place == "last byte" else location.offset] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"{root}/{location.shard} \(read from the cache, {path}\): "):
        list(loader(remote, **options))
    path.unlink()
    assert [batch.ids for batch in loader(remote, **options)] == expected


def test_an_altered_shard_is_named_before_any_of_its_samples_or_told_and_searched(s3, files, packed, tmp_path):
    record, location = packed.row(8)
    data = bytearray(files[location.shard])
    data[location.data_offset : location.data_offset + location.data_length] = bytes(location.data_length)
    root = s3.put(files | {location.shard: bytes(data)})
    proxy = s3.through_proxy()
    remote = cached(PackedDataset.open(root), str(tmp_path / "cache"), limit_bytes=10**9)
    with pytest.raises(AlteredShardError, match=f"{root}/{location.shard}: has the SHA-256"):
        list(loader(remote))
    lenient = loader(remote, on_bad_sample="skip", batch_size=1)
    skipped = [sample.id for batch in lenient for sample in batch.skipped]
    assert skipped == [record.id]
    assert [location.shard in text for text in lenient.damage] == [True]
    asked = len(proxy.requests)
    assert [sample.id for batch in lenient for sample in batch.skipped] == [record.id]
    wanted = [request.range for request in proxy.requests[asked:]]
    assert len(wanted) == len(set(wanted)) == 6  # each sample by itself; the shard is not fetched again
