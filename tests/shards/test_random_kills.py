"""Packing that is killed at random moments, again and again: a rerun always ends with the same bytes."""

import random
import shutil
import subprocess
import sys
import time

import pytest
from dying import NUM_KILLS

from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.profiles import PROFILES
from vidflow.shards.sources.class_folders import read_class_folders


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_random_moments_leave_no_trace(clips, command, files_of, tmp_path):
    source = tmp_path / "source"
    for i in range(24):
        path = source / ("train" if i < 18 else "val") / "ab"[i % 2] / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clips[i % len(clips)])
    options = PackOptions(profile=PROFILES["intra"], max_count=3)
    pack(read_class_folders(source), tmp_path / "whole", options, workers=1)
    expected = files_of(tmp_path / "whole")
    out = tmp_path / "out"
    line = [
        "shard",
        "--src",
        str(source),
        "--out",
        str(out),
        "--profile",
        "intra",
        "--max-count",
        "3",
        "--workers",
        "2",
    ]
    start = time.monotonic()
    assert command(*line).returncode == 0
    whole_seconds = time.monotonic() - start
    shutil.rmtree(out)
    rng = random.Random(0)
    kills = 0
    while kills < NUM_KILLS:
        process = subprocess.Popen([sys.executable, "-m", "vidflow", *line], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1) * whole_seconds)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        if (out / "dataset.json").exists():  # it was faster: all must be there, and the next run starts anew
            again = command(*line)
            assert again.returncode == 0, again.stderr
            assert files_of(out) == expected
            shutil.rmtree(out)
    again = command(*line)
    assert again.returncode == 0, again.stderr
    assert files_of(out) == expected
