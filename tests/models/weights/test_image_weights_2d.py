"""ImageNet weights of other projects as the start of 2D video models."""

import re
from pathlib import Path

import pytest
import torch

from vidflow.models import build_model
from vidflow.models.backbones.densenet import DenseNetConfig
from vidflow.models.frame_recognizer import FrameRecognizerConfig
from vidflow.models.tsn import TSN
from vidflow.models.weights import load_weights

PARITY = Path(__file__).parents[2] / "data" / "parity"
FRESH = ("head.fc.weight", "head.fc.bias")


def as_image_weights(state, head):
    """MMAction2's names of a video model -> those of mmpretrain's image model: no shift, another classifier."""
    image = {re.sub(r"\.net\b", "", name): tensor for name, tensor in state.items() if not name.startswith("cls_head")}
    return image | {f"{head}.weight": torch.zeros(1000, 8), f"{head}.bias": torch.zeros(1000)}


@pytest.mark.parametrize(
    ("config", "name", "probe"),
    [
        (
            "tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb",
            "tsm-mobilenetv2",
            ("backbone.layer2.1.conv.0.conv.weight", "backbone.layer2.1.conv.0.0.weight"),
        ),
        (
            "tsn_imagenet-pretrained-mobileone-s4_8xb32-1x1x8-100e_kinetics400-rgb",
            "tsm-mobileone-s4",
            ("backbone.stage1.0.branch_scale.norm.bias", "backbone.stage1.0.scale.1.bias"),
        ),
    ],
)
def test_mmpretrains_files_fill_the_backbone(config, name, probe, load_reference, tmp_path):
    state = as_image_weights(load_reference(PARITY / f"{config}.json.gz").state_dict(), "head.fc")
    torch.save({"state_dict": state}, tmp_path / "image.pth")
    model = build_model(name, num_classes=3)
    report = load_weights(model, tmp_path / "image.pth", mode="finetune")
    assert report.replaced == FRESH
    assert set(report.missing) <= set(FRESH)
    theirs, ours = probe
    torch.testing.assert_close(model.state_dict()[ours], state[theirs], rtol=0, atol=0)


def test_torchvisions_older_densenet_files_fill_the_backbone(tmp_path):
    torch.manual_seed(0)
    config = FrameRecognizerConfig(
        backbone=DenseNetConfig(growth=8, blocks=(2, 2, 2, 2), stem_channels=16), num_classes=3
    )
    model, other = TSN(config), TSN(config)
    # "norm.1" instead of "norm1" inside the layers, as in densenet161-8d451a50.pth.
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name.removeprefix("backbone.")): tensor
        for name, tensor in model.state_dict().items()
        if name not in FRESH
    }
    assert "features.denseblock1.denselayer2.norm.1.weight" in old
    torch.save(
        old | {"classifier.weight": torch.zeros(1000, 8), "classifier.bias": torch.zeros(1000)}, tmp_path / "d.pth"
    )
    report = load_weights(other, tmp_path / "d.pth", mode="finetune")
    assert set(report.missing) == set(report.replaced) == set(FRESH)
    layer = "backbone.features.denseblock2.denselayer1.conv2.weight"
    torch.testing.assert_close(other.state_dict()[layer], model.state_dict()[layer], rtol=0, atol=0)


@pytest.mark.parametrize(("name", "added"), [("tin-tiny", "before"), ("tanet-tiny", "inside")])
def test_what_a_family_adds_to_an_image_network_starts_fresh(name, added, tmp_path):
    torch.manual_seed(0)
    image = {
        key.removeprefix("backbone."): value
        for key, value in build_model("tsn-tiny", num_classes=3).state_dict().items()
        if key not in FRESH
    }
    torch.save(image, tmp_path / "image.pth")
    model = build_model(name, num_classes=3)
    report = load_weights(model, tmp_path / "image.pth", mode="finetune")
    assert all(f".{added}." in missing or missing in FRESH for missing in report.missing)
    assert any(f".{added}." in missing for missing in report.missing)
    torch.testing.assert_close(model.backbone.layer2[0].conv1.weight, image["layer2.0.conv1.weight"], rtol=0, atol=0)
