"""Parameter groups, against those that MMAction2 1.2.0 makes for TSM-R50 (lr 0.02, weight decay 1e-4)."""

import pytest
import torch
from torch import nn

from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.param_groups import param_groups

# (number of tensors, factor of lr, factor of decay) in the order of the groups; empty groups are left out by us.
MMACTION2_TSM_R50 = {
    "tsm_fc_lr5": [(1, 1, 1), (0, 2, 0), (52, 1, 1), (0, 2, 0), (106, 1, 0), (1, 5, 1), (1, 10, 0)],
    "tsm": [(1, 1, 1), (0, 2, 0), (53, 1, 1), (1, 2, 0), (106, 1, 0), (0, 5, 1), (0, 10, 0)],
}


@pytest.fixture(scope="module")
def tsm_r50():
    with torch.device("meta"):
        return build_model("tsm-r50", num_classes=400)


@pytest.mark.parametrize("rule", MMACTION2_TSM_R50)
def test_groups_equal_the_references(rule, tsm_r50):
    groups = tsm_r50.param_groups(0.02, 1e-4, rule)
    expected = [(n, 0.02 * lr, 1e-4 * decay) for n, lr, decay in MMACTION2_TSM_R50[rule] if n]
    assert [(len(g["params"]), g["lr"], g["weight_decay"]) for g in groups] == [pytest.approx(row) for row in expected]


def test_each_parameter_is_in_the_group_of_its_kind(tsm_r50):
    groups = {g["name"]: {id(p) for p in g["params"]} for g in tsm_r50.param_groups(0.02, 1e-4, "tsm_fc_lr5")}
    named = dict(tsm_r50.named_parameters())
    assert groups["first_conv_weight"] == {id(named["backbone.conv1.weight"])}
    assert id(named["backbone.layer1.0.conv1.weight"]) in groups["weight"]
    assert id(named["backbone.layer4.0.downsample.1.bias"]) in groups["norm"]
    assert groups["linear_weight_lr5"] == {id(named["head.fc.weight"])}
    assert groups["linear_bias_lr10"] == {id(named["head.fc.bias"])}


@pytest.mark.parametrize("rule", ["default", "tsm", "tsm_fc_lr5"])
def test_every_parameter_is_in_exactly_one_group_and_an_optimizer_takes_them(rule):
    model = build_model("tsm-tiny", num_classes=3)
    groups = model.param_groups(0.1, 1e-4, rule)
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    optimizer = torch.optim.SGD(groups, lr=0.1)
    assert [g["lr"] for g in optimizer.param_groups] == [g["lr"] for g in groups]


def test_fixed_parameters_are_left_out():
    model = build_model("tsm-tiny", num_classes=3, frozen_stages=4)
    assert [g["name"] for g in model.param_groups(0.1, 0, "tsm_fc_lr5")] == ["linear_weight_lr5", "linear_bias_lr10"]
    assert len(model.param_groups(0.1, 0, "default")[0]["params"]) == 2


def test_biases_of_convolutions_learn_faster_without_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1))
    groups = {g["name"]: (g["lr"], g["weight_decay"]) for g in param_groups(model, 1.0, 0.5, "tsm")}
    assert groups == {"first_conv_weight": (1, 0.5), "first_conv_bias": (2, 0), "weight": (1, 0.5), "bias": (2, 0)}


def test_each_family_has_the_rule_of_its_published_settings():
    assert [build_model(f"{name}-tiny", num_classes=2).param_groups_rule() for name in ("tsn", "tsm")] == [
        "default",
        "tsm_fc_lr5",
    ]


def test_a_layer_that_the_rule_does_not_know_is_named():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm(4))
    with pytest.raises(ConfigError, match=r"LayerNorm \(1\)"):
        param_groups(model, 0.1, 0, "tsm")


def test_an_unknown_rule_gets_the_list():
    with pytest.raises(ConfigError, match="no param rule 'tsn'; there are default, tsm, tsm_fc_lr5"):
        param_groups(nn.Linear(2, 2), 0.1, 0, "tsn")


def test_only_the_heads_linear_layers_learn_faster():
    model = build_model("tin-tiny", num_classes=3)
    named = dict(model.named_parameters())
    groups = {g["name"]: {id(p) for p in g["params"]} for g in model.param_groups(0.1, 1e-4, "tsm_fc_lr5")}
    assert groups["linear_weight_lr5"] == {id(named["head.fc.weight"])}
    inside = "backbone.layer1.0.before.distance_fc1"
    assert id(named[f"{inside}.weight"]) in groups["weight"]
    assert id(named[f"{inside}.bias"]) in groups["bias"]
