"""ActionCLIP: texts as classes, the contrastive loss, other names after training, bad input."""

import dataclasses

import pytest
import torch

from tests.support.clip_vocabulary import NUM_TOKENS, write_vocabulary
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import MODELS, build_model
from vidflow.models.actionclip import PROMPTS
from vidflow.models.flops import count_macs
from vidflow.models.param_groups import param_groups

NAMES = ("run", "walk", "jump", "running_in")


@pytest.fixture
def make_model(tmp_path):
    vocabulary = write_vocabulary(tmp_path / "merges.txt.gz")
    clip = dataclasses.replace(MODELS["actionclip-tiny"].config.clip, vocabulary=NUM_TOKENS)

    def make(names=NAMES, **options):
        torch.manual_seed(0)
        options = {"class_names": names, "clip": clip, "vocabulary": str(vocabulary)} | options
        return build_model("actionclip-tiny", num_classes=max(1, len(names)), **options).eval()

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(model, make_batch):
    batch = make_batch(3, views=2)
    whole = model(batch)
    assert list(whole.shape) == [3, 2, 4]
    torch.testing.assert_close(whole[1:2, 1:2], model.logits(batch.clips[1:2, 1:2]), rtol=1e-4, atol=1e-4)


def test_two_steps_lower_the_loss_and_reach_every_parameter(make_model, make_batch):
    model = make_model(prompts=("a man who is {}",)).train()
    batch = make_batch(4, torch.tensor([0, 1, 2, 3]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = sum(model.loss(batch).values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_loss_is_the_divergence_from_pairs_of_one_class(make_model, make_batch):
    model = make_model(prompts=("{}",))
    labels = torch.tensor([2, 0, 2])
    batch = make_batch(3, labels)
    with torch.no_grad():
        losses = model.loss(batch)
        clips, texts = model.clip_features(batch.clips)[:, 0], model.text_features()[0, labels]
        rows = model.clip.logit_scale.exp() * clips @ texts.T
    same = torch.tensor([[10.0, 0, 10], [0, 10, 0], [10, 0, 10]]).softmax(dim=1)
    for name, found in (("clip_to_text_loss", rows), ("text_to_clip_loss", rows.T)):
        expected = (same * (same.log() - found.log_softmax(dim=1))).sum() / 3 / 2
        torch.testing.assert_close(losses[name], expected)


def test_probabilities_are_averaged_over_prompts_and_views(model, make_batch):
    batch = make_batch(2, views=3)
    scores = model.predict(batch).scores
    with torch.no_grad():
        cosines = torch.einsum("bve,pke->bvpk", model.clip_features(batch.clips), model.text_features())
    assert list(cosines.shape) == [2, 3, 16, 4]
    torch.testing.assert_close(scores, (100 * cosines).softmax(-1).mean((1, 2)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))


def test_views_in_pieces_give_the_same(make_model, make_batch):
    batch = make_batch(2, views=3)
    whole, pieces = make_model().predict(batch).scores, make_model(max_views=2).predict(batch).scores
    torch.testing.assert_close(whole, pieces, rtol=1e-4, atol=1e-5)


def test_other_names_classify_without_training(model, make_model, make_batch):
    batch = make_batch(2)
    before = model.predict(batch).scores
    model.name_classes(["jump", "run"])
    scores = model.predict(batch).scores
    assert list(scores.shape) == [2, 2]
    torch.testing.assert_close(scores, make_model(("jump", "run")).predict(batch).scores)
    model.name_classes(NAMES)
    torch.testing.assert_close(model.predict(batch).scores, before)


def test_underscores_of_names_are_spaces(make_model):
    one, other = make_model(("running_in", "run")), make_model(("running in", "run"))
    assert torch.equal(one.tokens(), other.tokens())


def test_texts_follow_the_weights(model, make_batch):
    batch = make_batch(4, torch.tensor([0, 1, 2, 3]))
    before = model.predict(batch).scores
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sum(model.train().loss(batch).values()).backward()
    optimizer.step()
    scores = model.eval().predict(batch).scores
    assert not torch.allclose(scores, before)
    fresh = build_model(
        "actionclip-tiny", num_classes=4, **{k: getattr(model.config, k) for k in ("clip", "vocabulary")}
    )
    fresh.load_state_dict(model.state_dict())
    fresh.name_classes(NAMES)
    torch.testing.assert_close(fresh.eval().predict(batch).scores, scores)


def test_texts_follow_weights_that_are_loaded_between_predictions(make_model, make_batch):
    batch, model, other = make_batch(2), make_model(), make_model()
    with torch.no_grad():
        other.clip.token_embedding.weight.mul_(2)
        other.clip.text_projection.add_(torch.randn_like(other.clip.text_projection))
    model.predict(batch)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model.predict(batch).scores, other.predict(batch).scores)


def test_a_model_is_exported_with_its_texts(model, make_batch):
    class Scores(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, clips):
            return self.model.logits(clips)

    clips = make_batch(2).clips
    with torch.no_grad():
        expected = model.logits(clips)
        exported = torch.export.export(Scores(), (clips,)).module()
        torch.testing.assert_close(exported(clips), expected)


def test_multiply_adds_are_counted_without_names():
    with torch.device("meta"):
        model = build_model("actionclip-b32", num_classes=400)
    count = count_macs(model, (3, 8, 224, 224))
    # ViT-B/32 on 8 frames of 50 tokens: the patches; per layer 12 D^2 per token, attention and two norms.
    tokens, width = 50, 768
    layer = tokens * (12 * width**2 + 2 * tokens * width + 2 * 5 * width)
    frame = 49 * 32 * 32 * 3 * width + 12 * layer + (tokens + 1) * 5 * width + width * 512
    assert count.by_module["clip.visual"] == 8 * frame


@torch.inference_mode()
def test_padding_behind_a_text_does_not_matter(model):
    tokens = model.tokens()[:, 0]
    padded = torch.cat([tokens, tokens.new_zeros(len(tokens), 3)], dim=1)
    torch.testing.assert_close(model.clip.encode_text(padded[:, :-3]), model.clip.encode_text(tokens))
    alone = model.clip.encode_text(tokens[:1])
    torch.testing.assert_close(model.clip.encode_text(tokens)[:1], alone, rtol=1e-4, atol=1e-5)


def test_classes_are_those_of_the_data_unless_named(tmp_path):
    model = build_model("actionclip-tiny", num_classes=2, data_classes=("a", "b"))
    assert model.class_names == ("a", "b")
    model = build_model("actionclip-tiny", num_classes=2, data_classes=("a", "b"), class_names=["c", "d"])
    assert model.class_names == ("c", "d")
    assert build_model("videomae-tiny", num_classes=2, data_classes=("a", "b")).num_classes == 2


def test_classes_without_names_are_refused(make_model, make_batch):
    with pytest.raises(ConfigError, match="needs the names of its classes"):
        make_model(()).predict(make_batch(1))


def test_a_vocabulary_of_another_size_is_refused(make_model, tmp_path, make_batch):
    other = write_vocabulary(tmp_path / "other.txt", merges=("a b",))
    with pytest.raises(WeightsError, match=f"makes 515 tokens, and the model has {NUM_TOKENS}"):
        make_model(vocabulary=str(other)).predict(make_batch(1))


def test_a_missing_vocabulary_is_refused(make_model, make_batch):
    with pytest.raises(WeightsError, match="no such file"):
        make_model(vocabulary="nowhere.gz").predict(make_batch(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ("a",)}, "class_names has 1 names for 4 classes"),
        ({"prompts": ("a video",)}, "prompts must each hold {}"),
        ({"prompts": ()}, "prompts must each hold {}"),
        ({"label_smoothing": 0.1}, "neither multi_label nor dropout nor label_smoothing"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_model("actionclip-tiny", num_classes=4, **options)


def test_longer_clips_than_there_are_positions_for_are_refused(make_model, make_batch):
    with pytest.raises(ValueError, match="clips of 4 frames for a model of num_frames = 3"):
        make_model(num_frames=3)(make_batch(1))


def test_mixed_labels_are_refused(model, make_batch):
    with pytest.raises(ValueError, match=r"labels must be integer of shape \[2\].*leave mixing out"):
        model.loss(make_batch(2, torch.full((2, 4), 0.25)))


def test_there_are_sixteen_prompts():
    assert len(set(PROMPTS)) == 16


def test_the_adapter_may_learn_at_ten_times_the_rate(model):
    groups = {group["name"]: group for group in param_groups(model, 1e-3, 0.2, "adapter_lr10")}
    assert (groups["rest"]["lr"], groups["adapter"]["lr"]) == (1e-3, 1e-2)
    assert len(groups["adapter"]["params"]) == len(list(model.adapter.parameters()))
    with pytest.raises(ConfigError, match="'adapter_lr10' is for models with a part 'adapter'"):
        param_groups(build_model("videomae-tiny", num_classes=2), 1e-3, 0.2, "adapter_lr10")
