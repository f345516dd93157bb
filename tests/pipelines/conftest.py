"""Packed data sets of videos whose frames show their numbers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vidflow.dataset import PackedDataset


def shard(source: Path, out: Path, *options: str) -> PackedDataset:
    """Pack with the command that users type."""
    command = [sys.executable, "-m", "vidflow", "shard", "--src", str(source), "--out", str(out), "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return PackedDataset.open(out)


@pytest.fixture(scope="session")
def shard_clips() -> Callable[..., PackedDataset]:
    """``shard_clips(source, out, *options)`` packs class folders."""
    return shard


@pytest.fixture(scope="session")
def clips(numbered_video, tmp_path_factory) -> Path:
    """19 training and 5 validation clips in 3 classes, of several sizes, lengths and orientations."""
    root = tmp_path_factory.mktemp("clips")
    shapes = [{}, {"height": 96, "width": 128}, {"rotation": 90}, {"height": 144, "width": 192}]
    for split, count in (("train", 19), ("val", 5)):
        for i in range(count):
            # The first number differs, so that a frame of another clip cannot pass for the right one.
            path = root / split / f"class{i % 3}" / f"clip {i}.v1.mp4"
            numbered_video(path, num_frames=20 + 3 * (i % 5), first_number=1000 * i, **shapes[i % 4])
    return root


@pytest.fixture(scope="session")
def packed_root(clips, tmp_path_factory) -> Path:
    """The clips in shards of at most 6 samples."""
    out = tmp_path_factory.mktemp("packed") / "shards"
    shard(clips, out, "--max-count", "6")
    return out


@pytest.fixture
def packed(packed_root) -> PackedDataset:
    return PackedDataset.open(packed_root)
