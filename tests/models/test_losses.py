"""Losses of class scores, against the values of MMAction2 1.2.0, and what their settings refuse."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.losses import (
    BinaryCrossEntropy,
    CategoryBinaryCrossEntropy,
    ClassBalancedFocal,
    CrossEntropy,
    make_loss,
)

FOLDER = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data" / "parity"))
CASES = {case["what"]: case for case in json.loads((FOLDER / "ops" / "losses.json").read_text())}


def named(*starts):
    return [what for what in CASES if what.startswith(starts)]


def tensor(spec):
    """A list, or an array that a rule makes."""
    if not isinstance(spec, dict):
        return torch.tensor(spec)
    rng = np.random.default_rng(zlib.crc32(spec["u"].encode()))
    values = rng.random(spec["shape"], dtype=np.float32) * 2 - 1
    values = values * np.float32(spec["scale"]) + np.float32(spec["offset"])
    if "then" in spec:
        assert spec["then"] == "divide each row by its sum"
        values /= values.sum(axis=1, keepdims=True)
    return torch.from_numpy(values)


@pytest.mark.parametrize("what", named("CrossEntropyLoss hard", "CrossEntropyLoss soft"))
def test_cross_entropy_equals_the_reference_with_its_gradient(what):
    inputs, outputs = CASES[what]["inputs"], CASES[what]["outputs"]
    scores = tensor(inputs["score"]).requires_grad_()
    loss = CrossEntropy(5, class_weight=inputs["class_weight"])(scores, tensor(inputs["label"])) * inputs["loss_weight"]
    loss.backward()
    assert loss.item() == pytest.approx(outputs["loss"], rel=1e-5)
    torch.testing.assert_close(scores.grad[0], torch.tensor(outputs["grad_row0"]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "what",
    [
        what
        for what in named("classification head loss, hard", "classification head loss, soft")
        if "batch 1" not in what
    ],
)
def test_smoothed_labels_equal_the_reference(what):
    inputs = CASES[what]["inputs"]
    loss = CrossEntropy(5, label_smoothing=inputs.get("label_smooth_eps", 0.0))
    weighted = CrossEntropy(5, class_weight=[1.0] * 5, label_smoothing=inputs.get("label_smooth_eps", 0.0))
    scores, labels = tensor(inputs["score"]), tensor(inputs["label"])
    assert loss(scores, labels).item() == pytest.approx(CASES[what]["outputs"]["loss_cls"], rel=1e-5)
    torch.testing.assert_close(weighted(scores, labels), loss(scores, labels))


@pytest.mark.parametrize("what", named("BCELossWithLogits"))
def test_binary_cross_entropy_equals_the_reference(what):
    inputs = CASES[what]["inputs"]
    loss = BinaryCrossEntropy(5, class_weight=inputs["class_weight"])(tensor(inputs["score"]), tensor(inputs["label"]))
    assert loss.item() == pytest.approx(CASES[what]["outputs"]["loss"], rel=1e-5)


@pytest.mark.parametrize("what", named("CBFocalLoss"))
def test_class_balanced_focal_loss_equals_the_reference(what):
    inputs, outputs = CASES[what]["inputs"], CASES[what]["outputs"]
    loss = ClassBalancedFocal(
        5, samples_per_class=inputs["samples_per_cls"], beta=inputs["beta"], gamma=inputs["gamma"]
    )
    scores, labels = tensor(inputs["score"]), tensor(inputs["label"])
    assert loss(scores, labels).item() == pytest.approx(outputs["loss"], rel=1e-5)
    torch.testing.assert_close(loss.class_weight, torch.tensor(outputs["class_weights"]), rtol=1e-5, atol=1e-7)
    soft = torch.nn.functional.one_hot(labels, 5).float()
    torch.testing.assert_close(loss(scores, soft), loss(scores, labels))


@pytest.mark.parametrize("what", [what for what in named("HVULoss") if "mean" in what])
def test_losses_over_categories_equal_the_reference(what):
    inputs = CASES[what]["inputs"]
    known = torch.tensor(inputs["category_mask"])
    weights = dict(zip(inputs["categories"], inputs["category_loss_weights"], strict=True))
    loss = CategoryBinaryCrossEntropy(
        9,
        categories=dict(zip(inputs["categories"], inputs["category_nums"], strict=True)),
        category_weights=weights if inputs["loss_type"] == "individual" else None,
    )
    value = loss(
        tensor(inputs["score"]), tensor(inputs["label"]), known if inputs["with_mask"] else torch.ones_like(known)
    )
    expected = CASES[what]["outputs"]["loss_cls"]
    assert value.item() * inputs["loss_weight"] == pytest.approx(expected, rel=1e-5)


def test_a_category_without_labels_does_not_count_for_its_sample():
    loss = CategoryBinaryCrossEntropy(4, categories={"action": 2, "scene": 2})
    scores = torch.tensor([[0.3, -1.0, 5.0, 5.0]], requires_grad=True)
    loss(scores, torch.tensor([[1.0, 0.0, 0.0, 0.0]])).backward()
    assert (scores.grad[0] != 0).tolist() == [True, True, False, False]
    nothing = loss(scores, torch.zeros(1, 4))
    assert nothing.item() == 0
    weighted = CategoryBinaryCrossEntropy(4, categories={"action": 2, "scene": 2}, category_weights={"scene": 3})
    assert weighted(scores, torch.zeros(1, 4)).item() == 0


def test_a_model_takes_its_loss_from_its_options(make_batch):
    settings = {"kind": "cross_entropy", "class_weight": [1.0, 0.0, 2.0]}
    model = build_model("tsn-tiny", num_classes=3, loss=settings).eval()
    batch = make_batch(3, torch.tensor([0, 1, 2]))
    per_sample = -model(batch)[:, 0].log_softmax(dim=1)
    expected = (per_sample[0, 0] + 2 * per_sample[2, 2]) / 3
    torch.testing.assert_close(model.loss(batch)["cls_loss"], expected)
    assert [name for name in model.state_dict() if "weight" in name and "criterion" in name] == []


@pytest.mark.parametrize(
    ("multi_label", "settings", "message"),
    [
        (False, {"kind": "focal"}, r"loss\.kind \('focal'\) must be one of cross_entropy"),
        (False, {}, r"loss\.kind \(None\) must be one of"),
        (False, {"kind": "binary_cross_entropy"}, "not for a data set of one label per sample"),
        (True, {"kind": "cross_entropy"}, "not for a data set of several labels per sample"),
        (False, {"kind": "cross_entropy", "weights": [1, 2, 3]}, "unexpected keyword argument 'weights'"),
        (False, {"kind": "cross_entropy", "class_weight": [1, 2]}, "has 2 numbers, the model has 3 classes"),
        (False, {"kind": "cross_entropy", "class_weight": [1, 2, -1]}, "must be at least 0, not -1"),
        (False, {"kind": "cross_entropy", "class_weight": ["a", 2, 1]}, "must be a list of 3 numbers"),
        (False, {"kind": "class_balanced_focal"}, "missing 1 required keyword-only argument: 'samples_per_class'"),
        (False, {"kind": "class_balanced_focal", "samples_per_class": [1, 0, 2]}, "must be positive, not 0"),
        (False, {"kind": "class_balanced_focal", "samples_per_class": [1, 1, 2], "beta": 1.0}, r"beta \(1\.0\)"),
        (False, {"kind": "class_balanced_focal", "samples_per_class": [1, 1, 2], "gamma": -1}, r"gamma \(-1\)"),
        (True, {"kind": "category_binary_cross_entropy", "categories": {"a": 1}}, "add up to 3 classes"),
        (
            True,
            {"kind": "category_binary_cross_entropy", "categories": {"a": 3}, "category_weights": {"b": 1}},
            "category_weights names b; there are a",
        ),
        (
            True,
            {"kind": "category_binary_cross_entropy", "categories": {"a": 3}, "category_weights": {"a": 0}},
            "must be positive",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(multi_label, settings, message):
    with pytest.raises(ConfigError, match=f"model 'tsn-tiny': .*{message}"):
        build_model("tsn-tiny", num_classes=3, multi_label=multi_label, loss=settings)


def test_smoothing_is_for_cross_entropy_only():
    with pytest.raises(ValueError, match=r"label_smoothing \(0\.1\) is not for loss\.kind = 'class_balanced_focal'"):
        make_loss(
            {"kind": "class_balanced_focal", "samples_per_class": [1, 2]},
            num_classes=2,
            multi_label=False,
            label_smoothing=0.1,
        )
