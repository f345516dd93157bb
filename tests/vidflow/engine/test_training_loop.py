import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidflow.dataset import PackedDataset
from vidflow.engine.processes import accelerate_session
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.engine.signals import StopRequest
from vidflow.engine.train import assemble, train
from vidflow.errors import ConfigError, DataError, MissingExtraError, NonFiniteLossError
from vidflow.pipelines.loader import build_loader

LINEAR = ("model.name=probe_models:Linear", "optim.clip_norm=none", "schedule.warmup_steps=0")
PROBE = ("model.name=probe_models:Probe",)


def folder(config) -> RunFolder:
    return RunFolder(Path(config.output) / config.name)


def log(config, kind: str) -> list[dict]:
    return [line for line in map(json.loads, folder(config).log_path.read_text().splitlines()) if line["kind"] == kind]


def test_a_run_learns_and_writes_its_folder(make_config):
    config = make_config("train.epochs=4")
    progress = train(config)
    assert (progress.epoch, progress.step) == (4, 12)
    assert progress.best_metrics["top1"] == 1.0
    run = folder(config)
    assert run.config() == config
    assert [path.name for path in run.saved_steps()] == ["step-00000012"]
    assert json.loads((run.path / "metrics.json").read_text())["best"] == progress.best
    assert [line["step"] for line in log(config, "train")] == list(range(1, 13))
    assert [line["num_samples"] for line in log(config, "val")] == [10] * 4
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["best.safetensors", "step-00000012"]


def test_a_short_last_window_is_stepped_as_the_mean_of_its_own_batches(
    make_config, probe_models, make_packed, tmp_path
):
    root = make_packed(tmp_path / "seven", {"train": [(i % 3,) for i in range(28)], "val": [(0,)]})
    config = make_config(*LINEAR, f"data.root={root}", "optim.accumulate=3", "train.epochs=3", "train.val_every=0")
    progress = train(config)
    assert progress.step == 9  # 7 batches of 4 per epoch: windows of 3, 3 and 1

    # The same by hand: each window as one large batch.
    import probe_models as module

    torch.manual_seed(0)
    model = module.Linear(3, False)
    model.load_state_dict(first_weights(config))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = build_loader(
        PackedDataset.open(root),
        config.data.train,
        split="train",
        batch_size=4,
        training=True,
        seed=config.seed,
        executor="reference",
    )
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch < 2 else 0.005
        batches = list(loader)
        for window in (batches[:3], batches[3:6], batches[6:]):
            scores = torch.cat([model.scores(batch) for batch in window])
            loss = torch.nn.functional.cross_entropy(scores, torch.cat([batch.labels for batch in window]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(
        load_file(folder(config).weights("last")), dict(model.state_dict()), rtol=1e-4, atol=1e-5
    )


def first_weights(config) -> dict[str, torch.Tensor]:
    with accelerate_session() as accelerator, StopRequest() as stop:
        return assemble(config, folder(config), accelerator, stop).model.state_dict()


def test_the_same_seed_gives_the_same_run_and_another_one_does_not(make_config):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        config = make_config(f"name={name}", f"seed={seed}", "train.max_steps=3")
        train(config)
        weights.append(load_file(folder(config).weights("last")))
    differs = lambda x, y: [k for k in x if not torch.equal(x[k], y[k])]  # noqa: E731
    assert not differs(weights[0], weights[1])
    assert differs(weights[0], weights[2])


def test_the_logged_rates_follow_the_schedule(make_config):
    config = make_config()
    train(config)
    rates = [line["lr"] for line in log(config, "train")]
    assert rates == pytest.approx([0.005, 0.0275, 0.05, 0.05, 0.05, 0.05, 0.005, 0.005, 0.005])


def test_an_auto_scaled_rate_is_that_of_the_total_batch(make_config):
    config = make_config("optim.auto_scale_lr=true", "optim.base_batch=16", "train.max_steps=4")
    train(config)
    assert log(config, "train")[-1]["lr"] == pytest.approx(0.05 * 4 * 2 / 16)


def test_steps_that_the_gradient_scaler_skips_do_not_advance_the_schedule(make_config, probe_models):
    # Bright pixels give gradients that overflow at the first, largest scales.
    config = make_config(*LINEAR, "train.val_every=0", "train.epochs=8", "data.train.normalize.std=[2, 2, 2]")
    run = folder(config)
    with accelerate_session() as accelerator, StopRequest() as stop:
        # So large a scale overflows; each overflow halves it and skips the step.
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=10**6)
        loop = assemble(config, run, accelerator, stop)
        run.start(config, ClassList(("a", "b", "c"), multi_label=False))
        from vidflow.engine.journal import Journal

        with Journal(run, tracker="none", active=True, step=0) as journal:
            progress = loop(journal)
        halvings = 127 - round(torch.log2(torch.tensor(accelerator.scaler.get_scale())).item())
    assert 0 < halvings < 24
    assert progress.step == 24 - halvings
    assert progress.epoch == 8


@pytest.mark.parametrize(("kind", "what"), [("nan", "the loss"), ("nangrad", "the gradient")])
def test_what_is_not_finite_ends_the_run_with_the_samples_and_good_weights(
    make_config, probe_models, monkeypatch, kind, what
):
    config = make_config(*PROBE)
    monkeypatch.setenv("VIDFLOW_PROBE", f"{kind}:10")
    with pytest.raises(
        NonFiniteLossError, match=rf"{what} is not finite after step 4 \(epoch 2\); the samples are train/0\d\d.mp4"
    ):
        train(config)
    saved = folder(config).saved_steps()
    assert [path.name for path in saved] == ["step-00000003"]
    assert all(value.isfinite().all() for value in load_file(saved[0] / "model.safetensors").values())


def test_bf16_trains(make_config):
    config = make_config("train.precision=bf16", "train.max_steps=2", "deterministic=false")
    train(config)
    assert {value.dtype for value in load_file(folder(config).weights("last")).values()} == {torch.float32, torch.int64}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU takes fp16")
def test_fp16_without_a_gpu_is_refused_before_anything_is_written(make_config):
    config = make_config("train.precision=fp16")
    with pytest.raises(ConfigError, match="needs a GPU"):
        train(config)
    assert not folder(config).path.exists()


def test_the_averaged_weights_are_what_is_validated_tested_and_kept_as_best(make_config):
    config = make_config("train.ema=0.5", "train.epochs=3", "train.max_steps=3")
    train(config)
    checkpoint = folder(config).saved_steps()[-1]
    assert (
        folder(config).weights("last") == folder(config).weights(str(checkpoint)) == checkpoint / "averaged.safetensors"
    )
    best, averaged, model = (
        load_file(path)
        for path in (
            folder(config).best_weights,
            checkpoint / "averaged.safetensors",
            checkpoint / "model.safetensors",
        )
    )
    assert best.keys() == averaged.keys() == model.keys()
    assert all(torch.equal(best[name], averaged[name]) for name in best)
    assert not torch.equal(averaged["head.fc.weight"], model["head.fc.weight"])


def test_without_an_average_there_is_no_file_of_one(make_config):
    config = make_config("train.epochs=3", "train.max_steps=1")
    train(config)
    checkpoint = folder(config).saved_steps()[-1]
    assert folder(config).weights("last") == checkpoint / "model.safetensors"
    assert not (checkpoint / "averaged.safetensors").exists()


def test_channels_last_trains_to_nearly_the_same(make_config):
    losses = []
    for name, value in (("plain", "false"), ("last", "true")):
        config = make_config(f"name={name}", f"train.channels_last={value}", "train.max_steps=3")
        train(config)
        losses.append([line["loss"] for line in log(config, "train")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_validation_can_be_left_out(make_config):
    config = make_config("train.val_every=0", "data.val_split=nowhere")
    assert train(config).best is None
    assert log(config, "val") == []


def test_validation_follows_its_interval_and_the_last_epoch(make_config):
    config = make_config("train.val_every=2")
    train(config)
    assert [line["epoch"] for line in log(config, "val")] == [2, 3]


def test_multi_label_sets_are_scored_by_map(make_config, make_packed, tmp_path):
    root = make_packed(
        tmp_path / "multi",
        {"train": [(i % 3, 2) if i % 3 < 2 else (2,) for i in range(24)], "val": [(0, 2), (1, 2), (2,), ()]},
        multi_label=True,
    )
    config = make_config(f"data.root={root}", "train.max_steps=2")
    progress = train(config)
    assert set(progress.metrics) == {"mAP", "classes_without_positives"}


def test_tensorboard_gets_the_numbers(make_config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make_config("train.tracker=tensorboard", "train.max_steps=3")
    train(config)
    events = EventAccumulator(str(folder(config).path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]
    assert events.Scalars("val/top1")[0].step == 3


def test_a_missing_tensorboard_names_its_extra(make_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    config = make_config("train.tracker=tensorboard")
    with pytest.raises(MissingExtraError, match=r"vidflow\[tensorboard\]"):
        train(config)
    assert not folder(config).path.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.name=SDG", "Did you mean 'SGD'"),
        ("optim.options={moment = 1}", "does not take optim.options"),
        ("optim.name=no_such_package:Opt", "cannot be imported"),
        ("optim.rule=tmss", "tmss"),
        ("model.name=tsn-tniy", "Did you mean 'tsn-tiny'"),
        ("model.options={detph = 3}", "detph"),
        ("train.best_metric=f2", "top1, top5"),
        ("data.val_split=test", "no split 'test'"),
        ("data.root=/no/such/folder", "no such file"),
        ("data.where=lable > 3", "does not work"),
        ("train.batch_size=64", "give no full batch"),
        ("model.num_classes=2", "3 classes|2 classes"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(make_config, override, message):
    config = make_config(override)
    with pytest.raises((ConfigError, DataError), match=message):
        train(config)
    assert not folder(config).path.exists()
