"""TimeSformer, Video Swin, MViTv2 and UniFormer as models: shapes, independence, gradients, learning, bad input."""

from dataclasses import replace

import pytest
import torch

from vidflow.engine.building import use_channels_last
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.weights import load_weights

# Name -> options, frames and size of small clips, with blocks of every kind.
SMALL = {
    "timesformer-tiny": ({}, 4, 32),
    "timesformer-tiny joint": ({"attention": "joint"}, 4, 32),
    "timesformer-tiny space": ({"attention": "space"}, 4, 32),
    "swin-demo": ({}, 12, 44),
    "mvit-tiny": ({}, 8, 32),
    "mvit-tiny in mlp": ({"widen_in_attention": False}, 8, 32),
    "uniformer-tiny": ({}, 4, 32),
}


@pytest.fixture(params=SMALL)
def case(request, make_batch):
    """A model and what makes batches for it."""
    options, frames, size = SMALL[request.param]
    torch.manual_seed(0)
    model = build_model(request.param.split()[0], num_classes=5, **options).eval()
    return model, lambda n, *args, **kwargs: make_batch(n, *args, frames=frames, size=size, **kwargs)


@torch.inference_mode()
def test_scores_have_one_row_for_each_view(case):
    model, batch = case
    assert list(model(batch(2, views=3)).shape) == [2, 3, 5]


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(case):
    model, batch = case
    clips = batch(3, views=2)
    whole = model(clips)
    torch.testing.assert_close(whole[1:2, 1:2], model.logits(clips.clips[1:2, 1:2]), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_only_attention_over_space_is_blind_to_the_order_of_frames(case):
    model, batch = case
    model = model.double()
    clips = batch(2).clips.double()
    if hasattr(model.backbone, "time_embed") and model.backbone.time_embed is not None:
        torch.nn.init.normal_(model.backbone.time_embed)  # drawn as zeros, like temporal_fc
        for name, tensor in model.named_parameters():
            if "temporal_fc.weight" in name:
                torch.nn.init.normal_(tensor, std=0.1)
    change = (model.logits(clips) - model.logits(clips.flip(3))).abs().max().item()
    assert (change > 1e-6) == (getattr(model.config, "attention", "") != "space")


def test_every_parameter_gets_a_gradient(case):
    model, batch = case
    model.train()
    for name, tensor in model.named_parameters():
        if "temporal_fc.weight" in name:  # zeros at first, which hide what lies before
            torch.nn.init.normal_(tensor, std=0.1)
    model.loss(batch(4, torch.tensor([0, 1, 2, 3])))["cls_loss"].backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # MViT's class token has no place, and the last block's other queries lead nowhere.
    last = "backbone.blocks.2.attn."
    expected = {last + name for name in ("pool_q.weight", "rel_pos_h", "rel_pos_w", "rel_pos_t")}
    assert without == (expected if "MViT" in type(model).__name__ else set())


def test_the_loss_falls_in_two_steps(case):
    model, batch = case
    clips = batch(4, torch.tensor([0, 1, 2, 3]))
    optimizer = torch.optim.AdamW(model.param_groups(1e-3, 0.01))
    losses = []
    for _ in range(3):
        loss = model.loss(clips)["cls_loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]


def test_activation_checkpointing_changes_memory_and_not_gradients(case):
    model, batch = case
    clips = batch(2, torch.tensor([0, 3]))
    gradients = []
    # Drop path too must be drawn alike in both passes.
    for part in model.modules():
        if hasattr(part, "rate"):
            part.rate = 0.3
    for recompute in (False, True):
        for part in model.modules():
            if hasattr(part, "recompute"):
                part.recompute = recompute
        model.train().zero_grad()
        torch.manual_seed(3)
        model.loss(clips)["cls_loss"].backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert any(hasattr(part, "recompute") for part in model.modules())
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, rtol=1e-4, atol=1e-6)


def test_other_input_channels_are_taken(case):
    model, batch = case
    other = type(model)(replace(model.config, in_channels=2))
    assert list(other(batch(1, channels=2)).shape) == [1, 1, 5]
    with pytest.raises(ValueError, match=r"clips must be \[B, V, 2, T, H, W\]"):
        other(batch(1))


def test_weights_come_back_as_they_were_saved(case, tmp_path):
    model, batch = case
    torch.save(model.state_dict(), tmp_path / "own.pth")
    other = type(model)(model.config)
    report = load_weights(other, tmp_path / "own.pth", mode="strict")
    assert not report.missing
    clips = batch(1).clips
    with torch.inference_mode():
        torch.testing.assert_close(other.eval().logits(clips), model.logits(clips), rtol=0, atol=0)


def test_timesformer_names_the_clips_that_it_takes(make_batch):
    model = build_model("timesformer-tiny", num_classes=5)
    for clips in (make_batch(1, frames=8, size=32), make_batch(1, frames=4, size=48)):
        with pytest.raises(ValueError, match="must have 4 frames of 32x32 pixels, not"):
            model(clips)
    with torch.inference_mode():
        space = build_model("timesformer-tiny", num_classes=5, attention="space")
        assert list(space(make_batch(1, frames=7, size=32)).shape) == [1, 1, 5]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timesformer-tiny", {"attention": "time"}, "attention .'time'. must be one of divided, joint, space"),
        ("timesformer-tiny", {"num_frames": 0}, r"num_frames \(0\) must be positive"),
        ("swin-demo", {"drop_path": 1.0}, r"drop_path \(1.0\) must lie in \[0, 1\)"),
        ("mvit-tiny", {"image_size": 4}, r"image_size \(4\) 8"),
        ("mvit-small", {"num_frames": 1}, r"num_frames \(1\) must be at least 2"),
        ("uniformer-tiny", {"depth": 3}, "has no option 'depth'"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(name, num_classes=5, **options)


def test_timesformer_refuses_an_image_size_that_is_no_multiple_of_the_patch():
    with pytest.raises(ValueError, match=r"image_size \(50\) must be a multiple of the patch's side, 8"):
        build_model("timesformer-tiny", num_classes=5, image_size=50)


def test_weights_of_another_size_are_refused(tmp_path):
    torch.save(build_model("mvit-tiny", num_classes=5).state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(WeightsError, match="of another shape"):
        load_weights(
            build_model("mvit-tiny", num_classes=5, widen_in_attention=False), tmp_path / "tiny.pth", mode="strict"
        )


@torch.inference_mode()
@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_gives_about_the_same_scores(autocast, case):
    model, batch = case
    clips = batch(1).clips
    exact = model.logits(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        rough = model.logits(clips) if autocast else model.bfloat16().logits(clips.bfloat16())
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.05)


@torch.inference_mode()
def test_channels_last_gives_the_same_scores(case):
    model, batch = case
    clips = batch(2).clips
    expected = model.logits(clips)
    use_channels_last(model)
    torch.testing.assert_close(model.logits(clips), expected, rtol=1e-4, atol=1e-5)
