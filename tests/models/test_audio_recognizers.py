"""Networks of sound: against MMAction2 1.2.0, gradients, batch independence, bad input, and its files."""

import os
from pathlib import Path

import pytest
import torch

from vidflow.batch import Batch
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.weights.convert import convert

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
CASES = {
    "tsn_r18_8xb320-64x1x1-100e_kinetics400-audio-feature": "audio-r18",
    "audioonly_r50_8xb160-64x1x1-100e_kinetics400-audio-feature": "audioonly-r50",
}
NAMES = ("audio-tiny", "audio-r18", "audio-r50", "audioonly-r50")


def batch_of(num_samples, labels=None, *, views=1, length=32, bands=24, seed=0):
    mel = torch.rand(num_samples, views, 1, length, bands, generator=torch.Generator().manual_seed(seed))
    return Batch(
        ids=[str(i) for i in range(num_samples)],
        indices=torch.arange(num_samples),
        inputs={"mel": mel, "mel_padding": torch.zeros(num_samples, views, length, dtype=torch.bool)},
        targets={"labels": torch.zeros(num_samples, dtype=torch.int64) if labels is None else labels},
        padding=torch.zeros(num_samples, dtype=torch.bool),
    )


@pytest.mark.parametrize("config", CASES)
def test_scores_equal_the_reference(config, load_reference, tmp_path):
    reference = load_reference(FOLDER / f"{config}.json.gz")
    model, mel = reference.load_into(build_model(CASES[config], num_classes=400), tmp_path)  # [B, V=1, 1, T, F]
    with torch.inference_mode():
        reference.assert_output(model.logits(mel)[:, 0])


@pytest.mark.parametrize(("name", "num_params"), [("audio-r18", 11_375_440), ("audioonly-r50", 6_315_728)])
def test_parameter_counts_equal_the_published_models(name, num_params):
    with torch.device("meta"):
        model = build_model(name, num_classes=400)
    assert sum(p.numel() for p in model.parameters()) == num_params


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    model = build_model(name, num_classes=5)
    sum(model.loss(batch_of(3, torch.tensor([0, 3, 4]), length=64, bands=40)).values()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@pytest.mark.parametrize("name", ["audio-tiny", "audioonly-r50"])
def test_samples_and_views_do_not_mix_in_evaluation(name):
    torch.manual_seed(0)
    model = build_model(name, num_classes=5).eval()
    batch = batch_of(3, views=2)
    with torch.inference_mode():
        whole = model(batch)
        alone = model.logits(batch.inputs["mel"][1:2, 1:])
    assert whole.shape == (3, 2, 5)
    torch.testing.assert_close(whole[1, 1], alone[0, 0], rtol=1e-4, atol=1e-4)
    predicted = model.predict(batch)
    torch.testing.assert_close(predicted.scores, whole.softmax(-1).mean(1))


def test_clips_are_refused_with_their_shape():
    model = build_model("audio-tiny", num_classes=5)
    with pytest.raises(ValueError, match=r"mel features must be \[B, V, 1, T, F\], not \[2, 1, 3, 4, 8, 8\]"):
        model.logits(torch.zeros(2, 1, 3, 4, 8, 8))


def test_frozen_stages_stay_as_they_are():
    model = build_model("audioonly-r50", num_classes=5, frozen_stages=2)
    fixed = {name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert fixed == {"conv1", "bn1", "layer1", "layer2"}
    with pytest.raises(ConfigError, match=r"frozen_stages \(5\) must lie in \[-1, 4\]"):
        build_model("audioonly-r50", num_classes=5, frozen_stages=5)


def test_a_file_whose_config_is_one_of_sound_is_told_from_a_tsn(as_mmaction2, tmp_path):
    model = build_model("audio-r18", num_classes=7)
    state = as_mmaction2(model.state_dict(), shifted=False)
    texts = {"sound.pth": "model = dict(type='RecognizerAudio')", "frames.pth": "model = dict(type='Recognizer2D')"}
    for name, text in texts.items():
        torch.save({"meta": {"cfg": text}, "state_dict": state}, tmp_path / name)
    found = {name: convert(tmp_path / name, tmp_path / f"{name}.safetensors").model for name in texts}
    assert found == {"sound.pth": "audio-r18", "frames.pth": "tsn-r18"}
