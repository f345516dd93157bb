"""Videos for models of frames and skeletons: what is found in a file gives what testing gives its packed copy."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from dot_people import draw_people

from vidflow.cli.main import main
from vidflow.config.experiment import Experiment
from vidflow.engine.checkpoint import save_weights
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.inference import Predictor
from vidflow.media.probe import probe_video
from vidflow.models import build_model
from vidflow.shards.pose.extracting import PoseOptions

HEIGHT, WIDTH = 144, 160
DOTS = PoseOptions(estimator="dot_people:DotEstimator")


def write_film(path: Path, places: list[tuple[int, int]]) -> None:
    """One person of dots per frame at some places; losslessly, since a dot is one pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format="mov") as file:
        stream = file.add_stream("png", rate=20)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        for place in places:
            picture = draw_people(HEIGHT, WIDTH, {0: place}) if place else np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def vidflow(*words: object) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert not end.value.code


@dataclass(frozen=True)
class RGBPoseRun:
    path: Path
    films: Path
    tested: dict[str, list[float]]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RGBPoseRun:
    """A run of random weights, and films with their packed skeletons."""
    root = tmp_path_factory.mktemp("rgb_pose")
    films, poses, packed = root / "films", root / "poses", root / "packed"
    for number in range(3):
        step = 3 if number % 2 else -3
        places = [(60 + step * frame, 5 + 5 * number) for frame in range(10)]
        write_film(films / f"val/{('left', 'right')[number % 2]}/{number}.mov", places)
    line = ["--out", poses, "--estimator", DOTS.estimator, "--quiet", "--workers", 1]
    vidflow("extract", "pose", "--src", films, *line)
    vidflow("shard", "--src", films, "--skeletons", poses, "--out", packed, "--workers", 1, "--quiet")
    pipeline = {
        "kind": "rgb_pose",
        "sampling": {"kind": "bins", "length": 4},
        "pose_sampling": {"kind": "bins", "length": 16},
        "num_people": 2,
        "short_side": 64,
        "crop": {"kind": "center"},
        "size": 64,
    }
    config = Experiment.model_validate(
        {
            "name": "small",
            "output": str(root / "runs"),
            "data": {"root": str(packed), "train": pipeline, "val": pipeline, "num_threads": 1},
            "model": {"name": "rgbposeconv3d-tiny"},
            "optim": {"name": "SGD", "lr": 0.1},
            "train": {"epochs": 1, "batch_size": 4},
        }
    )
    folder = RunFolder(root / "runs/small")
    folder.start(config, ClassList(("left", "right"), multi_label=False))
    torch.manual_seed(0)
    model = build_model("rgbposeconv3d-tiny", num_classes=2)
    save_weights(folder.best_weights, model.state_dict(), {})
    evaluate_run(folder, folder.config(), dump=root / "scores.parquet")
    rows = pq.read_table(root / "scores.parquet").to_pylist()
    return RGBPoseRun(folder.path, films, {row["id"]: row["scores"] for row in rows})


def test_videos_get_the_scores_of_their_packed_copies_with_skeletons(run):
    predictions = Predictor(run.path, pose=DOTS)([run.films])
    assert len(predictions) == len(run.tested) == 3
    for found in predictions:
        assert found.error is None
        expected = run.tested[Path(found.path).relative_to(run.films).as_posix()]
        scores = [score.score for score in sorted(found.top, key=lambda score: score.label)]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_without_pose_a_video_says_what_is_missing(run):
    found = Predictor(run.path)([run.films])
    assert all("give --pose to find them in it" in prediction.error for prediction in found)


def test_a_film_of_nobody_is_reported(run, tmp_path):
    write_film(tmp_path / "a.mov", [()] * 4)
    (found,) = Predictor(run.path, pose=DOTS)([tmp_path / "a.mov"])
    assert found.error == f"{tmp_path / 'a.mov'}: nobody was found in it"


def test_what_was_found_is_drawn(run, tmp_path):
    film = run.films / "val/left/0.mov"
    vidflow("predict", film, "--run", run.path, "--pose", "--estimator", DOTS.estimator, "--draw", tmp_path / "out.mp4")
    assert probe_video(tmp_path / "out.mp4").num_frames == 10
