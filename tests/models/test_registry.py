"""Building models by name, and what is said when that does not work."""

import sys
import types

import pytest
import torch
from torch import nn

from vidflow.errors import ConfigError
from vidflow.models import MODELS, build_model
from vidflow.models.registry import Registry


def test_options_reach_the_model():
    model = build_model("tsm-tiny", num_classes=4, dropout=0.3, shift_div=4)
    assert (model.num_classes, model.head.dropout.p, model.backbone.layer1[0].before.shift_div) == (4, 0.3, 4)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ConfigError, match=r"no model 'tsm-r5'\. Did you mean 'tsm-r50'\?"):
        build_model("tsm-r5", num_classes=4)


def test_a_name_near_to_nothing_gets_the_list():
    with pytest.raises(ConfigError, match=r"no model 'qqqq'\. There are .*tsn-tiny"):
        build_model("qqqq", num_classes=4)


def test_an_unknown_option_gets_the_nearest_one():
    with pytest.raises(ConfigError, match=r"model 'tsn-tiny' has no option 'drop_out'\. Did you mean 'dropout'\?"):
        build_model("tsn-tiny", num_classes=4, drop_out=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes \(0\)"),
        ({"dropout": 1.0}, r"dropout \(1.0\)"),
        ({"in_channels": 0}, r"in_channels \(0\)"),
        ({"frozen_stages": 7}, r"frozen_stages \(7\)"),
        ({"shift_div": 1}, r"shift_div \(1\)"),
        ({"average_views": "max"}, r"average_views \('max'\)"),
        ({"multi_label": True, "label_smoothing": 0.1}, "label_smoothing"),
        ({"dropout": "much"}, "dropout|str"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_models_name(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_model("tsm-tiny", **({"num_classes": 4} | options))
    assert "model 'tsm-tiny'" in str(caught.value)


def test_a_name_can_be_given_once_only():
    registry = Registry()
    registry.add("a", object(), nn.Module)
    with pytest.raises(ValueError, match="there is a model 'a' already"):
        registry.add("a", object(), nn.Module)


def test_a_colon_marks_import_paths_only():
    with pytest.raises(ValueError, match="colon"):
        Registry().add("a:b", object(), nn.Module)


@pytest.fixture
def own_module(monkeypatch):
    module = types.ModuleType("somebodys_models")

    class Net(nn.Module):
        def __init__(self, num_classes, multi_label, width=3):
            super().__init__()
            self.fc = nn.Linear(width, num_classes)

    module.Net, module.number, module.nothing = Net, 3, lambda num_classes, multi_label: None
    monkeypatch.setitem(sys.modules, "somebodys_models", module)


@pytest.mark.usefixtures("own_module")
def test_a_model_of_ones_own_is_named_by_its_import_path():
    assert build_model("somebodys_models:Net", num_classes=4, width=7).fc.weight.shape == torch.Size([4, 7])


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("no_such_package.models:Net", {}, "cannot import 'no_such_package.models'"),
        ("somebodys_models:Nte", {}, "no class or function 'Nte'"),
        ("somebodys_models:number", {}, "no class or function 'number'"),
        ("somebodys_models:Net", {"depth": 3}, "depth"),
        ("somebodys_models:nothing", {}, "gives a NoneType"),
    ],
)
def test_an_import_path_that_does_not_work_says_why(path, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(path, num_classes=4, **options)


def test_names_say_the_family():
    assert all(name.split("-")[0] in ("tsn", "tsm") for name in MODELS if name.startswith("ts"))
    assert len(MODELS) == len(set(MODELS))
