"""A sample that could not be read counts as wrong in every number, whatever the model says of its zeros."""

import numpy as np
import pytest
import torch

from vidflow.batch import Batch, SkippedSample
from vidflow.evaluation.classification import ClassificationMetrics
from vidflow.evaluation.multi_label import MultiLabelMetrics, average_precision
from vidflow.predictions import ClassPredictions


def batch_of(indices, labels, missed=(), padding=None):
    return Batch(
        ids=[f"id {i}" for i in indices],
        indices=torch.tensor(indices),
        inputs={},
        targets={"labels": torch.as_tensor(labels)},
        padding=torch.tensor(padding or [False] * len(indices)),
        skipped=tuple(SkippedSample(row, f"{row}", f"id {indices[row]}", "broken") for row in missed),
    )


LABELS = [0, 0, 1, 1, 2, 2]
RIGHT = np.eye(3, dtype=np.float32)[LABELS]


def metrics_with(missed):
    metrics = ClassificationMetrics()
    metrics.update(ClassPredictions(torch.tensor(RIGHT)), batch_of(range(6), LABELS, missed))
    return metrics


def test_a_missed_sample_of_the_first_class_is_wrong_too():
    found = metrics_with([0]).compute()
    assert found["top1"] == found["top5"] == pytest.approx(5 / 6)
    assert found["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found["num_missed"] == 1


def test_a_class_of_which_all_samples_are_missed_counts_as_zero():
    found = metrics_with([4, 5]).compute()
    assert found["mean_class_accuracy"] == found["macro_f1"] == found["top1"] == pytest.approx(2 / 3)


def test_nothing_missed_is_not_mentioned():
    assert "num_missed" not in metrics_with([]).compute()


def test_where_all_is_missed_every_number_is_zero():
    found = metrics_with(range(6)).compute()
    assert found == {"top1": 0, "top5": 0, "mean_class_accuracy": 0, "macro_f1": 0, "num_missed": 6}


def test_the_models_tensor_is_left_alone():
    scores = torch.tensor(RIGHT)
    ClassificationMetrics().update(ClassPredictions(scores), batch_of(range(6), LABELS, [1]))
    assert scores.isfinite().all()


def test_ranks_together_count_a_missed_sample_once_and_padding_never():
    ranks = [ClassificationMetrics(), ClassificationMetrics()]
    ranks[0].update(ClassPredictions(torch.tensor(RIGHT[:3])), batch_of([0, 1, 2], LABELS[:3], [1]))
    padding = [False, True, True]
    ranks[1].update(ClassPredictions(torch.tensor(RIGHT[[3, 3, 1]])), batch_of([3, 3, 1], [1, 1, 0], [1, 2], padding))
    ranks[0].merge(ranks[1:])
    found = ranks[0].compute()
    assert found["num_missed"] == 1
    assert found["top1"] == pytest.approx(3 / 4)
    assert [sample.id for sample in ranks[0].missed.values()] == ["id 1"]


def test_map_never_finds_a_missed_positive():
    scores = np.array([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2], [0.1, 0.9]], np.float32)
    labels = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    metrics = MultiLabelMetrics()
    metrics.update(ClassPredictions(torch.tensor(scores)), batch_of(range(4), labels, [2]))
    found = metrics.compute()
    first = average_precision(scores[[0, 1, 3], 0], labels[[0, 1, 3], 0] > 0.5) * 2 / 3
    second = average_precision(scores[[0, 1, 3], 1], labels[[0, 1, 3], 1] > 0.5)
    assert found["mAP"] == pytest.approx((first + second) / 2)
    assert found["num_missed"] == 1


def test_a_class_whose_only_positive_is_missed_has_no_precision():
    metrics = MultiLabelMetrics()
    labels = np.array([[1, 0], [0, 1]], np.float32)
    metrics.update(ClassPredictions(torch.tensor([[0.9, 0.1], [0.2, 0.8]])), batch_of([0, 1], labels, [0]))
    assert metrics.compute()["mAP"] == pytest.approx(0.5)
