"""Parameter groups of transformers, against those that MMAction2 1.2.0 makes."""

from collections import Counter

import pytest
import torch
from torch import nn

from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.param_groups import param_groups


def on_meta(name):
    with torch.device("meta"):
        return build_model(name, num_classes=400)


def counts(groups, lr, weight_decay):
    """Factor of lr and factor of decay -> number of tensors."""
    found: Counter[tuple[float, float]] = Counter()
    for group in groups:
        found[round(group["lr"] / lr, 9), round(group["weight_decay"] / weight_decay, 9)] += len(group["params"])
    return dict(found)


def test_swin_groups_equal_the_references():
    groups = on_meta("swin-tiny").param_groups(1e-3, 0.02)
    assert counts(groups, 1e-3, 0.02) == {(0.1, 0): 70, (0.1, 1): 101, (1, 1): 2}


def test_groups_without_decay_of_norms_and_biases_equal_the_references():
    groups = on_meta("mvit-small").param_groups(1.6e-3, 0.05)
    assert counts(groups, 1.6e-3, 0.05) == {(1, 0): 231, (1, 1): 166}


def test_groups_of_layer_decay_equal_the_references():
    groups = {g["name"]: g for g in on_meta("mvit-small-maskfeat").param_groups(1e-3, 0.05, "layer_decay_0.75")}
    assert len(groups) == 36
    # Layer -> scale and numbers of tensors with and without decay; blocks 1, 3 and 4 of the reference.
    for layer, (scale, decay, no_decay) in {
        0: (0.007516947, 2, 1),
        1: (0.0100226, 11, 15),
        2: (0.01336346, 10, 14),
        3: (0.01781795, 11, 15),
        4: (0.02375726, 10, 14),
    }.items():
        for kind, number, factor in (("decay", decay, 1), ("no_decay", no_decay, 0)):
            group = groups[f"layer_{layer}_{kind}"]
            assert group["lr"] == pytest.approx(1e-3 * scale, rel=1e-6)
            assert group["weight_decay"] == 0.05 * factor
            assert len(group["params"]) == number
    assert groups["layer_17_decay"]["lr"] == 1e-3


def test_timesformers_tables_do_not_decay():
    model = on_meta("timesformer-divided")
    free = next(g for g in model.param_groups(1.0, 0.5) if g["name"] == "embedding")
    assert free["weight_decay"] == 0
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in free["params"]} == {f"backbone.{t}" for t in ("cls_token", "pos_embed", "time_embed")}


@pytest.mark.parametrize("rule", ["no_norm_bias_decay", "no_embedding_decay", "swin", "layer_decay_0.9"])
def test_every_parameter_is_in_exactly_one_group(rule):
    model = build_model("mvit-tiny", num_classes=3)
    ids = [id(p) for g in model.param_groups(0.1, 1e-4, rule) for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_batch_norms_are_norms_too():
    model = nn.Sequential(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3), nn.GroupNorm(1, 3))
    groups = {g["name"]: len(g["params"]) for g in param_groups(model, 1.0, 0.1, "no_norm_bias_decay")}
    assert groups == {"decay": 1, "no_decay": 5}


def test_layer_decay_needs_blocks():
    with pytest.raises(ConfigError, match=r"layer_decay_.* is for models with a list 'backbone\.blocks'"):
        param_groups(nn.Linear(2, 2), 0.1, 0, "layer_decay_0.75")


@pytest.mark.parametrize("rule", ["layer_decay_1.5", "layer_decay_", "layer_decay", "Swin"])
def test_rules_that_are_misspelt_get_the_list(rule):
    with pytest.raises(ConfigError, match=rf"no param rule '{rule}'; there are .*swin, .*layer_decay_0\.75"):
        param_groups(nn.Linear(2, 2), 0.1, 0, rule)
