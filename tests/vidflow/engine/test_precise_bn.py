"""BatchNorm's statistics measured after an epoch: equal to those of all inputs at once, also over two processes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vidflow.batch import Batch, SkippedSample
from vidflow.dataset import PackedDataset
from vidflow.engine.precise_bn import PreciseBN, learning_norms, measure
from vidflow.engine.processes import accelerate_session
from vidflow.engine.runs import RunFolder
from vidflow.engine.train import train
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.pipelines.loader import build_loader


class Normed(nn.Module):
    """One BatchNorm of the clips' channels, so that statistics are those of the inputs themselves."""

    def __init__(self, **options):
        super().__init__()
        self.norm, self.unused = nn.BatchNorm3d(3, **options), nn.BatchNorm1d(2)

    def loss(self, batch):
        return {"loss": self.norm(batch.clips.flatten(0, 1)).mean()}


def make_batches(sizes, skipped=()):
    generator = torch.Generator().manual_seed(0)
    batches = []
    for size in sizes:
        clips = 5 + torch.tensor([1.0, 10.0, 0.1]).view(3, 1, 1, 1) * torch.randn(
            size, 1, 3, 2, 4, 4, generator=generator
        )
        rows = torch.arange(size)
        batches.append(Batch(list(map(str, rows)), rows, {"clips": clips}, {}, torch.zeros(size, dtype=torch.bool)))
    lost = tuple(SkippedSample(row, "0", "a", "damaged") for row in skipped)
    batches[-1] = replace(batches[-1], skipped=lost)
    return batches


@pytest.fixture
def accelerator():
    with accelerate_session() as session:
        yield session


def stats_of(clips):
    """Mean and variance of each channel, in float64."""
    values = clips.double().transpose(0, 2).flatten(1)
    return values.mean(dim=1).float(), values.var(dim=1, correction=0).float()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_those_of_all_inputs_at_once(accelerator, momentum):
    model = Normed(momentum=momentum)
    batches = make_batches([3, 1, 4])
    measure(model, batches, accelerator)
    mean, variance = stats_of(torch.cat([batch.clips for batch in batches]))
    torch.testing.assert_close(model.norm.running_mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.norm.running_var, variance, rtol=1e-4, atol=1e-6)
    assert model.norm.num_batches_tracked == 0
    assert not model.norm._forward_pre_hooks


def test_a_norm_that_no_batch_reaches_keeps_its_statistics(accelerator):
    model = Normed()
    model.unused.running_mean.fill_(7.0)
    measure(model, make_batches([2]), accelerator)
    assert model.unused.running_mean.tolist() == [7.0, 7.0]


def test_skipped_samples_do_not_count(accelerator):
    model = Normed()
    batches = make_batches([2, 3, 2], skipped=(0, 1))
    measure(model, batches, accelerator)
    mean, _ = stats_of(torch.cat([batch.clips for batch in batches[:2]]))
    torch.testing.assert_close(model.norm.running_mean, mean, rtol=1e-5, atol=1e-5)


def test_frozen_norms_are_not_measured(accelerator):
    model = build_model("slowonly-tiny", num_classes=3, norm_eval=True)
    assert learning_norms(model) == []
    with pytest.raises(
        ConfigError, match=r"train.precise_bn = 3: the model has no BatchNorm whose statistics are learnt"
    ):
        PreciseBN(model, None, 3, accelerator=accelerator, seed=0)


def first_norm(config, *, batch_size=4, processes=1):
    """The first BatchNorm of a finished run, the convolution before it, and the measured epoch's batches of all
    processes."""
    weights = load_file(RunFolder(Path(config.output) / config.name).weights("last"))
    model = build_model("tsn-tiny", num_classes=3)
    model.load_state_dict(weights)
    batches = []
    for rank in range(processes):
        loader = build_loader(
            PackedDataset.open(config.data.root),
            config.data.train,
            split="train",
            batch_size=batch_size,
            training=True,
            seed=config.seed,
            executor="reference",
            rank=rank,
            world_size=processes,
        )
        loader.set_epoch(config.train.epochs)
        batches += loader
    return model.backbone.bn1, model.backbone.conv1, batches


def test_a_run_ends_with_the_statistics_of_its_last_weights(make_config):
    config = make_config("train.epochs=2", "schedule.milestones=[1]", "train.precise_bn=5")
    train(config)
    norm, conv, batches = first_norm(config)
    with torch.no_grad():
        frames = torch.cat([batch.clips for batch in batches[:5]]).transpose(2, 3).flatten(0, 2)
        values = conv(frames).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, values.mean(dim=1).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, values.var(dim=1, correction=0).float(), rtol=1e-4, atol=1e-5)


def test_weights_are_those_of_a_run_without_it(make_config):
    runs = []
    for name, extra in (("plain", ()), ("precise", ("train.precise_bn=2",))):
        config = make_config(f"name={name}", "train.epochs=2", "schedule.milestones=[1]", *extra)
        train(config)
        runs.append(load_file(RunFolder(Path(config.output) / name).weights("last")))
    plain, precise = runs
    statistics = {name for name in plain if "running_" in name}
    assert all(torch.equal(plain[name], precise[name]) for name in plain.keys() - statistics)
    assert not any(torch.equal(plain[name], precise[name]) for name in statistics)


def test_the_averaged_weights_are_measured_where_there_are_some(make_config):
    config = make_config("train.epochs=2", "schedule.milestones=[1]", "train.precise_bn=5", "train.ema=0.9")
    train(config)
    best = load_file(RunFolder(Path(config.output) / config.name).best_weights)
    _, conv, batches = first_norm(config)
    conv.load_state_dict({"weight": best["backbone.conv1.weight"]})
    with torch.no_grad():
        values = conv(torch.cat([batch.clips for batch in batches[:5]]).transpose(2, 3).flatten(0, 2))
    torch.testing.assert_close(best["backbone.bn1.running_mean"], values.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_only_what_is_validated_or_saved_is_measured(make_config, monkeypatch):
    epochs = []
    call = PreciseBN.__call__
    monkeypatch.setattr(
        PreciseBN, "__call__", lambda self, *args, epoch: (epochs.append(epoch), call(self, *args, epoch=epoch))
    )
    settings = ("train.epochs=4", "schedule.milestones=[3]", "train.precise_bn=2", "train.val_every=0")
    config = make_config("name=seldom", "train.checkpoint_every_epochs=3", *settings)
    train(config)
    assert epochs == [3, 4]
    often = make_config("name=often", "train.checkpoint_every_epochs=1", *settings)
    train(often)
    assert epochs[2:] == [1, 2, 3, 4]
    seldom, often = (load_file(RunFolder(Path(config.output) / name).weights("last")) for name in ("seldom", "often"))
    assert all(torch.equal(seldom[name], often[name]) for name in seldom)


def test_a_run_that_stops_in_mid_epoch_is_measured_too(make_config):
    config = make_config("train.max_steps=2", "train.precise_bn=2", "name=short")
    train(config)
    plain = make_config("train.max_steps=2", "name=plain")
    train(plain)
    short, other = (load_file(RunFolder(Path(config.output) / name).weights("last")) for name in ("short", "plain"))
    assert not torch.equal(short["backbone.bn1.running_mean"], other["backbone.bn1.running_mean"])


TELLING = """
import sys

from vidflow.models import build_model


def telling_model(**options):
    model = build_model("tsn-tiny", **options)
    predict = model.predict

    def predict_and_tell(batch):
        sums = [float(value.double().sum()) for name, value in model.named_buffers() if "running_" in name]
        sys.stderr.write("statistics " + " ".join(map(repr, sums)) + chr(10))
        return predict(batch)

    model.predict = predict_and_tell
    return model
"""


@pytest.mark.slow
def test_two_processes_measure_the_batches_of_both(launch, config_file, make_config, tmp_path, monkeypatch):
    (tmp_path / "telling.py").write_text(TELLING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # Nothing is saved, and so shared, after the first epoch: what is validated is what each process has measured.
    changes = (
        "train.epochs=2",
        "schedule.milestones=[1]",
        "train.checkpoint_every_epochs=2",
        "train.batch_size=2",
        "train.precise_bn=100",
        "model.name=telling:telling_model",
    )
    told = launch("train.py", "--cfg", str(config_file), *(word for change in changes for word in ("--set", change)))
    lines = [line for line in told.stderr.splitlines() if line.startswith("statistics ")]
    assert len(set(lines)) == 2, lines  # one for each epoch
    assert len(lines) >= 4
    config = make_config("train.epochs=2", "schedule.milestones=[1]")
    norm, conv, batches = first_norm(config, batch_size=2, processes=2)
    assert len(batches) == 12
    with torch.no_grad():
        values = conv(torch.cat([batch.clips for batch in batches]).transpose(2, 3).flatten(0, 2))
    torch.testing.assert_close(norm.running_mean, values.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        norm.running_var, values.double().var(dim=(0, 2, 3), correction=0).float(), rtol=1e-4, atol=1e-5
    )
