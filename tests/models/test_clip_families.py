"""What every 3D family must do: learn, keep samples apart, keep what is frozen, refuse what it was not made for."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tests.support.small_models import CLIP_MODELS
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.backbones.resnet3d import ResNet3DConfig
from vidflow.models.i3d import I3D
from vidflow.models.resnet3d_recognizer import ResNet3DRecognizerConfig

FAMILIES = (
    "c2d-tiny",
    "c3d-tiny",
    "i3d-tiny",
    "slowonly-tiny",
    "r2plus1d-tiny",
    "ircsn-tiny",
    "ipcsn-tiny",
    "slowfast-tiny",
    "x3d-tiny",
    "tpn-slowonly-tiny",
    "tpn-tsm-tiny",
    "omnisource-slowonly-tiny",
)
# Name of a model -> frames and size of small clips.
SMALL = {name: CLIP_MODELS[name] for name in FAMILIES}
SMALL |= {f"non-local {mode}": (4, 64) for mode in ("gaussian", "embedded_gaussian", "dot_product")}


def build(name, **options):
    """A model of ``SMALL`` with 3 classes."""
    if not name.startswith("non-local"):
        return build_model(name, num_classes=3, **options)
    backbone = ResNet3DConfig(
        block="bottleneck",
        blocks=(1, 2, 1, 1),
        width=8,
        second_pool=True,
        non_local=name.split()[1],
        non_local_scale=True,
        non_local_blocks=(False, (False, True), True, False),
    )
    return I3D(ResNet3DRecognizerConfig(backbone=backbone, num_classes=3, **options))


@pytest.fixture(params=SMALL)
def case(request, make_batch):
    """A model, and what makes batches for it."""
    frames, size = SMALL[request.param]
    torch.manual_seed(0)
    return build(request.param, dropout=0.0), lambda n, *args, **kw: make_batch(
        n, *args, frames=frames, size=size, **kw
    )


def test_steps_lower_the_loss_and_reach_every_parameter(case):
    model, batch = case
    model.train()
    clips = batch(3, torch.tensor([0, 1, 2]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    reached = {key: key.startswith("image_head") for key, _ in model.named_parameters()}
    # Blocks that start as the identity learn inside from the second step on.
    for _ in range(4):
        loss = sum(model.loss(clips).values())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for key, parameter in model.named_parameters():
            reached[key] |= parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        optimizer.step()
    assert losses[3] < losses[0], losses
    assert [key for key, done in reached.items() if not done] == []


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(case):
    model, batch = case
    model.eval()
    clips = batch(2, views=2)
    whole = model(clips)
    assert list(whole.shape) == [2, 2, 3]
    torch.testing.assert_close(whole[1:, 1:], model.logits(clips.clips[1:, 1:]), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_channels_last_gives_the_same_scores(case):
    model, batch = case
    model.eval()
    clips = batch(2)
    expected = model(clips)
    for parameter in model.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(model(clips), expected, rtol=1e-3, atol=1e-4)


def test_bfloat16_autocast_trains_with_a_loss_in_float32(case):
    model, batch = case
    clips = batch(2, torch.tensor([0, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sum(model.train().loss(clips).values())
    assert loss.dtype == torch.float32
    loss.backward()
    grads = [p.grad for key, p in model.named_parameters() if not key.startswith("image_head")]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", ["slowonly-tiny", pytest.param("x3d-tiny", marks=pytest.mark.long)])
def test_a_compiled_model_gives_the_same_scores_and_gradients(name, make_batch):
    frames, size = SMALL[name]
    torch.manual_seed(0)
    model, batch = build(name).eval(), make_batch(2, frames=frames, size=size)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch), model(batch), rtol=1e-4, atol=1e-5)
    compiled(batch).sum().backward()
    got = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(batch).sum().backward()
    for ours, expected in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(ours, expected.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["i3d-tiny", "slowonly-tiny", "x3d-tiny", "slowfast-tiny"])
def test_frozen_stages_and_norms_stay_as_they_are(name, make_batch):
    frames, size = SMALL[name]
    model = build(name, frozen_stages=1, norm_frozen=True).train()
    fixed = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    norms = [(key, module) for key, module in model.named_modules() if isinstance(module, _BatchNorm)]
    assert all(not module.training and f"{key}.weight" in fixed for key, module in norms)
    pathways = ("slow.", "fast.") if name.startswith("slowfast") else ("",)
    stem = "conv1_s" if name.startswith("x3d") else "conv1"
    for path in pathways:
        assert {f"backbone.{path}{stem}.weight", f"backbone.{path}layer1.0.conv1.weight"} <= fixed
        assert f"backbone.{path}layer2.0.conv1.weight" not in fixed
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sum(model.loss(make_batch(2, torch.tensor([0, 1]), frames=frames, size=size)).values()).backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed != set()
    assert changed.isdisjoint(fixed)
    assert not any("running" in key for key in changed)


def test_norm_eval_keeps_statistics_and_learns_weights():
    model = build("i3d-tiny", norm_eval=True).train()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert not any(module.training for module in norms)
    assert all(module.weight.requires_grad for module in norms)


@pytest.mark.parametrize("name", ["i3d-tiny", "slowfast-tiny", "x3d-tiny", "tpn-slowonly-tiny", "tpn-tsm-tiny"])
def test_a_stage_that_does_not_exist_cannot_be_frozen(name):
    with pytest.raises(ConfigError, match=r"frozen_stages \(5\) must lie in \[-1, 4\]"):
        build(name, frozen_stages=5)


def test_clips_that_the_slow_pathway_cannot_divide_are_refused(make_batch):
    with pytest.raises(ValueError, match="clips of 6 frames: the number must be a multiple of 4"):
        build("slowfast-tiny")(make_batch(1, frames=6))


def test_clips_of_another_size_are_refused_by_c3d(make_batch):
    with pytest.raises(ValueError, match=r"16 frames of 112x112 pixels, not \[8, 112, 112\]"):
        build("c3d-tiny")(make_batch(1, frames=8, size=112))


def test_clips_of_another_shape_are_refused(make_batch):
    for name in ("i3d-tiny", "tpn-slowonly-tiny", "omnisource-slowonly-tiny"):
        with pytest.raises(ValueError, match=r"clips must be \[B, V, 3, T, H, W\], not \[1, 1, 2, 4, 32, 32\]"):
            build(name)(make_batch(1, channels=2))


@torch.inference_mode()
def test_c2d_leaves_out_the_last_of_an_odd_number_of_frames(make_batch):
    model = build("c2d-tiny").eval()
    clips = make_batch(1, frames=5).clips
    torch.testing.assert_close(model.logits(clips), model.logits(clips[:, :, :, :4]))
    other = clips.clone()
    other[:, :, :, 1] += 1
    assert not torch.allclose(model.logits(other), model.logits(clips))


def test_tpn_adds_a_weighted_loss_of_the_stage_below(make_batch):
    batch = make_batch(2, torch.tensor([0, 1]), frames=8, size=64)
    torch.manual_seed(0)
    model = build("tpn-slowonly-tiny", dropout=0.0, auxiliary_weight=0.5).eval()
    losses = model.loss(batch)
    assert set(losses) == {"cls_loss", "aux_loss"}
    low, _ = model.features(batch.clips[:, 0])
    scores = model.auxiliary(low)
    torch.testing.assert_close(losses["aux_loss"], 0.5 * torch.nn.functional.cross_entropy(scores, batch.labels))
    with pytest.raises(ConfigError, match=r"auxiliary_weight \(-1\)"):
        build("tpn-slowonly-tiny", auxiliary_weight=-1)


def test_omnisource_learns_from_images_and_leaves_the_clips_statistics(make_batch):
    torch.manual_seed(0)
    model = build("omnisource-slowonly-tiny", image_classes=4, image_dropout=0.0).train()
    images = make_batch(3, torch.tensor([3, 6, 4]), frames=1, size=48)
    running = {key: value.clone() for key, value in model.backbone.state_dict().items() if "running" in key}
    loss = model.loss(images)
    assert set(loss) == {"image_loss"}
    expected = torch.nn.functional.cross_entropy(model(images)[:, 0], torch.tensor([0, 3, 1]))
    torch.testing.assert_close(loss["image_loss"], expected)
    loss["image_loss"].backward()
    missing = [key for key, p in model.named_parameters() if p.grad is None and not key.startswith("head.")]
    assert missing == []
    assert all(torch.equal(value, model.backbone.state_dict()[key]) for key, value in running.items())
    model.loss(make_batch(2, torch.tensor([0, 2]), frames=4, size=48))
    assert not all(torch.equal(value, model.backbone.state_dict()[key]) for key, value in running.items())


@pytest.mark.parametrize("labels", [torch.tensor([2, 3]), torch.tensor([0.0, 4.0])])
def test_labels_of_images_stand_behind_those_of_clips(labels, make_batch):
    model = build("omnisource-slowonly-tiny", image_classes=4)
    assert model.num_labels == 7
    with pytest.raises(ValueError, match="labels of images must be integers from 3"):
        model.loss(make_batch(2, labels, frames=1, size=48))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_classes": 0}, r"image_classes \(0\)"),
        ({"image_dropout": 1.0}, r"image_dropout \(1\.0\)"),
        ({"multi_label": True}, "multi_label is not for OmniSource"),
        ({"loss": {"kind": "cross_entropy"}}, "loss is not for OmniSource"),
    ],
)
def test_options_that_omnisource_does_not_have_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build("omnisource-slowonly-tiny", **options)
