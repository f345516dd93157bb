import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.batch import Batch
from vidflow.errors import DataError
from vidflow.evaluation.classification import (
    ClassificationMetrics,
    confusion_matrix,
    macro_f1,
    mean_class_accuracy,
    top_k_accuracy,
)
from vidflow.evaluation.multi_label import MultiLabelMetrics, average_precision
from vidflow.predictions import ClassPredictions

CASES = {
    case["what"]: case for case in json.loads((Path(__file__).parents[2] / "data/parity/ops/metrics.json").read_text())
}


def scores_of(rule) -> np.ndarray:
    """Explicit scores, or the reference file's rule for random ones."""
    if isinstance(rule, list):
        return np.asarray(rule, np.float32)
    values = np.random.default_rng(zlib.crc32(rule["u"].encode())).random(rule["shape"], dtype=np.float32) * 2 - 1
    values = np.float32(rule.get("scale", 1)) * values + np.float32(rule.get("offset", 0))
    return values.round(rule["round"]) if "round" in rule else values


def batch_of(indices, labels, padding=None) -> Batch:
    count = len(indices)
    return Batch(
        ids=[str(i) for i in indices],
        indices=torch.tensor(indices),
        inputs={},
        targets={"labels": torch.as_tensor(labels)},
        padding=torch.tensor(padding if padding is not None else [False] * count),
    )


def fed(metrics, scores, labels, size=7):
    for start in range(0, len(scores), size):
        part = slice(start, start + size)
        metrics.update(
            ClassPredictions(torch.tensor(scores[part])), batch_of(list(range(len(scores)))[part], labels[part])
        )
    return metrics


def test_top_k_is_that_of_the_reference():
    case = CASES["top_k_accuracy"]
    scores, labels = scores_of(case["inputs"]["scores"]), np.array(case["inputs"]["labels"])
    assert [top_k_accuracy(scores, labels, k) for k in case["inputs"]["topk"]] == pytest.approx(case["outputs"]["acc"])


@pytest.mark.parametrize(
    "what", ["mean_class_accuracy", "mean_class_accuracy: class seen only in predictions counts as 0"]
)
def test_mean_class_accuracy_is_that_of_the_reference(what):
    case = CASES[what]
    scores, labels = scores_of(case["inputs"]["scores"]), np.array(case["inputs"]["labels"])
    matrix = confusion_matrix(scores.argmax(1), labels, scores.shape[1])
    assert mean_class_accuracy(matrix) == pytest.approx(case["outputs"]["acc"], rel=1e-6)


@pytest.mark.parametrize("what", ["confusion_matrix normalize=None", "ConfusionMatrix metric"])
def test_the_confusion_matrix_is_that_of_the_reference(what):
    case = CASES[what]
    scores, labels = scores_of(case["inputs"]["scores"]), np.array(case["inputs"]["labels"])
    assert fed(ClassificationMetrics(), scores, labels).matrix().tolist() == case["outputs"]["matrix"]


def test_the_metric_gives_the_numbers_of_the_reference():
    case = CASES["AccMetric default"]
    numbers = fed(
        ClassificationMetrics(), scores_of(case["inputs"]["scores"]), np.array(case["inputs"]["labels"])
    ).compute()
    expected = case["outputs"]
    assert numbers["top1"] == pytest.approx(expected["top1"])
    assert numbers["top5"] == pytest.approx(expected["top5"])
    assert numbers["mean_class_accuracy"] == pytest.approx(expected["mean1"], rel=1e-6)


@pytest.mark.parametrize(
    ("what", "without"),
    [
        ("mean_average_precision", 0),
        ("mean_average_precision, class 2 has no positives", 1),
        ("mean_average_precision with tied scores", 0),
    ],
)
def test_map_is_that_of_the_reference(what, without):
    case = CASES[what]
    numbers = fed(
        MultiLabelMetrics(), scores_of(case["inputs"]["scores"]), np.array(case["inputs"]["labels"], np.float32)
    ).compute()
    assert numbers == pytest.approx({"mAP": case["outputs"]["mAP"], "classes_without_positives": without}, rel=1e-6)


def test_map_of_the_whole_metric_is_that_of_the_reference():
    case = CASES["AccMetric multi-label"]
    numbers = fed(
        MultiLabelMetrics(), scores_of(case["inputs"]["scores"]), np.array(case["inputs"]["labels"], np.float32)
    ).compute()
    assert numbers["mAP"] == pytest.approx(case["outputs"]["mean_average_precision"], rel=1e-6)


def test_macro_f1_by_hand():
    # Class 0: precision 2/3, recall 1 -> 0.8; class 1: precision 1, recall 1/2 -> 2/3; class 2 never occurs.
    matrix = confusion_matrix(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 3)
    assert macro_f1(matrix) == pytest.approx((0.8 + 2 / 3) / 2)


def test_average_precision_by_hand():
    # Ranks of the positives: 1 and 3 -> (1/1 + 2/3) / 2.
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])) == pytest.approx(
        5 / 6
    )


def test_the_order_of_tied_samples_does_not_matter():
    scores, positive = np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, False, False, True])
    assert average_precision(scores, positive) == average_precision(scores, positive[[2, 1, 0, 3]])


def test_ties_count_alike_in_top_1_and_in_the_matrix():
    scores = np.array([[0.5, 0.5, 0.2], [0.0, 0.0, 0.0]], np.float32)
    numbers = fed(ClassificationMetrics(), scores, np.array([1, 0])).compute()
    assert numbers["top1"] == 0.5
    assert fed(ClassificationMetrics(), scores, np.array([1, 0])).matrix().trace() == 1


def test_top_5_of_three_classes_is_all_of_them():
    numbers = fed(ClassificationMetrics(), np.eye(3, dtype=np.float32), np.array([2, 1, 0])).compute()
    assert (numbers["top1"], numbers["top5"]) == (pytest.approx(1 / 3), 1.0)


def test_scores_that_are_no_numbers_never_count_as_right():
    assert top_k_accuracy(np.full((2, 3), np.nan, np.float32), np.array([0, 1]), 3) == 0.0


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_any_number_of_ranks_and_any_batch_size_give_the_same_numbers(ranks, size):
    rng = np.random.default_rng(0)
    scores, labels = rng.random((10, 4), dtype=np.float32), rng.integers(0, 4, 10)
    whole = fed(ClassificationMetrics(), scores, labels).compute()
    share = -(-10 // ranks)
    parts = []
    for rank in range(ranks):
        rows = [min(i, 9) for i in range(rank * share, (rank + 1) * share)]
        padding = [i > 9 for i in range(rank * share, (rank + 1) * share)]
        part = ClassificationMetrics()
        for start in range(0, share, size):
            chosen = slice(start, start + size)
            part.update(
                ClassPredictions(torch.tensor(scores[rows[chosen]])),
                batch_of(rows[chosen], labels[rows[chosen]], padding[chosen]),
            )
        parts.append(part)
    parts[0].merge(parts[1:])
    assert parts[0].compute() == whole
    assert len(parts[0]) == 10


def test_a_sample_that_comes_twice_counts_once():
    metrics = fed(ClassificationMetrics(), np.eye(2, dtype=np.float32), np.array([0, 0]))
    metrics.update(ClassPredictions(torch.eye(2)), batch_of([1, 1], [0, 0]))
    assert metrics.compute()["top1"] == 0.5


def test_padding_is_passed_over_even_where_its_index_is_new():
    metrics = ClassificationMetrics()
    metrics.update(ClassPredictions(torch.eye(2)), batch_of([0, 5], [0, 0], [False, True]))
    assert len(metrics) == 1


def test_map_refuses_single_labels():
    with pytest.raises(ValueError, match="not single labels"):
        fed(MultiLabelMetrics(), np.eye(3, dtype=np.float32), np.array([0, 1, 2])).compute()


def test_accuracy_refuses_multi_labels():
    with pytest.raises(ValueError, match="one label per sample"):
        fed(ClassificationMetrics(), np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)).compute()


def test_map_without_any_positive_is_an_error_and_not_a_number():
    with pytest.raises(DataError, match="none of 3 classes has a positive among 2 samples"):
        fed(MultiLabelMetrics(), np.eye(3, dtype=np.float32)[:2], np.zeros((2, 3), np.float32)).compute()


def test_samples_without_labels_are_negatives_of_all_classes():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], np.float32)
    labels = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    assert fed(MultiLabelMetrics(), scores, labels).compute()["mAP"] == pytest.approx((1 / 2 + 1) / 2)


@pytest.mark.parametrize("metrics", [ClassificationMetrics(), MultiLabelMetrics()])
def test_nothing_collected_is_an_error(metrics):
    with pytest.raises(ValueError, match="no predictions"):
        metrics.compute()


def test_predictions_that_are_not_the_batchs_are_refused():
    with pytest.raises(ValueError, match="3 predictions and 2 labels"):
        ClassificationMetrics().update(ClassPredictions(torch.eye(3)), batch_of([0, 1], [0, 1]))
