"""``vidflow bench`` on real shards: the JSON that tools read, the table that people read, and bad input."""

import json
import subprocess
import sys

import pytest

from vidflow.cli.main import main


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
    assert peer["stage"] == "loader"
    (ours,), (theirs,) = report["stages"]["loader"]["passes"], peer["passes"]
    assert peer["ratio"] == pytest.approx(ours / theirs)


def test_peers_of_the_encoded_bytes_are_compared_by_megabytes(shards):
    options = ("--batch-size", 2, "--repeats", 1, "--threads", 1, "--baseline", "cat,webdataset", "--json")
    report = json.loads(vidflow("bench", shards["copy"], *options).stdout)
    cat, read = report["baselines"]["cat"], report["stages"]["read"]
    assert cat["stage"] == "read"
    assert cat["ratio"] == pytest.approx(read["mb_per_s"] / cat["mb_per_s"])
    assert report["baselines"]["webdataset"]["stage"] == "loader"


@pytest.mark.parametrize("name", ["plot.html", pytest.param("plot.png", marks=pytest.mark.long)])
def test_a_plot_shows_the_stages_and_the_peers(shards, tmp_path, name):
    options = ("--batch-size", 2, "--repeats", 1, "--threads", 1, "--baseline", "opencv", "--clip", "4x2")
    vidflow("bench", shards["copy"], *options, "--plot", tmp_path / name)
    data = (tmp_path / name).read_bytes()
    if name.endswith("png"):
        assert data.startswith(b"\x89PNG")
    else:
        assert all(word in data for word in (b"<svg", b"opencv", b"our loader is", b"Bottleneck"))
        assert b"src=" not in data


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
    assert "opencv; our loader is" in done.stdout
    assert "Bottleneck:" in done.stdout


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--threads", "two"), 2, "--threads two: must be positive numbers"),
        (("--clip", "8x"), 2, "--clip 8x: must be a number of frames"),
        (("--plot", "plot.jpg"), 2, "must end in .png, .svg, .html"),
        (("--plot", "/nowhere/plot.png"), 2, "there is no folder /nowhere"),
        (("--baseline", "ranges"), 3, "is for data sets on servers"),
        (("--baseline", "dali"), 3, "is for samples of kind frames"),
        (("--threads", "0"), 2, "--threads 0: must be positive numbers"),
        (("--executor", "gpu"), 2, "--executor gpu: must be one of auto, dali, reference"),
        (("--baseline", "ffmpeg"), 2, "--baseline ffmpeg: must be all or one of"),
        (("--split", "dev"), 3, "no split 'dev'; it has train"),
        (("--baseline", "opencv"), 3, "name the original files with --src DIR"),
        (("--baseline", "opencv", "--src", "/nowhere"), 3, "must be the folder that was packed"),
    ],
)
def test_bad_input_is_named(shards, capsys, options, status, message):
    with pytest.raises(SystemExit) as left:
        main(["bench", str(shards["intra"]), "--batch-size", "2", "--repeats", "1", *map(str, options)])
    assert left.value.code == status
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_shards_says_how_to_pack(tmp_path):
    assert "vidflow shard --src DIR" in " ".join(vidflow("bench", tmp_path, status=3).stderr.split())
