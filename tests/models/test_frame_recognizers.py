"""TSN and TSM as models: shapes, independence, gradients, losses, predictions, precisions."""

import copy

import pytest
import torch

from vidflow.models import build_model
from vidflow.models.frame_recognizer import fold_frames

TINY = ("tsn-tiny", "tsm-tiny")


@pytest.fixture(params=TINY)
def model(request):
    torch.manual_seed(0)
    return build_model(request.param, num_classes=5).eval()


@torch.inference_mode()
def test_scores_have_one_row_for_each_view(model, make_batch):
    assert list(model(make_batch(2, views=3)).shape) == [2, 3, 5]


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(model, make_batch):
    batch = make_batch(3, views=2)
    whole = model(batch)
    torch.testing.assert_close(whole[1:2, 1:2], model.logits(batch.clips[1:2, 1:2]), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_tsm_sees_the_order_of_frames_and_tsn_does_not(make_batch):
    for name, sees in (("tsn-tiny", False), ("tsm-tiny", True)):
        torch.manual_seed(1)
        model = build_model(name, num_classes=5).eval().double()
        clips = make_batch(2, frames=6).clips.double()
        change = (model.logits(clips) - model.logits(clips.flip(3))).abs().max().item()
        assert (change > 1e-6) == sees, name


def test_every_parameter_gets_a_gradient(model, make_batch):
    model.train().loss(make_batch(4, torch.tensor([0, 1, 2, 3])))["cls_loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_dropout_and_batch_statistics_act_in_training_only(model, make_batch):
    batch = make_batch(4)
    with torch.no_grad():
        torch.testing.assert_close(model(batch), model(batch), rtol=0, atol=0)
        assert not torch.equal(model.train()(batch), model(batch))


def test_a_single_tiny_batch_can_be_learnt(model, make_batch):
    batch = make_batch(4, torch.tensor([0, 1, 2, 3]))
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    first = None
    for _ in range(30):
        loss = model.loss(batch)["cls_loss"]
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * first


def test_the_loss_is_the_cross_entropy_averaged_over_views(make_batch):
    model = build_model("tsm-tiny", num_classes=5).eval()
    batch = make_batch(2, torch.tensor([4, 1]), views=3)
    log_probabilities = model(batch).log_softmax(-1)
    expected = -(log_probabilities[0, :, 4].sum() + log_probabilities[1, :, 1].sum()) / 6
    torch.testing.assert_close(model.loss(batch)["cls_loss"], expected)


def test_label_smoothing_mixes_in_the_uniform_distribution(make_batch):
    model = build_model("tsm-tiny", num_classes=5, label_smoothing=0.1).eval()
    batch = make_batch(1, torch.tensor([2]))
    log_probabilities = model(batch)[0, 0].log_softmax(-1)
    torch.testing.assert_close(
        model.loss(batch)["cls_loss"], -(0.9 * log_probabilities[2] + 0.1 * log_probabilities.mean())
    )


def test_multi_label_models_use_independent_probabilities(make_batch):
    model = build_model("tsn-tiny", num_classes=3, multi_label=True).eval()
    batch = make_batch(2, torch.tensor([[1.0, 0, 1], [0, 0, 0]]))
    p = model(batch)[:, 0].sigmoid()
    labels = batch.labels
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(model.loss(batch)["cls_loss"], expected)
    torch.testing.assert_close(model.predict(batch).scores, p)


def test_views_are_averaged_as_probabilities(make_batch):
    model = build_model("tsm-tiny", num_classes=5).eval()
    batch = make_batch(2, views=3)
    scores = model.predict(batch).scores
    torch.testing.assert_close(scores, model(batch).softmax(-1).mean(1))
    torch.testing.assert_close(scores.sum(1), torch.ones(2))
    assert not scores.requires_grad


def test_views_are_averaged_as_scores_on_request(make_batch):
    model = build_model("tsm-tiny", num_classes=5, average_views="score").eval()
    batch = make_batch(2, views=3)
    torch.testing.assert_close(model.predict(batch).scores, model(batch).mean(1).softmax(-1))


@pytest.mark.parametrize(
    ("multi_label", "labels"),
    [
        (False, torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 1]])),
        (False, torch.tensor([0.0, 1.0])),
        (False, torch.tensor([0, 1, 2])),
        (True, torch.tensor([0, 1])),
        (True, torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 1]])),
    ],
)
def test_labels_of_the_other_kind_are_refused(multi_label, labels, make_batch):
    model = build_model("tsn-tiny", num_classes=5, multi_label=multi_label)
    with pytest.raises(ValueError, match="labels must be"):
        model.loss(make_batch(2, labels))


def test_soft_labels_give_the_mean_of_the_losses_that_they_mix(make_batch):
    model = build_model("tsn-tiny", num_classes=5, dropout=0.0, label_smoothing=0.1).eval()
    soft = torch.tensor([[0.0, 0.3, 0, 0, 0.7], [1, 0, 0, 0, 0]])
    mixed = model.loss(make_batch(2, soft))["cls_loss"]
    first, second = (model.loss(make_batch(2, torch.tensor(hard)))["cls_loss"] for hard in ([1, 0], [4, 0]))
    torch.testing.assert_close(mixed, 0.3 * first + 0.7 * second)


def test_clips_of_another_shape_are_refused(model, make_batch):
    with pytest.raises(ValueError, match=r"clips must be \[B, V, 3, T, H, W\], not \[2, 3, 4, 32, 32\]"):
        model.logits(make_batch(2).clips[:, 0])
    with pytest.raises(ValueError, match=r"not \[2, 1, 4, 4, 32, 32\]"):
        model(make_batch(2, channels=4))


def test_other_channels_than_rgb_can_be_asked_for(make_batch):
    model = build_model("tsn-tiny", num_classes=5, in_channels=10).eval()
    assert list(model(make_batch(2, channels=10)).shape) == [2, 1, 5]


def test_folding_gives_frames_in_order_in_either_layout(make_batch):
    clips = make_batch(2, views=2, frames=3, size=4).clips
    for channels_last in (False, True):
        frames = fold_frames(clips, channels_last=channels_last)
        torch.testing.assert_close(frames[1 * 6 + 1 * 3 + 2], clips[1, 1, :, 2], rtol=0, atol=0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert frames.is_contiguous(memory_format=layout)


@torch.inference_mode()
def test_channels_last_gives_the_same_scores(model, make_batch):
    batch = make_batch(2)
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(other(batch), model(batch), rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast_trains_with_a_loss_in_float32(model, make_batch):
    batch = make_batch(4, torch.tensor([0, 1, 2, 3]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.train().loss(batch)["cls_loss"]
        scores = model.eval().predict(batch).scores
    loss.backward()
    assert (loss.dtype, scores.dtype) == (torch.float32, torch.float32)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        expected = model.predict(batch).scores
    torch.testing.assert_close(scores, expected, rtol=0.1, atol=0.02)


@pytest.mark.long
def test_a_compiled_model_gives_the_same_scores_and_gradients(make_batch):
    model = build_model("tsm-tiny", num_classes=5).eval()
    batch = make_batch(2)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch), model(batch), rtol=1e-4, atol=1e-5)
    compiled(batch).sum().backward()
    got = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(batch).sum().backward()
    for ours, expected in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(ours, expected.grad, rtol=1e-3, atol=1e-4)


def test_heads_start_as_their_papers_code_does():
    for name, std in (("tsn-r18", 0.01), ("tsm-r18", 0.001)):
        torch.manual_seed(0)
        head = build_model(name, num_classes=400).head
        assert head.fc.weight.std().item() == pytest.approx(std, rel=0.02)
        assert not head.fc.bias.any()


@pytest.mark.parametrize(("name", "every"), [("tsm-r50", 1), ("tsm-r101", 2), ("tsm-r18", 1)])
def test_tsm_shifts_every_block_or_every_other_one_of_deep_networks(name, every):
    with torch.device("meta"):
        backbone = build_model(name, num_classes=2).backbone
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        assert [block.before is not None for block in stage] == [i % every == 0 for i in range(len(stage))]
