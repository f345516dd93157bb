"""Distances between a student's and a teacher's class scores, against NumPy."""

import numpy as np
import pytest
import torch

from vidflow.models.distillation import LOSSES, correlation_distance, divergence


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 7, generator=generator, dtype=torch.float64) for _ in range(2)]


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_a_student_that_says_the_same_is_at_no_distance(loss, scores):
    assert loss(scores[0], scores[0] + 3.0, 2.0).item() == pytest.approx(
        0, abs=1e-5
    )  # the epsilon of rows without spread
    assert loss(*scores, 2.0).item() > 0.1


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_is_that_of_softened_probabilities(scores, temperature):
    p, q = (softmax(s.numpy() / temperature) for s in (scores[1], scores[0]))
    expected = temperature**2 * (p * np.log(p / q)).sum(1).mean()
    assert divergence(*scores, temperature).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_correlation_is_pearsons_of_samples_and_of_classes(scores, temperature):
    a, b = (softmax(s.numpy() / temperature) for s in scores)
    inter = 1 - np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    intra = 1 - np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])
    expected = temperature**2 * (inter + intra)
    assert correlation_distance(*scores, temperature).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_a_single_sample_gives_finite_gradients(loss):
    student = torch.randn(1, 4, requires_grad=True)
    loss(student, torch.randn(1, 4), 1.0).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0
