"""MobileOne's branches joined for deployment."""

import copy
import json

import pytest
import safetensors
import torch
from torch import nn
from typer.testing import CliRunner

from vidflow.cli.main import app
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.backbones.mobileone import MobileOne, MobileOneConfig
from vidflow.models.reparameterize import deploy_name, reparameterize
from vidflow.models.weights import load_weights
from vidflow.models.weights.convert import convert

SMALL = MobileOneConfig(
    widths=(1.0, 1.0, 1.0, 1.0), channels=(16, 16, 32, 32), blocks=(1, 2, 2, 1), branches=3, gated=(0, 0, 1, 1)
)


@torch.no_grad()
def unlike_at_birth(model):
    """Norms with statistics of their own, as after training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.1)
    return model


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return unlike_at_birth(MobileOne(SMALL)).eval().double()


@torch.no_grad()
def test_joined_branches_give_the_same_features(backbone):
    frames = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = backbone(frames, 1)
    assert reparameterize(backbone) == 1 + 2 * 6
    torch.testing.assert_close(backbone(frames, 1), expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


def test_joining_twice_changes_nothing(backbone):
    reparameterize(backbone)
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    reparameterize(backbone)
    assert state.keys() == backbone.state_dict().keys()


@torch.no_grad()
def test_a_converted_file_is_the_deployed_models(make_batch, tmp_path):
    torch.manual_seed(0)
    model = unlike_at_birth(build_model("tsm-mobileone-s4", num_classes=4)).eval()
    torch.save(model.state_dict(), tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", tmp_path / "out.safetensors", model="tsm-mobileone-s4", deploy=True)
    assert report.model == "tsm-mobileone-s4-deploy"
    with safetensors.safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata()["vidflow_model"] == "tsm-mobileone-s4-deploy"
    deployed = build_model("tsm-mobileone-s4-deploy", num_classes=4).eval()
    load_weights(deployed, tmp_path / "out.safetensors", mode="strict")
    batch = make_batch(1, frames=2, size=64)
    torch.testing.assert_close(deployed(batch), model(batch), rtol=1e-3, atol=1e-4)
    assert sum(p.numel() for p in deployed.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_model_without_branches_has_no_form_for_deployment(tmp_path):
    model = build_model("tsm-tiny", num_classes=4)
    torch.save(copy.deepcopy(model.state_dict()), tmp_path / "in.pth")
    with pytest.raises(ConfigError, match=r"'tsm-tiny' has no form for deployment .* tsm-mobileone-s4,"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors", model="tsm-tiny", deploy=True)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_deployed_model_cannot_be_deployed_again():
    with pytest.raises(ConfigError, match="has no form for deployment of its own"):
        deploy_name("tsn-mobileone-s4-deploy")


def test_the_command_says_whose_weights_it_wrote(tmp_path):
    torch.save(build_model("tsn-mobileone-s4", num_classes=4).state_dict(), tmp_path / "in.pth")
    words = ["convert", str(tmp_path / "in.pth"), str(tmp_path / "out.safetensors"), "--deploy", "--json"]
    done = CliRunner().invoke(app, [*words, "--model", "tsn-mobileone-s4"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == "tsn-mobileone-s4-deploy"
