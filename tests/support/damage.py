"""Damage to packed shards, as disks and copies make it."""

from pathlib import Path

from vidflow.dataset import PackedDataset


def damage_sample(root: Path, index: int) -> str:
    """Overwrite the media bytes of one sample with zeros, and give its id."""
    record, location = PackedDataset.open(root).row(index)
    with (root / location.shard).open("r+b") as file:
        file.seek(location.data_offset)
        file.write(bytes(location.data_length))
    return record.id


def damage_header(root: Path, index: int) -> str:
    """Overwrite the first tar header of one sample, and give its id."""
    record, location = PackedDataset.open(root).row(index)
    with (root / location.shard).open("r+b") as file:
        file.seek(location.offset)
        file.write(b"\xff" * 512)
    return record.id
