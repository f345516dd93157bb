"""Packing with ``copy`` decodes each video once and hardly does more; measured against doing only that.

``PYTHONPATH=tests/support python tests/shards/test_packing_speed.py FOLDER [WORKERS]`` measures class folders of
one's own.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import pytest
from pool_work import count_frames

from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.sources.class_folders import read_class_folders
from vidflow.shards.sources.items import SourceList

# A quiet machine reaches 0.7 and more (docs/performance.md); here other tests run on the same cores, and the start of
# the processes counts, since the clips are few.
BAR = 0.5
REPEATS = 3


def seconds_to_decode(source: SourceList, workers: int) -> float:
    start = time.perf_counter()
    with multiprocessing.get_context("forkserver").Pool(workers) as pool:
        frames = sum(pool.imap_unordered(count_frames, [item.path for item in source.items], chunksize=4))
    assert frames
    return time.perf_counter() - start


def seconds_to_pack(source: SourceList, workers: int, folder: Path) -> float:
    start = time.perf_counter()
    pack(source, folder, PackOptions(), workers=workers)
    return time.perf_counter() - start


def measure(source: SourceList, workers: int, folder: Path) -> list[tuple[float, float]]:
    """Seconds to decode and to pack, side by side so that another load on the machine meets both."""
    return [
        (seconds_to_decode(source, workers), seconds_to_pack(source, workers, folder / str(i))) for i in range(REPEATS)
    ]


@pytest.mark.long  # and it measures, which other tests at the same time disturb
def test_copy_packs_nearly_as_fast_as_plain_decoding(numbered_video, tmp_path):
    # Long enough that starting the processes, which both sides do, does not decide.
    for i in range(24):
        numbered_video(tmp_path / "source" / "train" / "run" / f"{i}.mp4", 300, height=240, width=320)
    source = read_class_folders(tmp_path / "source")
    ratios = [decoding / packing for decoding, packing in measure(source, 2, tmp_path)]
    assert max(ratios) >= BAR, ratios


if __name__ == "__main__":
    folders, processes = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2
    has_splits = any((folders / split).is_dir() for split in ("train", "val", "test"))
    videos = read_class_folders(folders, split=None if has_splits else 0.9)
    with tempfile.TemporaryDirectory() as scratch:
        for decoding, packing in measure(videos, processes, Path(scratch)):
            print(f"decode {decoding:.2f} s, pack {packing:.2f} s: {100 * decoding / packing:.0f} %")  # noqa: T201
