"""Starting a classifier from some rows of another one's."""

import json

import pytest
import torch

from vidflow.config.model import ModelConfig
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.weights import load_weights, read_head_rows


@pytest.fixture
def large(tmp_path):
    torch.manual_seed(0)
    model = build_model("videomae-tiny", num_classes=7)
    state = model.state_dict()
    state = {name.replace("head.fc.", "cls_head.fc_cls."): tensor for name, tensor in state.items()}
    torch.save({"state_dict": state}, tmp_path / "large.pth")
    return model


def test_each_class_starts_from_its_row(large, tmp_path):
    model = build_model("videomae-tiny", num_classes=3)
    report = load_weights(model, tmp_path / "large.pth", mode="finetune", head_rows=[5, 0, 6])
    assert report.replaced == ()
    torch.testing.assert_close(model.head.fc.weight, large.head.fc.weight[[5, 0, 6]], rtol=0, atol=0)
    torch.testing.assert_close(model.head.fc.bias, large.head.fc.bias[[5, 0, 6]], rtol=0, atol=0)
    torch.testing.assert_close(model.backbone.fc_norm.weight, large.backbone.fc_norm.weight)


def test_without_rows_another_class_count_starts_fresh(large, tmp_path):
    model = build_model("videomae-tiny", num_classes=3)
    assert load_weights(model, tmp_path / "large.pth", mode="finetune").replaced == ("head.fc.weight", "head.fc.bias")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1], "gives 2 rows, and the model's head.fc.* has 3"),
        ([0, 1, 7], "asks for row 7, and cls_head.fc_cls.* has rows 0 to 6"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_loaded(rows, message, large, tmp_path):
    model = build_model("videomae-tiny", num_classes=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_weights(model, tmp_path / "large.pth", mode="finetune", head_rows=rows)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_file_without_a_classifier_has_no_rows(large, tmp_path):
    backbone = {name: tensor for name, tensor in large.state_dict().items() if name.startswith("backbone.")}
    torch.save(backbone, tmp_path / "backbone.pth")
    with pytest.raises(WeightsError, match="has no classifier"):
        load_weights(large, tmp_path / "backbone.pth", mode="finetune", head_rows=[0, 1, 2])


def test_rows_are_read_from_json(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([3, 1, 2]))
    assert read_head_rows(str(path)) == [3, 1, 2]


@pytest.mark.parametrize("content", ["[]", "[1, -1]", "[1.5]", '["a"]', "{}", "[true]", "not json"])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"model\.head_rows"):
        read_head_rows(str(path))


def test_rows_without_weights_are_refused():
    with pytest.raises(ValueError, match="give load_from too"):
        ModelConfig(name="videomae-b", head_rows="rows.json")
