"""Memory while packing many small samples: what a sample adds is a few hundred bytes, whatever the data set's size."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

# Both give several full shards: one shard's rows are held, whatever the data set's size.
_SAMPLES = (2500, 8500)
# Paths, ids and keys of the list of sources take about 1 kB each; 3 kB leaves room for the allocator's noise, and
# keeps 100,000 samples 0.5 GB below 1 GB.
_MAX_BYTES_PER_SAMPLE = 3000


def peak_rss(arguments: list[str]) -> int:
    """Largest resident size, in bytes, of a process of ``vidflow`` (without its workers).

    By the kernel's high-water mark, which misses no peak between two looks. (``ru_maxrss`` would begin with the size of
    the test's own process.)
    """
    process = subprocess.Popen([sys.executable, "-m", "vidflow", *arguments], stdout=subprocess.DEVNULL)
    status, peak, done = Path(f"/proc/{process.pid}/status"), 0, threading.Event()
    while process.poll() is None:
        try:
            found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        except OSError:
            break
        peak = int(found[1]) * 1024 if found else peak
        done.wait(0.05)
    assert process.wait() == 0
    return peak


def many(root: Path, clip: bytes, count: int) -> Path:
    """``count`` hard links to one clip, in ten classes."""
    (root / "train").mkdir(parents=True)
    original = root / "clip"
    original.write_bytes(clip)
    for i in range(count):
        folder = root / "train" / f"class{i % 10}"
        folder.mkdir(exist_ok=True)
        os.link(original, folder / f"clip{i:06d}.mp4")
    original.unlink()
    return root


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.timeout(600)
def test_packing_and_repacking_hold_a_few_hundred_bytes_per_sample(clips, tmp_path):
    peaks: dict[str, list[int]] = {"shard": [], "repack": []}
    for count in _SAMPLES:
        source, out = many(tmp_path / f"source{count}", clips[0], count), tmp_path / f"out{count}"
        peaks["shard"].append(peak_rss(["shard", "--src", str(source), "--out", str(out), "--workers", "2"]))
        again = tmp_path / f"again{count}"
        peaks["repack"].append(peak_rss(["repack", str(out), str(again), "--seed", "1"]))
    for name, (few, more) in peaks.items():
        growth = (more - few) / (_SAMPLES[1] - _SAMPLES[0])
        assert growth < _MAX_BYTES_PER_SAMPLE, f"{name}: {growth:.0f} bytes per sample, {few >> 20} to {more >> 20} MB"
        assert more < 400 << 20
