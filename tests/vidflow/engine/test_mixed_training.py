"""Training on mixed batches: soft labels reach the model, and a resumed run mixes as an uninterrupted one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidflow.engine.loop import Loop
from vidflow.engine.runs import RunFolder
from vidflow.engine.signals import StoppedError
from vidflow.engine.train import train

PROBE = ("model.name=probe_models:Probe",)
MIXING = "data.train.mixing={mixup=0.8, cutmix=1.0}"


def last_weights(config) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(Path(config.output) / config.name).weights("last"))


def test_an_interrupted_mixed_run_ends_with_the_weights_of_an_uninterrupted_one(make_config, probe_models, monkeypatch):
    config = make_config(*PROBE, MIXING, "name=whole")
    train(config)
    plain = make_config(*PROBE, "name=plain")
    train(plain)
    whole = last_weights(config)
    assert any(not torch.equal(value, last_weights(plain)[name]) for name, value in whole.items())

    interrupted = config.model_copy(update={"name": "interrupted"})
    monkeypatch.setenv("VIDFLOW_PROBE", "SIGTERM:5")
    with pytest.raises(StoppedError):
        train(interrupted)
    monkeypatch.delenv("VIDFLOW_PROBE")
    train(interrupted, resume=True)
    assert all(torch.equal(value, last_weights(interrupted)[name]) for name, value in whole.items())


def test_training_sees_soft_labels_and_validation_does_not(make_config, probe_models, monkeypatch):
    config = make_config(*PROBE, MIXING, "name=soft")
    seen = []
    mixed = Loop._mixed

    def watched(self, batch):
        out = mixed(self, batch)
        seen.append((batch.labels.dtype, out.labels))
        return out

    monkeypatch.setattr(Loop, "_mixed", watched)
    train(config)
    assert {before for before, _ in seen} == {torch.int64}
    assert any(((labels > 0) & (labels < 1)).any() for _, labels in seen)
    assert all(torch.allclose(labels.sum(1), torch.ones(len(labels))) for _, labels in seen)
