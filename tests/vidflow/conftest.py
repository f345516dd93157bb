"""Records and packed data sets without any video in them, for the tests of schema, manifest and dataset."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vidflow import manifest
from vidflow.dataset import DatasetInfo, ShardInfo, SplitInfo
from vidflow.schema import Location, SampleRecord, VideoInfo


@pytest.fixture
def video_values() -> dict[str, object]:
    """Valid arguments of a ``VideoInfo``: 4 frames at 25 frames per second."""
    return {
        "container": "mp4",
        "codec": "h264",
        "codec_profile": "High",
        "pixel_format": "yuv420p",
        "width": 340,
        "height": 256,
        "num_frames": 4,
        "fps": 25.0,
        "duration": 0.16,
        "time_base": (1, 12800),
        "pts_start": 1024,
        "pts_step": 512,
        "key_frames": (0, 2),
    }


@pytest.fixture
def make_row(video_values) -> Callable[..., tuple[SampleRecord, Location]]:
    """A sample by its position: ids, labels, splits, lengths and places in a shard follow from it."""

    def make(index: int, **changes: object) -> tuple[SampleRecord, Location]:
        video = VideoInfo.model_validate(video_values | {"duration": 0.16 + index})
        values = {
            "key": f"{index:09d}",
            "id": f"class {index % 2}/clip.{index}.mp4",
            "labels": (index % 2,),
            "video": video,
        }
        values |= {"split": "val" if index % 4 == 3 else "train"} | changes
        place = Location(
            shard=f"{values['split']}-000000.tar",
            offset=2048 * index,
            length=2048,
            data_offset=2048 * index + 512,
            data_length=100,
        )
        return SampleRecord.model_validate(values), place

    return make


@pytest.fixture
def packed(tmp_path, make_row) -> Path:
    """A folder with dataset.json and a manifest of 8 samples, 6 of them in train."""
    root = tmp_path / "packed"
    root.mkdir()
    rows = [make_row(index) for index in range(8)]
    pq.write_table(manifest.to_table(manifest.to_row(*row) for row in rows), root / manifest.FILE_NAME)
    splits, shards = {}, []
    for split, count in (("train", 6), ("val", 2)):
        splits[split] = SplitInfo(num_samples=count, num_frames=4 * count, duration=1.0, size=2048 * count)
        digest = hashlib.sha256(split.encode()).hexdigest()
        shards.append(
            ShardInfo(name=f"{split}-000000.tar", split=split, num_samples=count, size=2048 * count, sha256=digest)
        )
    info = DatasetInfo(name="small", classes=("even", "odd"), splits=splits, shards=tuple(shards))
    (root / "dataset.json").write_text(json.dumps(info.model_dump(mode="json")))
    return root
