"""Skeletons of videos are found and classified, and predictions are drawn."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from dot_people import FIGURE, draw_people
from moving_figures import CLASSES, HEIGHT, WIDTH, annotation, scores_of

from vidflow.cli.main import main
from vidflow.demo import encode_clip
from vidflow.errors import ConfigError, MissingExtraError
from vidflow.inference import Predictor
from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video
from vidflow.shards.pose.extracting import PoseOptions

DOTS = PoseOptions(estimator="dot_people:DotEstimator")


@pytest.fixture(scope="module")
def predictor(skeletons) -> Predictor:
    return Predictor(skeletons.run, num_threads=2, pose=DOTS)


@pytest.fixture
def film(tmp_path) -> Path:
    """Two people of dots, 12 frames."""
    path = tmp_path / "film.mp4"
    pictures = [draw_people(HEIGHT, WIDTH, {0: (10 + 4 * t, 20), 1: (180 - 4 * t, 40)}) for t in range(12)]
    # Losslessly, since a dot is one pixel.
    encode_rgb(path, np.stack(pictures))
    return path


def encode_rgb(path: Path, pictures: np.ndarray) -> None:
    import av

    with av.open(path, "w", format="mov") as file:
        stream = file.add_stream("png", rate=20)
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "rgb24"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def extracted(film: Path, folder: Path) -> Path:
    line = ["extract", "pose", "--src", str(film.parent), "--out", str(folder), "--quiet", "--workers", "1"]
    with pytest.raises(SystemExit) as end:
        main([*line, "--estimator", "dot_people:DotEstimator"])
    assert not end.value.code
    return folder / "film.npz"


def test_a_video_gives_what_its_extracted_skeletons_give(predictor, film, tmp_path_factory):
    file = extracted(film, tmp_path_factory.mktemp("poses") / "out")
    video, skeletons = predictor([film, file])
    assert scores_of(video) == pytest.approx(scores_of(skeletons), abs=1e-7)
    assert video.num_frames == skeletons.num_frames == 12


def test_a_video_without_people_is_reported(predictor, tmp_path):
    encode_rgb(tmp_path / "empty.mov", np.zeros((5, HEIGHT, WIDTH, 3), np.uint8))
    (found,) = predictor([tmp_path / "empty.mov"])
    assert found.error == f"{tmp_path / 'empty.mov'}: nobody was found in it"


def test_a_video_needs_pose(skeletons, film):
    (found,) = Predictor(skeletons.run)([film])
    assert "is a video, and the model reads skeletons; give --pose" in found.error


def test_pose_is_refused_for_a_model_of_clips(trained):
    with pytest.raises(ConfigError, match="--pose: the model reads videos"):
        Predictor(trained.path, pose=DOTS)


@pytest.mark.parametrize("name", ["WrongShapes", "TooFew"])
def test_an_estimator_that_breaks_its_protocol_ends_the_run(skeletons, film, name):
    predictor = Predictor(skeletons.run, pose=PoseOptions(estimator=f"dot_people:{name}"))
    with pytest.raises(ConfigError, match=f"dot_people:{name}: gives"):
        predictor([film])


def test_a_missing_extra_is_named(skeletons, film, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    predictor = Predictor(skeletons.run, pose=PoseOptions(estimator="mediapipe"))
    with pytest.raises(MissingExtraError, match=r"vidflow\[pose\]"):
        predictor([film])


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *map(str, words)])
    return int(end.value.code or 0)


def test_the_command_draws_people_and_class_over_the_video(skeletons, film, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    words = ["--run", skeletons.run, "--pose", "--estimator", "dot_people:DotEstimator", "--draw", out, "--json"]
    assert command(film, *words) == 0
    (prediction,) = json.loads(capsys.readouterr().out)["files"]
    assert {found["name"] for found in prediction["top"]} == set(CLASSES)
    info = probe_video(out)
    assert (info.num_frames, info.width, info.height) == (12, WIDTH, HEIGHT)
    frames = decode_frames(out, info, np.arange(12)).astype(int)
    for t in (0, 11):
        x, y = (FIGURE[15] + (10 + 4 * t, 20)).astype(int)  # the left ankle of the first person
        red, _, blue = frames[t, y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))
        assert red > blue + 50  # orange, on a picture of blue dots
    assert frames[0, :12, :60].max() > 200  # words


def test_the_command_draws_skeleton_files_into_a_folder(skeletons, tmp_path):
    np.savez(tmp_path / "a.npz", keypoint=annotation(13)["keypoint"])
    (tmp_path / "b.pkl").write_bytes(pickle.dumps([annotation(1), annotation(2)]))
    assert command(tmp_path / "a.npz", tmp_path / "b.pkl", "--run", skeletons.run, "--draw", tmp_path / "drawn") == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.mp4", "clip_01.mp4", "clip_02.mp4"]
    assert probe_video(tmp_path / "drawn/clip_02.mp4").num_frames == annotation(2)["total_frames"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--draw", "out.mp4"], "is one file for 24 predictions; give a folder"),
        (["--estimator", "mediapipe"], "--estimator: has no effect without --pose"),
        (["--max-people", "3", "--pose-model", "x"], "--pose-model, --max-people: has no effect without --pose"),
        (["--pose", "--max-people", "0"], "--max-people 0: must be at least 1"),
        (["--pose", "--pose-model", "none.task"], "none.task: no such file"),
        (["--pose", "--estimator", "nothing"], "--estimator nothing: there is mediapipe"),
    ],
)
def test_the_command_refuses_wrong_options(skeletons, words, message, capsys):
    assert command(skeletons.pickle, "--run", skeletons.run, *words) == 2
    assert message in capsys.readouterr().err


def test_drawing_never_replaces_what_is_predicted(skeletons, trained, tmp_path, capsys):
    clip = tmp_path / "clip.mp4"
    encode_clip(clip, np.zeros((8, 48, 48, 3), np.uint8), 10)
    before = clip.read_bytes()
    for place in (clip, tmp_path):
        assert command(clip, "--run", trained.path, "--draw", place) == 2
        assert "would replace what is predicted" in capsys.readouterr().err
    assert clip.read_bytes() == before


@pytest.mark.parametrize(("given", "out"), [("seen/a.npz", "seen"), (".", "."), ("seen/one", "seen/one")])
def test_a_folder_of_what_is_predicted_is_not_drawn_into(skeletons, tmp_path, capsys, given, out):
    """There, files of other kinds may have the names of the drawings."""
    (tmp_path / "seen/one").mkdir(parents=True)
    np.savez(tmp_path / "seen/a.npz", keypoint=annotation(13)["keypoint"])
    np.save(tmp_path / "seen/one/keypoint.npy", annotation(13)["keypoint"])
    (tmp_path / "seen/one/info.json").write_text("{}")
    films = [tmp_path / "a.mp4", tmp_path / "seen/a.mp4"]
    for film in films:
        film.write_text("a film")
    assert command(tmp_path / given, "--run", skeletons.run, "--draw", tmp_path / out) == 2
    assert "holds what is predicted" in capsys.readouterr().err
    assert [film.read_text() for film in films] == ["a film"] * 2


def test_a_folder_of_drawings_may_be_drawn_into_again(skeletons, tmp_path):
    np.savez(tmp_path / "a.npz", keypoint=annotation(13)["keypoint"])
    for _ in range(2):
        assert command(tmp_path / "a.npz", "--run", skeletons.run, "--draw", tmp_path / "drawn") == 0
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["a.mp4"]


def test_a_sample_that_cannot_be_drawn_stops_no_other(skeletons, tmp_path, capsys):
    for name, side in (("a", 10**6), ("b", HEIGHT)):
        np.savez(tmp_path / f"{name}.npz", keypoint=annotation(13)["keypoint"], size=np.array([side, side]))
    assert command(tmp_path, "--run", skeletons.run, "--draw", tmp_path / "drawn") == 3
    assert "not drawn: " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["b.mp4"]


def test_the_class_of_a_clip_is_written_over_it(trained, tmp_path):
    clip = trained.clips / "val/left/000.mp4"
    assert command(clip, "--run", trained.path, "--draw", tmp_path / "out.mp4") == 0
    info = probe_video(tmp_path / "out.mp4")
    assert info.num_frames == probe_video(clip).num_frames
