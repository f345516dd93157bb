"""Prediction on files gives what testing gives on the packed set, and a bad file is reported and stops no other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from vidflow.demo import CLASSES
from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.errors import ConfigError, DataError, WeightsError
from vidflow.inference import Predictor


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor(trained.path, num_threads=2)


@pytest.fixture
def clip(trained) -> Path:
    return trained.clips / "val/left/000.mp4"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vidflow", "predict", *map(os.fspath, words)]
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=env, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
    )


def test_files_get_the_scores_that_testing_gives_their_packed_copies(trained, predictor, tmp_path):
    folder = RunFolder(trained.path)
    evaluate_run(folder, folder.config(), dump=tmp_path / "scores.parquet")
    tested = {row["id"]: row["scores"] for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()}
    predictions = predictor([trained.clips / "val"], top=len(CLASSES))
    assert {Path(p.path).relative_to(trained.clips).as_posix() for p in predictions} == set(tested)
    winners = set()
    for prediction in predictions:
        scores = torch.zeros(len(CLASSES))
        for found in prediction.top:
            scores[found.label] = found.score
        expected = torch.tensor(tested[Path(prediction.path).relative_to(trained.clips).as_posix()])
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
        assert expected.max() - expected.min() > 0.05
        winners.add(prediction.top[0].label)
    assert len(winners) > 1


def test_scores_are_ranked_named_and_sum_to_one(predictor, clip):
    (prediction,) = predictor([clip], top=6)
    scores = [found.score for found in prediction.top]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert {found.name for found in prediction.top} == set(CLASSES)
    assert all(CLASSES[found.label] == found.name for found in prediction.top)
    assert prediction.error is None
    assert 20 <= prediction.num_frames <= 28
    assert prediction.path == str(clip)


def test_top_limits_the_classes_and_may_exceed_them(predictor, clip):
    (two,) = predictor([clip], top=2)
    (many,) = predictor([clip], top=100)
    assert two.top == many.top[:2]
    assert len(many.top) == len(CLASSES)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_does_not_change_the_outcome(trained, predictor, batch_size):
    files = sorted((trained.clips / "val").rglob("*.mp4"))
    for one, other in zip(predictor(files, batch_size=batch_size), predictor(files), strict=True):
        assert [found.name for found in one.top] == [found.name for found in other.top]
        assert [found.score for found in one.top] == pytest.approx([found.score for found in other.top], abs=1e-5)


def test_a_bad_file_is_reported_in_its_place_and_stops_no_other(predictor, clip, tmp_path):
    text, empty, cut = tmp_path / "notes.mp4", tmp_path / "empty.mp4", tmp_path / "cut.mp4"
    text.write_text("this is no video at all, whatever its name says")
    empty.write_bytes(b"")
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    files = [text, clip, tmp_path / "missing.mp4", empty, clip, cut]
    found = predictor(files, batch_size=4)
    assert [p.error is None for p in found] == [False, True, False, False, True, False]
    assert found[1] == found[4]
    for prediction, path in zip(found, files, strict=True):
        assert prediction.path == str(path)
        if prediction.error is not None:
            assert str(path) in prediction.error
            assert prediction.top == ()
    assert "no such file" in found[2].error


def test_files_of_different_sizes_share_a_batch(trained, predictor, clip, tmp_path):
    from vidflow.demo import write_demo_data

    write_demo_data(tmp_path / "larger", num_clips=12, size=64)
    larger = tmp_path / "larger/val/up/000.mp4"
    together, alone = predictor([clip, larger], batch_size=2), [*predictor([clip]), *predictor([larger])]
    for one, other in zip(together, alone, strict=True):
        assert [s.score for s in one.top] == pytest.approx([s.score for s in other.top], abs=1e-5)


def test_folders_are_searched_at_any_depth_in_order_without_hidden_names(predictor, clip, tmp_path):
    for name in ("b/deep/X.MP4", "a.mp4", ".hidden.mp4", ".git/a.mp4", "readme.txt", "with space [x].mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
    assert [p.path for p in predictor([tmp_path])] == [
        str(tmp_path / name) for name in ("a.mp4", "b/deep/X.MP4", "with space [x].mp4")
    ]


def test_a_folder_without_videos_is_an_error(predictor, tmp_path):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(DataError, match="has no file with a video's extension"):
        predictor([tmp_path])


@pytest.mark.parametrize(("values", "message"), [({"top": 0}, "top = 0"), ({"batch_size": 0}, "batch_size = 0")])
def test_numbers_out_of_range_are_refused(predictor, clip, values, message):
    with pytest.raises(ConfigError, match=message):
        predictor([clip], **values)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no run, it has no config\.toml"):
        Predictor(tmp_path)


def test_a_missing_checkpoint_is_refused(trained):
    with pytest.raises(WeightsError, match="has no checkpoint yet"):
        Predictor(trained.path, checkpoint="last")


def test_the_data_set_is_not_needed(trained, predictor, clip, tmp_path):
    elsewhere = Predictor(trained.path, overrides=[f"data.root={tmp_path / 'gone'}"])
    assert elsewhere([clip]) == predictor([clip])


def test_a_run_without_class_names_is_refused(trained, tmp_path):
    run = shutil.copytree(trained.path, tmp_path / "run")
    (run / "classes.json").write_text("[1, 2")
    with pytest.raises(ConfigError, match=r"classes\.json: no readable list of classes"):
        Predictor(run)


def test_weights_of_another_model_are_refused(trained):
    with pytest.raises(WeightsError, match="does not fit the model"):
        Predictor(trained.path, overrides=["model.name=tsn-r18"])


def test_weights_that_give_no_numbers_are_refused(trained, clip, tmp_path):
    weights = load_file(RunFolder(trained.path).best_weights)
    save_file(
        {name: value * float("nan") if value.is_floating_point() else value for name, value in weights.items()},
        tmp_path / "nan.safetensors",
    )
    broken = Predictor(trained.path, checkpoint=str(tmp_path / "nan.safetensors"))
    with pytest.raises(WeightsError, match=r"nan\.safetensors: the model gives scores that are no numbers"):
        broken([clip])


@pytest.mark.parametrize("device", ["nonsense", "cuda:99x"])
def test_an_unknown_device_is_refused(trained, device):
    with pytest.raises(ConfigError, match="no such device"):
        Predictor(trained.path, device=device)


def test_the_command_prints_each_file_with_its_scores(trained, clip):
    done = run(clip, "--run", trained.path, "--top", "2")
    assert done.returncode == 0, done.stderr
    path, first, second = done.stdout.splitlines()
    assert path == str(clip)
    for line in (first, second):
        score, name = line.split()
        assert name in CLASSES
        assert 0 <= float(score) <= 1


def test_the_command_goes_on_after_a_bad_file_and_exits_with_3(trained, clip, tmp_path):
    bad = tmp_path / "[bad].mp4"
    bad.write_text("no video")
    done = run(bad, clip, "--run", trained.path, "--json")
    assert done.returncode == 3
    assert f"error: {bad}: " in done.stderr
    answer = json.loads(done.stdout)
    assert answer["num_failed"] == 1
    assert [entry["error"] is None for entry in answer["files"]] == [False, True]
    assert answer["files"][1]["top"][0].keys() == {"label", "name", "score"}


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [(["--top", "0"], 2, "--top 0: must be at least 1"), (["--checkpoint", "none.safetensors"], 5, "no such file")],
)
def test_the_command_refuses_wrong_options(trained, clip, words, status, message):
    done = run(clip, "--run", trained.path, *words)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.val.modality=flow", "data.val.normalize={mean=[0.0, 0.0], std=[1.0, 1.0]}"],
            "modality = 'flow': files have RGB only",
        ),
        (["data.val.sampling={kind='key_time', length=4}"], "kind = 'key_time': files have no boxes"),
    ],
)
def test_a_pipeline_that_reads_what_files_do_not_have_is_refused(trained, overrides, message):
    with pytest.raises(ConfigError, match=message):
        Predictor(trained.path, overrides=overrides)


def test_an_untrimmed_pipeline_predicts_files_of_any_length_one_by_one(trained):
    sampling = "data.val.sampling={kind='untrimmed', length=4, clip_interval=5}"
    predictor = Predictor(trained.path, overrides=[sampling], num_threads=2)
    files = sorted((trained.clips / "val").rglob("*.mp4"))[:3]
    predictions = predictor(files, batch_size=2)
    assert [prediction.error for prediction in predictions] == [None] * 3
    assert len({prediction.num_frames for prediction in predictions}) > 1
