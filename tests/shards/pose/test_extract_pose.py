"""``vidflow extract pose`` from drawn videos to packed skeletons, with an estimator that finds coloured dots."""

import json
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dot_people import FIGURE, draw_people

from vidflow.dataset import PackedDataset
from vidflow.members import from_npy
from vidflow.shards.pose.archive import read_archive

HEIGHT, WIDTH = 120, 300
SUPPORT = Path(__file__).parents[2] / "support"
Places = Callable[[int], Mapping[int, tuple[float, float]]]


def two_people(frame: int) -> dict[int, tuple[float, float]]:
    """One walks to the right; the other comes from the right, in frame 1, and is hidden in frame 3."""
    places = {1: (10 + 3 * frame, 5)}
    return places if frame in (0, 3) else places | {2: (250 - 3 * frame, 10)}


@pytest.fixture
def film(numbered_video) -> Callable[..., Path]:
    """``film(path, places)`` writes a lossless video of people at ``places(frame)``."""

    def write(path: Path, places: Places = two_people, num_frames: int = 6, **options) -> Path:
        draw = lambda height, width, frame: draw_people(height, width, places(frame))  # noqa: E731
        options = {"codec": "png", "pix_fmt": "rgb24", "options": {}, "draw": draw} | options
        return numbered_video(path, num_frames, height=HEIGHT, width=WIDTH, **options)

    return write


@pytest.fixture
def extract(command, tmp_path) -> Callable[..., Any]:
    """``extract("--max-people", 3)`` runs the command over tmp_path/films into tmp_path/poses."""

    def run(*options: object, estimator: str = "DotEstimator", out: Path = tmp_path / "poses"):
        line = ["extract", "pose", "--src", tmp_path / "films", "--out", out, "--workers", 1]
        line += ["--estimator", f"dot_people:{estimator}", *options]
        return command(*line, env={**os.environ, "PYTHONPATH": str(SUPPORT)})

    return run


def test_each_person_keeps_a_row_and_keypoints_are_exact(film, extract, tmp_path):
    film(tmp_path / "films/wave/a.mov")
    done = extract("--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["found"], summary["done"], summary["failed"]) == (1, 1, 0)
    found = read_archive(tmp_path / "poses/wave/a.npz")
    assert found.keypoints.shape == (2, 6, 17, 2)
    for frame in range(6):
        for row, person in enumerate((1, 2)):
            place = two_people(frame).get(person)
            expected = np.zeros((17, 2)) if place is None else FIGURE + place
            np.testing.assert_array_equal(found.keypoints[row, frame], expected)
            np.testing.assert_allclose(found.scores[row, frame], 0 if place is None else 0.9)
    assert (found.size, found.layout) == ((WIDTH, HEIGHT), "coco")
    np.testing.assert_allclose(found.seconds, np.arange(6) / 30, atol=1e-3)


def test_keypoints_are_those_of_the_upright_picture(film, extract, tmp_path):
    film(tmp_path / "films/a.mov", rotation=90)
    assert extract().returncode == 0
    found = read_archive(tmp_path / "poses/a.npz")
    assert found.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(found.keypoints[0, 0], np.add(FIGURE, [10, 5]))


def test_times_of_a_variable_rate_are_kept(film, extract, tmp_path):
    film(tmp_path / "films/a.mov", pts=[0, 100, 150, 400, 410, 900], time_base=Fraction(1, 1000))
    assert extract().returncode == 0
    found = read_archive(tmp_path / "poses/a.npz")
    np.testing.assert_allclose(found.seconds, [0, 0.1, 0.15, 0.4, 0.41, 0.9], atol=1e-6)
    assert found.fps == pytest.approx(5 / 0.9)


def test_a_video_without_people_gives_an_archive_of_nobody_that_packing_rejects_or_keeps(
    film, extract, command, tmp_path
):
    film(tmp_path / "films/train/none/a.mov", lambda frame: {})
    film(tmp_path / "films/train/wave/a.mov")
    assert extract().returncode == 0
    assert read_archive(tmp_path / "poses/train/none/a.npz").keypoints.shape == (0, 6, 17, 2)
    pack = ["shard", "--kind", "skeleton", "--src", tmp_path / "poses", "--workers", 1, "--out"]
    assert command(*pack, tmp_path / "some").returncode == 0
    assert "holds nobody; give --nobody keep" in (tmp_path / "some/rejected.jsonl").read_text()
    assert command(*pack, tmp_path / "all", "--nobody", "keep").returncode == 0
    assert sorted(PackedDataset.open(str(tmp_path / "all")).column("num_people").tolist()) == [1, 2]


def test_a_broken_video_fails_alone_and_a_rerun_does_only_what_is_left(film, extract, tmp_path):
    film(tmp_path / "films/a.mov")
    (tmp_path / "films/b.mp4").write_bytes(b"no video")
    done = extract("--json")
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["failed"]) == (1, 1)
    (line,) = (tmp_path / "poses/failed.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "b.mp4"
    film(tmp_path / "films/b.mp4", codec="libx264rgb", options={"qp": 0})
    summary = json.loads(extract("--json").stdout)
    assert (summary["done"], summary["kept"], summary["failed"]) == (1, 1, 0)
    assert not (tmp_path / "poses/failed.jsonl").exists()


def test_results_of_other_options_are_not_mixed(film, extract, tmp_path):
    film(tmp_path / "films/a.mov")
    assert extract().returncode == 0
    before = (tmp_path / "poses/a.npz").read_bytes()
    done = extract("--max-people", 1)
    assert done.returncode == 3
    assert "--overwrite" in done.stderr
    assert (tmp_path / "poses/a.npz").read_bytes() == before
    assert extract("--max-people", 1, "--overwrite").returncode == 0
    assert read_archive(tmp_path / "poses/a.npz").keypoints.shape[0] == 1


@pytest.mark.parametrize(
    ("estimator", "status", "message"),
    [
        ("WrongShapes", 2, r"gives keypoints [1, 16, 2] and scores [1, 16]; [P, 17, 2] and [P, 17] are needed"),
        ("TooFew", 2, "gives 5 results for the 6 frames"),
        ("TooMany", 2, "gives more than 6 results for the frames"),
        ("NotFinite", 3, "frame 1: the estimator gives values that are not finite"),
        ("Missing", 2, "dot_people has no class or function 'Missing'"),
    ],
)
def test_an_estimator_that_breaks_its_word_leaves_no_file(estimator, status, message, film, extract, tmp_path):
    film(tmp_path / "films/a.mov")
    done = extract(estimator=estimator)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert not list((tmp_path / "poses").rglob("*.npz"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-people", 0), "--max-people 0: must be at least 1"),
        (("--model", "/no/such/file"), "--model /no/such/file: no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, film, extract, tmp_path):
    film(tmp_path / "films/a.mov")
    done = extract(*options)
    assert done.returncode == 2
    assert message in done.stderr


def test_class_folders_of_archives_pack_and_read_back(film, extract, command, read_back, tmp_path):
    film(tmp_path / "films/train/wave/a.mov")
    film(tmp_path / "films/val/walk/b.mov", lambda frame: {3: (20, 5 + frame)}, num_frames=4)
    assert extract().returncode == 0
    done = command("shard", "--kind", "skeleton", "--src", tmp_path / "poses", "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr
    samples = {sample["json"]["id"]: sample for sample in read_back(tmp_path / "packed")}
    assert set(samples) == {"train/wave/a.npz", "val/walk/b.npz"}
    for name, sample in samples.items():
        archive, info = read_archive(tmp_path / "poses" / name), sample["json"]["skeleton"]
        np.testing.assert_array_equal(from_npy(sample["fields"]["keypoint.npy"], name), archive.keypoints)
        np.testing.assert_array_equal(from_npy(sample["fields"]["keypoint_score.npy"], name), archive.scores)
        assert (info["layout"], info["width"], info["height"]) == ("coco", WIDTH, HEIGHT)
        assert info["fps"] == pytest.approx(30, rel=1e-3)
    assert samples["train/wave/a.npz"]["json"]["labels"] == [1]  # walk is 0
    assert command("verify", tmp_path / "packed").returncode == 0


def test_a_list_of_archives_packs_too_and_the_users_rate_goes_before_the_files(film, extract, command, tmp_path):
    film(tmp_path / "films/a.mov")
    assert extract().returncode == 0
    (tmp_path / "list.csv").write_text("path,label,split\na.npz,wave,train\n")
    line = ["shard", "--kind", "skeleton", "--annotations", tmp_path / "list.csv", "--src", tmp_path / "poses"]
    done = command(*line, "--out", tmp_path / "packed", "--fps", 25)
    assert done.returncode == 0, done.stderr
    dataset = PackedDataset.open(str(tmp_path / "packed"))
    assert dataset.column("fps").tolist() == [25]
    assert dataset.column("num_people").tolist() == [2]


def test_archives_beside_files_of_another_kind_are_refused(film, extract, command, tmp_path):
    film(tmp_path / "films/train/wave/a.mov")
    assert extract().returncode == 0
    (tmp_path / "poses/train/wave/b.skeleton").write_text("0\n")
    done = command("shard", "--kind", "skeleton", "--src", tmp_path / "poses", "--out", tmp_path / "packed")
    assert done.returncode == 3
    assert "has .npz and .skeleton; give a folder of" in done.stderr
