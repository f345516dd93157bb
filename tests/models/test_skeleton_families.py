"""What every graph network must do: learn, keep samples apart, export, refuse what it was not made for."""

import pytest
import torch
from torch import nn

from vidflow.batch import Batch
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.layers.temporal_conv import MixedTemporalConv, MultiScaleTemporalConv

FAMILIES = ("stgcn-tiny", "stgcnpp-tiny", "agcn-tiny", "ctrgcn-tiny", "msg3d-tiny")
STAR = {"num_keypoints": 5, "edges": [[0, 1], [0, 2], [3, 0], [3, 4]], "center": 0}


def skeletons(samples, *, views=1, people=2, frames=12, points=5, channels=3, seed=0):
    """Noise [B, V, M, T, K, C]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, views, people, frames, points, channels, generator=generator)


def batch_of(values, labels=None):
    count = len(values)
    return Batch(
        ids=[str(i) for i in range(count)],
        indices=torch.arange(count),
        inputs={"skeletons": values},
        targets={} if labels is None else {"labels": labels},
        padding=torch.zeros(count, dtype=torch.bool),
    )


def build(name, **options):
    return build_model(name, **({"num_classes": 3, "layout": STAR} | options))


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    return build(request.param)


def test_steps_lower_the_loss_and_reach_every_parameter(model):
    batch = batch_of(skeletons(3), torch.tensor([0, 1, 2]))
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    losses = []
    reached = {key: False for key, _ in model.named_parameters()}
    # What the factor alpha multiplies learns from the second step on.
    for _ in range(4):
        loss = model.loss(batch)["cls_loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for key, parameter in model.named_parameters():
            reached[key] |= parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        optimizer.step()
    assert losses[1] < losses[0], losses
    assert losses[3] < losses[0], losses
    assert [key for key, done in reached.items() if not done] == []


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(model, with_full_graph):
    with_full_graph(model).eval()
    values = skeletons(2, views=2)
    whole = model(batch_of(values))
    assert list(whole.shape) == [2, 2, 3]
    torch.testing.assert_close(whole[1:, 1:], model.logits(values[1:, 1:]))


@torch.inference_mode()
def test_views_are_averaged_as_probabilities(model):
    model.eval()
    values = skeletons(2, views=3)
    expected = model.logits(values).softmax(dim=-1).mean(dim=1)
    torch.testing.assert_close(model.predict(batch_of(values)).scores, expected)


@torch.inference_mode()
@pytest.mark.parametrize("name", FAMILIES)
def test_the_order_of_keypoints_does_not_matter_where_the_edges_follow(name, with_full_graph):
    torch.manual_seed(0)
    model = with_full_graph(build(name)).eval()
    order = [3, 1, 4, 0, 2]  # new place -> old place
    edges = [[order.index(i), order.index(j)] for i, j in STAR["edges"]]
    other = build(name, layout=STAR | {"edges": edges, "center": order.index(0)}).eval()
    state = {}
    for key, value in model.state_dict().items():
        if key.endswith((".adjacency", ".importance")):
            state[key] = value[:, order][:, :, order]
        elif key.startswith("backbone.data_norm.bn.") and value.ndim:
            state[key] = value.unflatten(0, (-1, 5, 3))[:, order].flatten()
        elif key.endswith(".offset"):
            state[key] = value.view(-1, value.shape[1] // 5, 5, value.shape[2] // 5, 5)[:, :, order][..., order]
            state[key] = state[key].reshape(value.shape)
        else:
            state[key] = value
    other.load_state_dict(state)
    values = skeletons(2)
    torch.testing.assert_close(other.logits(values[..., order, :]), model.logits(values), rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast_trains_with_a_loss_in_float32(model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.train().loss(batch_of(skeletons(2), torch.tensor([0, 2])))["cls_loss"]
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


class Scores(nn.Module):
    """A model as the function from skeletons to scores."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, values):
        return self.model.logits(values)


@torch.no_grad()
def test_an_exported_model_gives_the_same_scores_for_any_number_of_samples(model, with_full_graph):
    scores = Scores(with_full_graph(model).eval())
    dynamic = {"values": {0: torch.export.Dim("samples", min=1, max=64)}}
    exported = torch.export.export(scores, (skeletons(2),), dynamic_shapes=dynamic).module()
    for values in (skeletons(2), skeletons(3, seed=1)):
        torch.testing.assert_close(exported(values), scores(values), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_any_number_of_frames_will_do(model, frames):
    scores = model.eval().logits(skeletons(1, frames=frames))
    assert bool(scores.isfinite().all())


@torch.inference_mode()
def test_people_who_are_not_there_leave_finite_scores(model):
    values = skeletons(2)
    values[:, :, 1] = 0  # nobody in the second place
    values[1] = 0  # nobody at all
    assert bool(model.eval().logits(values).isfinite().all())
    loss = model.train().loss(batch_of(torch.zeros_like(values), torch.tensor([0, 1])))["cls_loss"]
    assert bool(loss.isfinite())


@torch.inference_mode()
def test_stgcn_takes_any_number_of_people():
    for name in ("stgcn-tiny", "stgcnpp-tiny"):
        model = build(name).eval()
        one, values = skeletons(2, people=1), skeletons(2, people=3)
        assert list(model.logits(values).shape) == [2, 1, 3]
        torch.testing.assert_close(model.logits(one.repeat(1, 1, 4, 1, 1, 1)), model.logits(one))


def test_others_take_the_number_that_they_were_made_for():
    for name in ("agcn-tiny", "ctrgcn-tiny", "msg3d-tiny"):
        with pytest.raises(ValueError, match="skeletons of 3 people: the model was made for num_people = 2"):
            build(name).logits(skeletons(1, people=3))
        assert list(build(name, num_people=3).eval().logits(skeletons(1, people=3)).shape) == [1, 1, 3]


@pytest.mark.parametrize(
    "wrong",
    [{"points": 17}, {"points": 4}, {"channels": 2}],
)
def test_skeletons_of_another_shape_are_refused(model, wrong):
    with pytest.raises(ValueError, match=r"skeletons must be \[B, V, M, T, 5, 3\] for the layout custom, not \["):
        model.logits(skeletons(2, **wrong))


def test_skeletons_without_an_axis_are_refused(model):
    with pytest.raises(ValueError, match=r"skeletons must be \[B, V, M, T, 5, 3\] .* not \[2, 2, 12, 5, 3\]"):
        model.logits(skeletons(2)[:, 0])


@pytest.mark.parametrize(("axis", "people", "frames"), [("people", 0, 12), ("frames", 2, 0)])
def test_skeletons_of_nothing_are_refused(model, axis, people, frames):
    with pytest.raises(ValueError, match=f"{people} people and {frames} frames: there must be one of each"):
        model.logits(skeletons(1, people=people, frames=frames))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "cocoo"}, "no skeleton layout 'cocoo'; did you mean 'coco'"),
        ({"layout": {"num_keypoints": 3, "edges": [[0, 3]]}}, "edges: keypoint 3 does not exist; there are 0 to 2"),
        ({"layout": {"num_keypoints": 3, "edges": [[0, 1]]}}, "no way leads from keypoint 2 to the centre 0"),
        ({"num_people": 0}, r"num_people \(0\) must be positive"),
        ({"dropout": 1.0}, r"dropout \(1\.0\) must lie in \[0, 1\)"),
        ({"temporal_dropout": -0.1}, r"temporal_dropout \(-0\.1\) must lie in \[0, 1\)"),
        ({"in_channels": 0}, r"in_channels \(0\) must be positive"),
    ],
)
@pytest.mark.parametrize("name", FAMILIES)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=f"model '{name}': .*{message}"):
        build(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("stgcn", {"width": 12}, r"width \(12\) must be a multiple of 8"),
        ("stgcnpp", {"num_blocks": 0}, r"num_blocks \(0\) must be positive"),
        ("ctrgcn", {"num_blocks": 4}, r"wider_blocks: 5 must lie in \[2, 4\]"),
        ("agcn", {"wider_blocks": (1,)}, r"wider_blocks: 1 must lie in \[2, 10\]"),
        ("msg3d", {"width": 3}, r"width \(3\) must be at least 6"),
        ("msg3d", {"num_scales": 0}, r"num_scales \(0\) must be positive"),
        ("msg3d", {"num_window_scales": 0}, r"num_window_scales \(0\) must be positive"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, **options)


def test_the_first_block_has_no_dropout():
    model = build("stgcn", temporal_dropout=0.5)
    assert [block.temporal.drop.p for block in model.backbone.blocks] == [0.0] + [0.5] * 9


@torch.inference_mode()
@pytest.mark.parametrize("make", [MixedTemporalConv, MultiScaleTemporalConv])
def test_branches_share_all_channels_and_keep_keypoints_apart(make):
    conv = make(64, 64, stride=2).eval()
    x = torch.randn(2, 64, 9, 5)
    out = conv(x)
    assert list(out.shape) == [2, 64, 5, 5]
    other = x.clone()
    other[..., 3] += 1
    changed = (conv(other) != out).any(dim=0).any(dim=0).any(dim=0)
    assert changed.tolist() == [False, False, False, True, False]
