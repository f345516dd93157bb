"""VideoMAE, UMT and UniFormerV2 as models: independence, learning, positions of other clips, bad input."""

import dataclasses

import pytest
import torch

from vidflow.errors import ConfigError
from vidflow.models import MODELS, build_model
from vidflow.models.backbones.vit_video import VideoViT, VideoViTConfig
from vidflow.models.param_groups import param_groups

TINY = ("videomae-tiny", "uniformerv2-tiny")
LABELS = torch.tensor([0, 1, 2, 3])


@pytest.fixture(params=TINY)
def model(request):
    torch.manual_seed(0)
    return build_model(request.param, num_classes=5).eval()


def learn(model, batch, steps):
    """Steps of AdamW; the losses before each, and the gradients of the last."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(batch)["cls_loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(model, make_batch):
    batch = make_batch(3, views=2)
    whole = model(batch)
    assert list(whole.shape) == [3, 2, 5]
    torch.testing.assert_close(whole[1:2, 1:2], model.logits(batch.clips[1:2, 1:2]), rtol=1e-4, atol=1e-5)


def test_two_steps_lower_the_loss_and_reach_every_parameter(model, make_batch):
    batch = make_batch(4, LABELS)
    losses = learn(model, batch, 3)
    assert losses[2] < losses[1] < losses[0]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_order_of_frames_matters(model, make_batch):
    learn(model, make_batch(4, LABELS), 2)  # UniFormerV2's global blocks start as the identity
    clips = make_batch(2).clips
    with torch.inference_mode():
        assert (model.logits(clips) - model.logits(clips.flip(3))).abs().max() > 1e-4


def test_dropout_and_drop_path_act_in_training_only(make_batch):
    batch = make_batch(4)
    for name in TINY:
        model = build_model(name, num_classes=5, dropout=0.5, drop_path=0.5).train()
        with torch.no_grad():
            assert not torch.equal(model(batch), model(batch)), name
            model.eval()
            torch.testing.assert_close(model(batch), model(batch), rtol=0, atol=0)


def test_activation_checkpointing_gives_the_same_gradients(make_batch):
    batch = make_batch(4, LABELS)
    for name in TINY:
        gradients = []
        for checkpointing in (False, True):
            torch.manual_seed(0)
            options = {"activation_checkpointing": checkpointing, "drop_path": 0.3}
            model = build_model(name, num_classes=5, **options).train()
            torch.manual_seed(1)
            model.loss(batch)["cls_loss"].backward()
            gradients.append([p.grad for p in model.parameters()])
        for kept, computed_again in zip(*gradients, strict=True):
            torch.testing.assert_close(kept, computed_again, rtol=1e-4, atol=1e-6)


@torch.inference_mode()
def test_clips_of_another_size_and_length_are_taken(model, make_batch):
    assert list(model(make_batch(2, frames=8, size=48)).shape) == [2, 1, 5]


def test_clips_that_do_not_divide_into_tubes_are_refused(make_batch):
    model = build_model("videomae-tiny", num_classes=5)
    with pytest.raises(ValueError, match=r"\[3, 32, 32\] frames and pixels do not divide into tubes of \(2, 8, 8\)"):
        model(make_batch(2, frames=3))


def test_clips_of_another_shape_are_refused(model, make_batch):
    with pytest.raises(ValueError, match=r"clips must be \[B, V, 3, T, H, W\], not \[2, 1, 4, 4, 32, 32\]"):
        model(make_batch(2, channels=4))


@pytest.mark.parametrize("name", TINY)
def test_rates_outside_of_their_range_are_refused(name):
    with pytest.raises(ValueError, match=r"drop path rate \(1.5\) must lie in \[0, 1\)"):
        build_model(name, num_classes=5, drop_path=1.5)


def test_widths_that_do_not_divide_into_heads_are_refused():
    with pytest.raises(ValueError, match=r"width \(50\) must be a multiple of heads \(3\)"):
        VideoViTConfig(width=50, depth=1, heads=3)


def test_more_global_blocks_than_layers_are_refused():
    config = MODELS["uniformerv2-tiny"].config.backbone
    with pytest.raises(ValueError, match=r"num_global \(4\) must lie in \[1, depth = 3\]"):
        dataclasses.replace(config, num_global=4)


def test_unknown_options_name_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'drop_path'"):
        build_model("umt-b", num_classes=5, drop_pth=0.1)


def test_umt_looks_at_single_frames_and_videomae_at_pairs():
    for name, frames in (("videomae-b", 2), ("umt-b", 1)):
        with torch.device("meta"):
            assert build_model(name, num_classes=2).backbone.patch_embed.proj.kernel_size == (frames, 16, 16)


def test_position_tables_are_fixed_and_in_no_file():
    backbone = VideoViT(MODELS["videomae-tiny"].config.backbone)
    assert "positions" not in backbone.state_dict()
    assert not backbone.positions.requires_grad
    # Position 1 of the table, arXiv:1706.03762, section 3.5.
    torch.testing.assert_close(backbone.positions[1, :2], torch.tensor([0.84147, 0.54030]), atol=1e-5, rtol=0)


def test_uniformerv2_starts_as_the_mean_over_frames(make_batch):
    """Its global blocks are the identity at first, so that a still clip gives the same at any length."""
    backbone = build_model("uniformerv2-tiny", num_classes=5).backbone.eval()
    clips = make_batch(2).clips[:, 0]  # [N, C, T, H, W]
    still = clips[:, :, :1].expand_as(clips)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(still), backbone(still[:, :, :2]), rtol=1e-4, atol=1e-5)


def test_layer_decay_of_videomae_has_the_published_rates():
    """MMAction2 1.2.0, LearningRateDecayOptimizerConstructor with decay_rate 0.75 on ViT-B."""
    with torch.device("meta"):
        model = build_model("videomae-b", num_classes=400)
    groups = {group["name"]: group for group in param_groups(model, 1.0, 0.05, "layer_decay_0.75")}
    expected = {"layer_0_decay": (0.02375726, 1), "layer_1_decay": (0.03167635, 4), "layer_1_no_decay": (0.03167635, 9)}
    expected |= {"layer_12_decay": (0.75, 4), "layer_13_decay": (1.0, 1), "layer_13_no_decay": (1.0, 3)}
    for name, (rate, count) in expected.items():
        assert groups[name]["lr"] == pytest.approx(rate, rel=1e-6)
        assert len(groups[name]["params"]) == count
        assert groups[name]["weight_decay"] == (0 if "no_decay" in name else 0.05)
