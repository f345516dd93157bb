"""Weights of images in networks of clips, and files of 3D families that are recognised."""

from collections import OrderedDict

import pytest
import torch

from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.backbones.resnet import ResNet, ResNetConfig
from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.i3d import I3D
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizerConfig
from vidflow.models.weights import load_weights, read_checkpoint
from vidflow.models.weights.convert import convert, recognise
from vidflow.models.weights.inflation import inflate


@pytest.fixture
def images(tmp_path):
    """A file like torchvision's, of a small network of bottlenecks, and its tensors."""
    torch.manual_seed(2)
    network = ResNet(ResNetConfig(block="bottleneck", blocks=(1, 1, 1, 1), width=8))
    state = OrderedDict(network.state_dict()) | {"fc.weight": torch.ones(1000, 256), "fc.bias": torch.ones(1000)}
    torch.save(state, tmp_path / "resnet.pth")
    return tmp_path / "resnet.pth", state


def test_kernels_are_repeated_over_their_frames_and_divided_by_their_number(images):
    path, state = images
    model = build_model("slowonly-tiny", num_classes=3)
    report = load_weights(model, path, mode="finetune")
    assert (report.missing, report.mismatched) == (("head.fc.weight", "head.fc.bias"), ())
    assert report.unexpected == ("fc.weight", "fc.bias")
    own = model.backbone.state_dict()
    torch.testing.assert_close(own["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"][:, :, None])
    spanning = own["layer3.0.conv1.weight"]
    assert spanning.shape[2] == 3
    for frame in range(3):
        torch.testing.assert_close(spanning[:, :, frame], state["layer3.0.conv1.weight"] / 3)
    torch.testing.assert_close(own["layer3.0.bn1.running_var"], state["layer3.0.bn1.running_var"])


@pytest.mark.parametrize("name", ["tpn-slowonly-tiny", "tpn-tsm-tiny", "omnisource-slowonly-tiny"])
def test_parts_that_images_do_not_have_start_fresh(name, images):
    path, state = images
    model = build_model(name, num_classes=3)
    report = load_weights(model, path, mode="finetune")
    torch.testing.assert_close(
        model.backbone.layer1[0].conv3.weight.flatten(), state["layer1.0.conv3.weight"].flatten()
    )
    assert all(part.split(".")[0] in ("head", "neck", "auxiliary", "image_head") for part in report.replaced)


def test_non_local_blocks_start_fresh(images):
    path, state = images
    backbone = ResNet3DConfig(
        block="bottleneck",
        blocks=(1, 1, 1, 1),
        width=8,
        stem_kernel=(5, 7),
        non_local="gaussian",
        non_local_blocks=(False, True, False, False),
    )
    model = I3D(ResNet3DRecognizerConfig(backbone=backbone, num_classes=3))
    report = load_weights(model, path, mode="finetune")
    assert {name.rsplit(".", 2)[0] for name in report.replaced if "head" not in name} == {"backbone.layer2.0.after"}
    torch.testing.assert_close(model.backbone.conv1.weight.sum(2), state["conv1.weight"])


def test_images_are_no_model_for_evaluation(images):
    with pytest.raises(WeightsError, match="2 missing"):
        load_weights(build_model("slowonly-tiny", num_classes=3), images[0], mode="strict")


def test_a_whole_recognizer_of_frames_is_not_inflated(images):
    model = build_model("slowonly-tiny", num_classes=1000)
    tensors = {f"backbone.{name}": value for name, value in images[1].items() if not name.startswith("fc")}
    assert inflate(tensors, model.state_dict())["backbone.conv1.weight"].ndim == 5
    tensors["head.fc.weight"] = images[1]["fc.weight"]
    assert inflate(tensors, model.state_dict())["backbone.conv1.weight"].ndim == 4


def test_kernels_of_another_size_stay_for_the_message(images):
    path, _ = images
    with pytest.raises(WeightsError, match=r"conv1\.weight is \[8, 3, 7, 7\] in the file and \[16, 3, 1, 7, 7\]"):
        load_weights(build_model("slowonly-r50", num_classes=3, backbone=_wider()), path, mode="finetune")


def _wider():
    return ResNet3DConfig(block="bottleneck", blocks=(1, 1, 1, 1), width=16, stem_kernel=(1, 7))


def as_mmaction2(state):
    """MMAction2's names of a TSN's or C2D's state dict."""
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "head":
            parts[:2] = ["cls_head", "fc_cls"]
        elif parts[-3] == "downsample":
            parts[-2] = ("conv", "bn")[int(parts[-2])]
        else:
            layer = parts[-2]
            parts[-2:-1] = [f"conv{layer[2:]}", "bn"] if layer.startswith("bn") else [layer, "conv"]
        renamed[".".join(parts)] = value
    return renamed


@pytest.mark.parametrize(
    ("meta", "expected"), [({"cfg": "backbone=dict(depth=50, type='C2D'),"}, "c2d-r50"), ({}, "tsn-r50")]
)
def test_c2d_is_told_from_tsn_by_the_training_config(meta, expected, tmp_path):
    torch.manual_seed(0)
    state = as_mmaction2(build_model("c2d-r50", num_classes=4).state_dict())
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "in.pth")
    assert recognise(read_checkpoint(tmp_path / "in.pth")) == [expected]


@pytest.mark.parametrize("name", ["ipcsn-tiny", "x3d-tiny", "slowfast-tiny", "r2plus1d-tiny", "tpn-tsm-tiny"])
def test_our_own_files_round_trip_through_conversion(name, tmp_path):
    torch.manual_seed(0)
    model = build_model(name, num_classes=5)
    torch.save(model.state_dict(), tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert (report.model, report.options["num_classes"]) == (name, 5)
    other = build_model(name, num_classes=5)
    load_weights(other, tmp_path / "out.safetensors", mode="strict")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["c3d-tiny", "ircsn-tiny", "ipcsn-tiny"])
def test_backbones_alone_under_mmaction2s_names_are_weights_to_start_from(name, tmp_path):
    torch.manual_seed(0)
    model = build_model(name, num_classes=3)
    state = {}
    for key, value in model.backbone.state_dict().items():
        parts = key.split(".")
        if name == "c3d-tiny":
            parts[1:1] = ["conv"] if parts[0].startswith("conv") else []
        elif "downsample" in parts:
            parts[-2] = ("conv", "bn")[int(parts[-2])]
        elif parts[-2] == "bn2" or "conv2" in parts:  # a list of one or two convolutions, each with its BatchNorm
            last = "1" if name == "ipcsn-tiny" else "0"
            inside = parts[parts.index("conv2") + 1] if "conv2" in parts[:-2] else last
            place = (
                {"0": ["0", "conv"], "1": ["0", "bn"], "2": ["1", "conv"]}[inside] if "conv2" in parts[:-2] else None
            )
            kind = place or [last, "bn" if parts[-2] == "bn2" else "conv"]
            parts = [*parts[:2], "conv2", *kind, parts[-1]]
        else:
            parts[-2:-1] = [f"conv{parts[-2][2:]}", "bn"] if parts[-2].startswith("bn") else [parts[-2], "conv"]
        state[".".join(parts)] = value
    assert any(".conv." in key or key.startswith("conv1a.conv") for key in state)
    torch.save(state, tmp_path / "backbone.pth")
    other = build_model(name, num_classes=3)
    report = load_weights(other, tmp_path / "backbone.pth", mode="finetune")
    assert (report.unexpected, set(report.replaced)) == ((), {"head.fc.weight", "head.fc.bias"})
    own = other.backbone.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.backbone.state_dict().items())


def test_the_wrong_model_is_named(tmp_path):
    torch.save(build_model("ircsn-tiny", num_classes=2).state_dict(), tmp_path / "in.pth")
    with pytest.raises(WeightsError, match="is no ipcsn-tiny"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors", model="ipcsn-tiny")
    with pytest.raises(ConfigError, match="Did you mean"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors", model="ircsn-tinny")
