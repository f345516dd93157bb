"""Small videos in a tree of class folders."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def videos(tmp_path: Path, numbered_video: Callable[..., Path]) -> Path:
    """train/a/one.mp4 (8 frames from number 0 on), train/b/two.mp4 (6 from 100 on, on its side), val/a/bad.mp4 (cut),
    val/b/three.mp4 (5 from 200 on, 10 per second), and a file that is no video.
    """
    root = tmp_path / "videos"
    numbered_video(root / "train/a/one.mp4", 8, height=48, width=64)
    numbered_video(root / "train/b/two.mp4", 6, height=64, width=48, first_number=100, rotation=90)
    bad = numbered_video(root / "val/a/bad.mp4", 8, height=48, width=64)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    numbered_video(root / "val/b/three.mp4", 5, height=48, width=64, first_number=200, rate=10)
    (root / "train/a/notes.txt").write_text("no video")
    return root


@pytest.fixture
def tool() -> Callable[..., None]:
    """``tool("extract", "frames", ...)`` runs the command line in this process; errors come out as exceptions."""
    from vidflow.cli.main import app

    def run(*words: object) -> None:
        app(args=[str(word) for word in words], prog_name="vidflow", standalone_mode=False)

    return run


@pytest.fixture
def media() -> Path:
    """The folder of real media that VIDFLOW_MEDIA names."""
    root = os.environ.get("VIDFLOW_MEDIA")
    if not root:
        pytest.skip("VIDFLOW_MEDIA names no folder of real media")
    return Path(root)
