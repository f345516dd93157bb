"""Damaged samples in a run: counted, written down, and without any weight; in evaluation a counted miss."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from damage import damage_sample
from safetensors.torch import load_file

from vidflow.dataset import PackedDataset
from vidflow.engine.gradients import scale_gradients
from vidflow.engine.runs import RunFolder
from vidflow.engine.seeding import seed_all
from vidflow.engine.signals import StoppedError
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train
from vidflow.errors import AlteredShardError, DataError, DecodeError
from vidflow.models import build_model
from vidflow.pipelines.loader import build_loader

SHORT = ("train.epochs=1", "schedule.kind=cosine", "schedule.milestones=[]")
LINEAR = ("model.name=probe_models:Linear", "optim.options={}", "optim.clip_norm=none", "schedule.warmup_steps=0")


@pytest.fixture
def damaged(packed, tmp_path):
    """The packed set with three damaged samples in training and one in validation: root, and ids by split."""
    root = shutil.copytree(packed, tmp_path / "damaged")
    dataset = PackedDataset.open(root)
    ids = {
        split: [damage_sample(root, int(i)) for i in dataset.select(split)[places]]
        for split, places in (("train", [2, 9, 20]), ("val", [4]))
    }
    return root, ids


def lines(config, kind):
    log = (Path(config.output) / config.name / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, log) if line["kind"] == kind]


@pytest.fixture
def skipping(make_config, damaged):
    """A config that goes on without damaged samples."""
    return lambda *more: make_config(
        f"data.root={damaged[0]}",
        "data.on_bad_sample=skip",
        "data.on_bad_sample_eval=miss",
        "data.max_skipped=0.2",
        "data.checksums=false",
        *more,
    )


def test_by_default_a_damaged_sample_ends_the_run_with_its_name(make_config, damaged):
    with pytest.raises(DecodeError, match="train/") as error:
        train(make_config(f"data.root={damaged[0]}", "data.checksums=false"))
    assert any(name in str(error.value) for name in damaged[1]["train"])


def test_skipped_samples_are_counted_per_epoch_and_named_in_the_log(skipping, damaged, capfd):
    config = skipping("train.epochs=2", "schedule.milestones=[1]")
    train(config)
    named = lines(config, "skipped")
    assert {line["id"] for line in named} <= set(damaged[1]["train"])
    by_epoch = {epoch: [line["id"] for line in named if line["epoch"] == epoch] for epoch in (1, 2)}
    assert all(len(ids) == len(set(ids)) >= 2 for ids in by_epoch.values())
    last = {line["epoch"]: line.get("num_skipped", 0) for line in lines(config, "train")}
    assert last == {epoch: len(ids) for epoch, ids in by_epoch.items()}
    assert f"epoch 1: {len(by_epoch[1])} of 24 samples were skipped" in capfd.readouterr().err


def test_the_gradient_is_the_mean_over_the_samples_that_were_read(skipping, damaged, probe_models):
    config = skipping(*LINEAR, "train.max_steps=1", "optim.accumulate=6", "train.val_every=0", "seed=11")
    train(config)
    loader = build_loader(
        PackedDataset.open(damaged[0]), config.data.train, split="train", batch_size=4, training=True, seed=11,
        executor="reference", on_bad_sample="skip",
    )  # fmt: skip
    batches = [batch.without_skipped() for batch in loader]
    assert sum(map(len, batches)) < 24
    seed_all(11, "model")
    model = build_model("probe_models:Linear", num_classes=3, multi_label=False)
    clips, labels = torch.cat([b.clips for b in batches]), torch.cat([b.labels for b in batches])
    torch.nn.functional.cross_entropy(model.fc(clips.mean(dim=(1, 3)).flatten(1)), labels).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= config.optim.lr * parameter.grad
    for name, value in load_file(RunFolder(Path(config.output) / config.name).weights("last")).items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_a_step_of_nothing_but_damage_is_not_made(skipping, damaged):
    config = skipping("train.batch_size=1", "optim.accumulate=1", *SHORT)
    progress = train(config)
    assert progress.step == 26 - 3
    assert len(lines(config, "skipped")) == 3


def test_too_many_skipped_samples_end_the_run(skipping):
    with pytest.raises(DataError, match=r"of 24 samples of epoch 1 could not be read, more than data.max_skipped = 0"):
        train(skipping("data.max_skipped=0"))


def test_resuming_keeps_the_count_and_the_weights(skipping, probe_models, monkeypatch):
    probe = ("model.name=probe_models:Probe",)
    whole = skipping(*probe, "name=whole")
    train(whole)
    broken = skipping(*probe, "name=broken")
    monkeypatch.setenv("VIDFLOW_PROBE", "SIGTERM:8")
    with pytest.raises(StoppedError):
        train(broken)
    monkeypatch.delenv("VIDFLOW_PROBE")
    train(broken, resume=True)
    ends = [RunFolder(Path(config.output) / config.name).weights("last") for config in (whole, broken)]
    first, second = map(load_file, ends)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert lines(broken, "skipped") != []
    for kind in ("train", "skipped"):
        both = [[{k: line.get(k) for k in ("step", "epoch", "id", "num_skipped")} for line in lines(c, kind)]
                for c in (whole, broken)]  # fmt: skip
        assert both[0] == both[1]


def test_a_run_that_failed_may_go_on_with_skip(make_config, damaged, skipping):
    config = make_config(f"data.root={damaged[0]}", "data.checksums=false", "train.checkpoint_every_steps=1")
    with pytest.raises(DecodeError):
        train(config)
    assert train(skipping("train.checkpoint_every_steps=1"), resume=True).epoch == 3


def test_a_missed_sample_counts_as_wrong_and_is_named(skipping, damaged, make_config, packed, capfd):
    config = skipping("train.epochs=3", "schedule.milestones=[2]")
    train(config)
    val = lines(config, "val")[-1]
    assert (val["num_missed"], val["num_samples"]) == (1, 10)
    assert [line["id"] for line in lines(config, "missed")][-1:] == damaged[1]["val"]
    run = RunFolder(Path(config.output) / config.name)
    capfd.readouterr()
    missed = evaluate_run(run, run.config(), checkpoint="last", dump=run.path / "missed.parquet")
    assert damaged[1]["val"][0] in capfd.readouterr().err
    sound = evaluate_run(run, run.config([f"data.root={packed}"]), checkpoint="last", dump=run.path / "sound.parquet")
    assert missed.num_samples == sound.num_samples == 10
    assert missed.metrics["num_missed"] == 1
    assert "num_missed" not in sound.metrics
    ours, theirs = (pq.read_table(run.path / f"{name}.parquet").to_pydict() for name in ("missed", "sound"))
    assert ours["predicted"][4] == -1
    assert [p for i, p in enumerate(ours["predicted"]) if i != 4] == [
        p for i, p in enumerate(theirs["predicted"]) if i != 4
    ]
    right = [[p] == label for p, label in zip(theirs["predicted"], theirs["labels"], strict=True)]
    right[4] = False
    assert missed.metrics["top1"] == pytest.approx(sum(right) / 10)


def test_a_damaged_sample_ends_an_evaluation_by_default(make_config, damaged, packed):
    config = make_config(*SHORT)
    train(config)
    run = RunFolder(Path(config.output) / config.name)
    with pytest.raises(DecodeError, match=r"val/004\.mp4"):
        evaluate_run(run, run.config([f"data.root={damaged[0]}", "data.checksums=false"]), checkpoint="last")


@pytest.fixture
def altered(packed, tmp_path):
    """The packed set with one bit of the validation shard changed behind its last sample."""
    root = shutil.copytree(packed, tmp_path / "altered")
    data = bytearray((root / "val-000000.tar").read_bytes())
    data[-1] ^= 1
    (root / "val-000000.tar").write_bytes(data)
    return root


def test_an_altered_shard_ends_a_run_by_default(make_config, altered):
    with pytest.raises(AlteredShardError, match=r"val-000000\.tar: has the SHA-256"):
        train(make_config(f"data.root={altered}", *SHORT))
    assert train(make_config(f"data.root={altered}", *SHORT, "data.checksums=false"), overwrite=True).epoch == 1


def test_an_altered_shard_whose_samples_are_whole_is_told_once_where_damage_is_counted(make_config, altered, capfd):
    config = make_config(f"data.root={altered}", "data.on_bad_sample_eval=miss")
    train(config)
    assert capfd.readouterr().err.count("val-000000.tar: has the SHA-256") == 1
    assert [line["num_samples"] for line in lines(config, "val")] == [10] * 3
    assert all("num_missed" not in line for line in lines(config, "val"))
    (damage,) = lines(config, "damage")
    assert "val-000000.tar" in damage["reason"]
    longer = make_config(f"data.root={altered}", "data.on_bad_sample_eval=miss", "train.epochs=4")
    train(longer, resume=True)
    assert lines(longer, "damage") == [damage]


def test_gradients_are_scaled_and_nothing_is_left_of_nothing():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([3.0, 6.0])
    assert scale_gradients([parameter], 0.75)
    assert parameter.grad.tolist() == [4.0, 8.0]
    assert not scale_gradients([parameter], 0.0)


@pytest.mark.slow
def test_damage_on_one_of_two_processes_stops_neither(launch, config_file, damaged, tmp_path):
    launch(
        "train.py", "--cfg", str(config_file),
        *[word for o in (f"data.root={damaged[0]}", "data.on_bad_sample=skip", "data.on_bad_sample_eval=miss",
                         "data.max_skipped=0.2", "train.batch_size=1", "data.checksums=false")
          for word in ("--set", o)],
    )  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "runs/tiny/log.jsonl").read_text().splitlines()]
    skipped = [line for line in log if line["kind"] == "skipped"]
    assert {line["id"] for line in skipped} == set(damaged[1]["train"])
    assert [line["num_missed"] for line in log if line["kind"] == "val"] == [1.0] * 3
