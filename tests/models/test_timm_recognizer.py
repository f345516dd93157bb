"""TSN over image models of timm, and our Swin against timm's."""

import builtins
import sys

import pytest
import torch

from vidflow.errors import ConfigError, MissingExtraError
from vidflow.models import build_model
from vidflow.models.backbones.swin2d import Swin2D, Swin2DConfig
from vidflow.models.frame_recognizer import FrameRecognizerConfig
from vidflow.models.tsn import TSN
from vidflow.models.weights import load_weights


@pytest.fixture(scope="module")
def timm():
    """timm needs torchvision for none of the models here, but imports it; a torchvision built for CUDA cannot register
    its operators beside a torch for the CPU, and this lets it go on without them."""
    register = torch.library.register_fake

    def tolerant(op, *args, **kwargs):
        if str(op).startswith("torchvision::"):
            return lambda function: function
        return register(op, *args, **kwargs)

    torch.library.register_fake = tolerant
    try:
        return pytest.importorskip("timm", reason="needs the extra 'timm'")
    finally:
        torch.library.register_fake = register


@torch.inference_mode()
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100"])
def test_any_image_model_classifies_clips(timm, name, make_batch):
    model = build_model(f"timm:{name}", num_classes=5).eval()
    assert list(model(make_batch(2, views=3, frames=2)).shape) == [2, 3, 5]


def test_it_learns(timm, make_batch):
    torch.manual_seed(0)
    model = build_model("timm:resnet18", num_classes=3, dropout=0.0).train()
    batch = make_batch(3, torch.tensor([0, 1, 2]), frames=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        loss = model.loss(batch)["cls_loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_other_channels_and_options_of_timm_can_be_asked_for(timm, make_batch):
    model = build_model("timm:resnet18", num_classes=3, in_channels=10, timm_options={"output_stride": 16}).eval()
    assert list(model(make_batch(1, channels=10)).shape) == [1, 1, 3]


@torch.inference_mode()
def test_our_swin_equals_timms_and_takes_its_weights(timm, make_batch, tmp_path):
    torch.manual_seed(0)
    options = {"img_size": 64, "window_size": 2, "embed_dim": 32, "depths": (2, 2, 18, 2), "num_heads": (1, 2, 4, 8)}
    theirs = timm.create_model("swin_base_patch4_window7_224", num_classes=0, **options).eval().double()
    ours = (
        Swin2D(Swin2DConfig(width=32, depths=options["depths"], heads=options["num_heads"], window=2)).eval().double()
    )
    ours.load_state_dict(theirs.state_dict())
    frames = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(frames, 1).mean((2, 3)), theirs(frames))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:resnet19", {}, "timm has no model 'resnet19'. Did you mean 'resnet18'?|'resnet1"),
        ("timm:zzzzzz", {}, "timm has no model 'zzzzzz'. It has"),
        ("timm:resnet18", {"droput": 0.1}, "no option 'droput'. Did you mean 'dropout'?"),
        ("timm:resnet18", {"dropout": 2.0}, r"dropout \(2.0\) must lie in"),
        ("timm:resnet18", {"timm_options": {"no_such": 1}}, "no_such"),
    ],
)
def test_bad_names_and_options_are_refused(timm, name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(name, num_classes=3, **options)


def test_without_timm_the_message_names_the_extra(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'")
        return imported(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'vidflow\[timm\]'"):
        build_model("timm:resnet18", num_classes=3)


def old_name(name):
    """As timm named Swin's layers before 0.9: patch merging ends a stage."""
    parts = name.split(".")
    if "downsample" in parts:
        parts[1] = str(int(parts[1]) - 1)
    return ".".join(parts)


def test_older_swin_files_load_with_their_merging_at_the_end_of_stages(tmp_path):
    torch.manual_seed(0)
    config = FrameRecognizerConfig(
        backbone=Swin2DConfig(width=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=2), num_classes=3
    )
    model, other = TSN(config), TSN(config)
    old = {
        old_name(key.removeprefix("backbone.")): value for key, value in model.state_dict().items() if "head" not in key
    }
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    old["head.weight"], old["head.bias"] = torch.zeros(1000, 128), torch.zeros(1000)
    torch.save({"model": old}, tmp_path / "swin_base_patch4_window7_224.pth")
    report = load_weights(other, tmp_path / "swin_base_patch4_window7_224.pth", mode="finetune")
    assert report.mismatched == ()
    assert report.missing == ("head.fc.weight", "head.fc.bias")
    torch.testing.assert_close(
        other.backbone.layers[2].downsample.reduction.weight, model.backbone.layers[2].downsample.reduction.weight
    )
