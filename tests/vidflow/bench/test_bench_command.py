"""``vidflow bench`` on real shards: the JSON that tools read, the table that people read, and bad input."""

import json
import subprocess
import sys

import pytest


def vidflow(*arguments, status=0):
    command = [sys.executable, "-m", "vidflow", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def clips(numbered_video, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    for i in range(6):
        numbered_video(folder / "train" / f"c{i % 2}" / f"{i}.mp4", num_frames=20)
    return folder


@pytest.fixture(scope="module")
def shards(clips, tmp_path_factory):
    roots = {}
    for profile in ("copy", "intra"):
        roots[profile] = tmp_path_factory.mktemp("shards") / profile
        vidflow("shard", "--src", clips, "--out", roots[profile], "--profile", profile, "--quiet")
    return roots


def test_json_holds_stages_bottleneck_and_baselines(shards, clips):
    options = ("--batch-size", 2, "--repeats", 1, "--threads", "1,2", "--baseline", "opencv", "--workers", 1, "--json")
    report = json.loads(vidflow("bench", shards["copy"], *options).stdout)
    assert set(report["stages"]) == {"read", "decode", "augment", "loader"}
    assert all(stage["clips_per_s"] > 0 for stage in report["stages"].values())
    assert report["stages"]["read"]["mb_per_s"] > 0
    rates = {name: report["stages"][name]["clips_per_s"] for name in ("read", "decode", "augment")}
    assert report["bottleneck"] == min(rates, key=rates.get)
    assert set(report["by_threads"]) == {"1", "2"}
    peer = report["baselines"]["opencv"]
    assert peer["ratio"] == pytest.approx(report["stages"]["loader"]["clips_per_s"] / peer["clips_per_s"])


def test_baselines_of_reencoded_shards_read_the_original_files(shards, clips):
    options = (
        "--batch-size",
        2,
        "--repeats",
        1,
        "--threads",
        1,
        "--baseline",
        "opencv",
        "--workers",
        0,
        "--src",
        clips,
    )
    done = vidflow("bench", shards["intra"], *options)
    assert "baseline opencv" in done.stdout
    assert "Bottleneck:" in done.stdout


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--threads", "two"), 2, "--threads two: must be positive numbers"),
        (("--threads", "0"), 2, "--threads 0: must be positive numbers"),
        (("--executor", "gpu"), 2, "--executor gpu: must be one of auto, dali, reference"),
        (("--baseline", "ffmpeg"), 2, "--baseline ffmpeg: must be all or one of"),
        (("--split", "dev"), 3, "no split 'dev'; it has train"),
        (("--baseline", "opencv"), 3, "name the original files with --src DIR"),
        (("--baseline", "opencv", "--src", "/nowhere"), 3, "must be the folder that was packed"),
    ],
)
def test_bad_input_is_named(shards, options, status, message):
    done = vidflow("bench", shards["intra"], "--batch-size", 2, "--repeats", 1, *options, status=status)
    assert message in " ".join(done.stderr.split())


def test_a_folder_without_shards_says_how_to_pack(tmp_path):
    assert "vidflow shard --src DIR" in " ".join(vidflow("bench", tmp_path, status=3).stderr.split())
