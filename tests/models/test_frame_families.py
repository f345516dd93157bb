"""What every 2D family and backbone must do: learn, keep samples apart, refuse what it was not made for."""

from dataclasses import replace

import pytest
import torch

from tests.support.small_models import FRAME_MODELS
from vidflow.errors import ConfigError
from vidflow.models import build_model


@pytest.fixture(params=FRAME_MODELS)
def model(request):
    torch.manual_seed(0)
    return FRAME_MODELS[request.param]()


def frames_of(model):
    return getattr(model.config, "num_frames", 4)


def test_steps_lower_the_loss_and_reach_every_parameter(model, make_batch):
    model.train()
    batch = make_batch(3, torch.tensor([0, 1, 2]), frames=frames_of(model), size=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    reached = dict.fromkeys((key for key, _ in model.named_parameters()), False)
    # A non-local block starts as the identity: its inside learns from the second step on.
    for _ in range(4):
        loss = model.loss(batch)["cls_loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for key, parameter in model.named_parameters():
            reached[key] |= parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        optimizer.step()
    assert losses[3] < losses[0], losses
    assert [key for key, done in reached.items() if not done] == []


@torch.inference_mode()
def test_samples_do_not_see_each_other(model, make_batch):
    model.eval().double()
    clips = make_batch(3, frames=frames_of(model), size=64).clips.double()
    torch.testing.assert_close(model.logits(clips)[1:2], model.logits(clips[1:2]), rtol=1e-6, atol=1e-9)


@torch.inference_mode()
def test_frames_of_odd_sizes_are_taken(model, make_batch):
    assert list(model.eval()(make_batch(1, frames=frames_of(model), size=75)).shape) == [1, 1, 3]


def test_frozen_stages_keep_their_weights_and_statistics(model):
    frozen = type(model)(replace(model.config, frozen_stages=2)).train()
    parts = frozen.backbone.parts()
    fixed = [p for part in parts[:3] for module in part for p in module.parameters()]
    assert fixed
    assert not any(p.requires_grad for p in fixed)
    assert all(p.requires_grad for part in parts[3:] for module in part for p in module.parameters())
    assert not any(m.training for part in parts[:3] for module in part for m in module.modules())


@pytest.mark.parametrize("name", ["tin-tiny", "trn-tiny", "tanet-tiny"])
def test_clips_of_another_length_are_refused(name, make_batch):
    model = build_model(name, num_classes=3).eval()
    with pytest.raises(ValueError, match="made for clips of 4 frames, not 6"):
        model(make_batch(1, frames=6))
    other = build_model(name, num_classes=3, num_frames=6).eval()
    assert list(other(make_batch(1, frames=6)).shape) == [1, 1, 3]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tin-r50", {"num_frames": 0}, r"num_frames \(0\) must be positive"),
        ("trn-r50", {"num_frames": 1}, r"num_frames \(1\) must be at least 2"),
        ("tanet-r50", {"num_frames": 2}, r"num_frames \(2\) must be at least 3"),
        ("tsm-r50", {"shift_frames": 0}, r"shift_frames \(0\) must be positive"),
        ("tsm-mobilenetv2", {"non_local": "gaussian"}, "for ResNets only"),
        ("tsm-mobilenetv2", {"frozen_stages": 8}, r"must lie in \[-1, 7\]"),
        ("tsn-dense161", {"frozen_stages": 5}, r"must lie in \[-1, 4\]"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(name, num_classes=3, **options)


@torch.inference_mode()
def test_a_shift_within_groups_keeps_the_groups_apart(make_batch):
    torch.manual_seed(0)
    model = build_model("tsm-tiny", num_classes=5, shift_frames=2).eval().double()
    clips = make_batch(1, frames=4).clips.double()
    halves = torch.stack([model.logits(clips[:, :, :, :2]), model.logits(clips[:, :, :, 2:])])
    torch.testing.assert_close(model.logits(clips), halves.mean(0))


def test_a_clip_that_groups_do_not_divide_is_refused(make_batch):
    model = build_model("tsm-tiny", num_classes=5, shift_frames=3).eval()
    with pytest.raises(ValueError, match="clips of 4 frames cannot be divided into groups of 3"):
        model(make_batch(1, frames=4))


def test_relations_are_the_same_in_every_evaluation_and_drawn_anew_in_training(make_batch):
    torch.manual_seed(0)
    model = build_model("trn-tiny", num_classes=5, dropout=0.0, norm_eval=True).eval()
    batch = make_batch(2)
    with torch.no_grad():
        torch.testing.assert_close(model(batch), model(batch), rtol=0, atol=0)
        trained = [model.train()(batch) for _ in range(6)]
    assert any(not torch.equal(trained[0], other) for other in trained[1:])
