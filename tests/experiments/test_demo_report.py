"""The table that ends the demo counts what it says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidflow.experiments.demo_report import left_or_right, top1, write_clips
from vidflow.inference import ClassScore, FilePrediction
from vidflow.media.probe import probe_video


def _prediction(true: str, **scores: float) -> FilePrediction:
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return FilePrediction(f"/clips/{true}/000.mp4", tuple(ClassScore(i, *item) for i, item in enumerate(ranked)))


def test_only_the_two_scores_of_left_and_right_count():
    predictions = [
        _prediction("left", up=0.9, left=0.06, right=0.04),
        _prediction("left", up=0.0, left=0.4, right=0.6),
        _prediction("right", up=0.5, left=0.2, right=0.3),
        _prediction("right", up=0.0, left=0.1, right=0.9),
    ]
    assert left_or_right(predictions) == 0.75


@pytest.mark.parametrize("favourite", ["left", "right"])
def test_a_model_that_always_says_the_same_is_right_half_of_the_time(favourite):
    scores = {"left": 0.1, "right": 0.1} | {favourite: 0.8}
    assert left_or_right([_prediction("left", **scores), _prediction("right", **scores)]) == 0.5


def test_a_clip_that_fails_is_not_counted_away():
    with pytest.raises(RuntimeError, match="broken"):
        left_or_right([FilePrediction("/clips/left/000.mp4", error="broken")])


def test_top1_counts_samples_whose_best_class_is_their_label(tmp_path):
    table = pa.table({"labels": [[0], [1], [2], [1]], "predicted": [0, 1, 1, 2], "scores": [[0.0]] * 4})
    pq.write_table(table, tmp_path / "scores.parquet")
    assert top1(tmp_path / "scores.parquet") == (0.5, 4)


def test_fresh_clips_lie_below_their_classes(tmp_path):
    paths = write_clips(tmp_path, 2, size=32)
    assert [path.relative_to(tmp_path) for path in paths] == [
        Path(label) / f"{number:03d}.mp4" for label in ("left", "right") for number in range(2)
    ]
    assert all(probe_video(path).num_frames >= 20 for path in paths)
