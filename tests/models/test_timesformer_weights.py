"""Weights of image transformers and of other clip lengths in TimeSformer."""

import pytest
import torch

from vidflow.errors import WeightsError
from vidflow.models import build_model
from vidflow.models.timesformer import fit_table
from vidflow.models.weights import load_weights


@pytest.fixture
def image_weights(tmp_path):
    """A file of a ViT for 16x16 pixels under timm's names, and its tensors."""
    torch.manual_seed(0)
    vit = build_model("timesformer-tiny", num_classes=3, attention="space", image_size=16).backbone
    tensors = {name: torch.randn_like(tensor) for name, tensor in vit.state_dict().items()}
    path = tmp_path / "vit.pth"
    torch.save(tensors | {"head.weight": torch.zeros(1000, 48), "head.bias": torch.zeros(1000)}, path)
    return path, tensors


def test_attention_over_time_starts_as_attention_over_space(image_weights):
    path, tensors = image_weights
    model = build_model("timesformer-tiny", num_classes=3)
    report = load_weights(model, path, mode="finetune")
    state = model.state_dict()
    for part in ("attn.qkv.weight", "attn.proj.bias", "norm1.weight"):
        assert torch.equal(state[f"backbone.blocks.1.{part}"], tensors[f"blocks.1.{part}"])
        assert torch.equal(state[f"backbone.blocks.1.temporal_{part}"], tensors[f"blocks.1.{part}"])
    assert set(report.unexpected) == {"head.weight", "head.bias"}
    assert set(report.replaced) == {
        "head.fc.weight",
        "head.fc.bias",
        "backbone.time_embed",
        *(f"backbone.blocks.{i}.temporal_fc.{part}" for i in (0, 1) for part in ("weight", "bias")),
    }


@torch.inference_mode()
def test_a_fresh_divided_model_is_the_image_model_on_still_clips(image_weights, make_batch):
    path, _ = image_weights
    clips = make_batch(1, frames=1, size=32).clips.expand(1, 1, 3, 4, 32, 32)
    features = []
    for attention in ("divided", "space"):
        model = build_model("timesformer-tiny", num_classes=3, attention=attention).eval()
        load_weights(model, path, mode="finetune")
        features.append(model.backbone(clips[0]))
    torch.testing.assert_close(*features)


def test_positions_are_resized_and_the_class_token_kept(image_weights):
    path, tensors = image_weights
    model = build_model("timesformer-tiny", num_classes=3)
    load_weights(model, path, mode="finetune")
    own, table = model.backbone.pos_embed, tensors["pos_embed"]
    assert own.shape[1] == 17
    assert torch.equal(own[:, 0], table[:, 0])
    torch.testing.assert_close(own[:, 1:].mean(), table[:, 1:].mean(), rtol=0, atol=0.1)


def test_times_are_resized_to_the_models_clips(tmp_path):
    long = build_model("timesformer-tiny", num_classes=3, num_frames=8)
    torch.nn.init.normal_(long.backbone.time_embed)
    torch.save(long.state_dict(), tmp_path / "long.pth")
    short = build_model("timesformer-tiny", num_classes=3)
    load_weights(short, tmp_path / "long.pth", mode="finetune")
    expected = (long.backbone.time_embed[:, 2] + long.backbone.time_embed[:, 3]) / 2
    torch.testing.assert_close(short.backbone.time_embed[:, 1], expected)


def test_a_table_of_no_square_grid_is_refused(image_weights, tmp_path):
    _, tensors = image_weights
    torch.save(tensors | {"pos_embed": torch.zeros(1, 1 + 6, 48)}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"pos_embed is \[1, 7, 48\] in the file and \[1, 17, 48\] in the model"):
        load_weights(build_model("timesformer-tiny", num_classes=3), tmp_path / "odd.pth", mode="finetune")


def test_a_table_that_fits_stays_the_same_object():
    table = torch.zeros(1, 17, 8)
    assert fit_table(table, 17, num_extra=1) is table


def test_weights_of_another_attention_are_refused(tmp_path):
    torch.save(build_model("timesformer-tiny", num_classes=3).state_dict(), tmp_path / "divided.pth")
    with pytest.raises(WeightsError, match="that the model does not have"):
        load_weights(
            build_model("timesformer-tiny", num_classes=3, attention="joint"), tmp_path / "divided.pth", mode="finetune"
        )
