import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidflow.engine import runs
from vidflow.engine.checkpoint import read_checkpoint, weights_header
from vidflow.engine.loop import Loop
from vidflow.engine.runs import RunFolder
from vidflow.engine.signals import StoppedError
from vidflow.engine.train import train
from vidflow.errors import ConfigError, StorageError, WeightsError

PROBE = ("model.name=probe_models:Probe",)


def last_weights(config) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(Path(config.output) / config.name).weights("last"))


def log_without_times(config) -> list[dict]:
    lines = (Path(config.output) / config.name / "log.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k not in ("time", "clips_per_s", "data_wait")} for line in lines
    ]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture
def whole(make_config, probe_models):
    """An uninterrupted run, and its weights."""
    config = make_config(*PROBE, "name=whole", "train.ema=0.9", "optim.name=AdamW", "optim.lr=0.01", "optim.options={}")
    train(config)
    return config, last_weights(config)


@pytest.mark.parametrize(
    ("signal_name", "call"),
    [("SIGTERM", 3), ("SIGINT", 8), pytest.param("SIGTERM", 6, marks=pytest.mark.long), ("SIGTERM", 18)],
)
def test_a_signal_saves_and_a_resumed_run_ends_with_the_same_weights(
    whole, make_config, monkeypatch, signal_name, call
):
    config, expected = whole
    interrupted = config.model_copy(update={"name": "interrupted"})
    monkeypatch.setenv("VIDFLOW_PROBE", f"{signal_name}:{call}")
    with pytest.raises(StoppedError, match="--resume") as stopped:
        train(interrupted)
    assert stopped.value.exit_status == 128 + getattr(signal, signal_name)
    monkeypatch.delenv("VIDFLOW_PROBE")
    progress = train(interrupted, resume=True)
    assert (progress.epoch, progress.step) == (3, 9)
    assert_same(last_weights(interrupted), expected)
    assert_same(
        load_file(Path(config.output) / "interrupted/checkpoints/best.safetensors"),
        load_file(Path(config.output) / "whole/checkpoints/best.safetensors"),
    )
    assert log_without_times(interrupted) == log_without_times(config)


def test_a_run_whose_process_was_killed_goes_on_from_its_last_step_checkpoint(
    whole, make_config, config_file, monkeypatch, launch
):
    _, expected = whole
    monkeypatch.setenv("VIDFLOW_PROBE", "SIGKILL:9")
    overrides = [
        *PROBE,
        "name=killed",
        "train.ema=0.9",
        "optim.name=AdamW",
        "optim.lr=0.01",
        "optim.options={}",
        "train.checkpoint_every_steps=1",
    ]
    launch(
        "train.py",
        "--cfg",
        str(config_file),
        *[word for o in overrides for word in ("--set", o)],
        processes=1,
        expect=1,
    )
    monkeypatch.delenv("VIDFLOW_PROBE")
    killed = make_config(*overrides)
    assert RunFolder(Path(killed.output) / "killed").saved_steps()[-1].name == "step-00000004"
    train(killed, resume=True)
    assert_same(last_weights(killed), expected)


@pytest.mark.parametrize(
    "place", ["loop.rewrite_progress", "loop.save_weights", "checkpoint.save_file", "runs.RunFolder.write_metrics"]
)
def test_a_run_that_died_at_a_validation_or_a_checkpoint_tells_nothing_twice(whole, make_config, monkeypatch, place):
    config, expected = whole
    died = config.model_copy(update={"name": "died"})

    def die(*args, **kwargs):
        raise SystemExit(9)

    monkeypatch.setattr(f"vidflow.engine.{place}", die)
    with pytest.raises(SystemExit):
        train(died)
    monkeypatch.undo()
    assert 0 < len(log_without_times(died)) < len(log_without_times(config))
    train(died, resume=True)
    assert_same(last_weights(died), expected)
    assert log_without_times(died) == log_without_times(config)
    texts = [(Path(config.output) / name / "metrics.json").read_text() for name in ("whole", "died")]
    assert texts[0] == texts[1]


def test_best_weights_are_of_steps_that_are_kept(make_config, monkeypatch):
    config = make_config("train.checkpoint_every_epochs=3")
    real = Loop._train_epoch

    def die_later(loop, journal):
        if loop.progress.epoch == 2:
            raise SystemExit(9)
        return real(loop, journal)

    monkeypatch.setattr(Loop, "_train_epoch", die_later)
    with pytest.raises(SystemExit):
        train(config)
    run = RunFolder(Path(config.output) / config.name)
    progress, _ = read_checkpoint(run.saved_steps()[-1])
    assert weights_header(run.best_weights)["epoch"] == str(progress.best_epoch)


def test_a_resumed_run_reads_no_sample_again(make_config, probe_models, monkeypatch):
    from vidflow.pipelines import feeding

    config = make_config(*PROBE)
    monkeypatch.setenv("VIDFLOW_PROBE", "SIGTERM:4")
    with pytest.raises(StoppedError):
        train(config)
    monkeypatch.delenv("VIDFLOW_PROBE")
    reads: list[int] = []
    original = feeding.read_leniently

    def counting(dataset, indices, **options):
        reads.append(len(indices))
        return original(dataset, indices, **options)

    monkeypatch.setattr(feeding, "read_leniently", counting)
    train(config, resume=True)
    # 6 batches of 4 per epoch, 4 of them done; then a validation, and two whole epochs with theirs.
    assert reads == [8, 10, 24, 10, 24, 10]


def test_resuming_a_finished_run_changes_nothing(make_config):
    config = make_config()
    first = train(config)
    weights = last_weights(config)
    assert train(config, resume=True) == first
    assert_same(last_weights(config), weights)


def test_epochs_can_be_added_to_a_finished_run(make_config):
    train(make_config("train.epochs=3"))
    progress = train(make_config("train.epochs=4"), resume=True)
    assert (progress.epoch, progress.step) == (4, 12)
    train(make_config("train.epochs=4", "name=straight"))
    assert_same(last_weights(make_config()), last_weights(make_config("name=straight")))


def test_resume_of_a_run_that_does_not_exist_starts_it(make_config):
    assert train(make_config("train.epochs=3", "train.max_steps=1"), resume=True).step == 1


def test_an_existing_run_is_not_touched_without_being_told(make_config):
    config = make_config("train.max_steps=1")
    train(config)
    before = log_without_times(config)
    with pytest.raises(ConfigError, match=r"--resume.*--overwrite"):
        train(config)
    assert log_without_times(config) == before
    assert train(config, overwrite=True).step == 1


def test_overwrite_spares_a_folder_that_is_no_run(make_config):
    config = make_config()
    folder = Path(config.output) / config.name
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="no run"):
        train(config, overwrite=True)
    assert (folder / "thesis.tex").read_text() == "precious"


def test_a_changed_config_is_refused_naming_every_key(make_config):
    train(make_config("train.max_steps=1"))
    with pytest.raises(ConfigError) as error:
        train(make_config("optim.lr=0.3", "data.train.size=[16, 16]", "train.log_every=7"), resume=True)
    text = str(error.value)
    assert "optim.lr: 0.05 -> 0.3" in text
    assert "data.train.size: [32, 32] -> [16, 16]" in text
    assert "log_every" not in text
    assert train(make_config("train.max_steps=2", "data.workers=threads"), resume=True).step == 2


def test_a_cosine_may_not_change_its_length(make_config):
    cosine = ("schedule.kind=cosine", "schedule.milestones=[]")
    train(make_config(*cosine, "train.max_steps=1"))
    with pytest.raises(ConfigError, match=r"train.epochs: 3 -> 9"):
        train(make_config(*cosine, "train.epochs=9"), resume=True)


def test_resume_from_a_folder_that_is_no_checkpoint_says_so(make_config, tmp_path):
    config = make_config()
    with pytest.raises(WeightsError, match="no checkpoint to resume from"):
        train(config, resume=tmp_path)
    assert not (Path(config.output) / config.name).exists()


def test_a_checkpoint_of_the_run_is_its_own_however_it_is_spelled(make_config, tmp_path, monkeypatch):
    train(make_config())
    monkeypatch.chdir(tmp_path)
    config = make_config("train.epochs=4", "output=runs")
    train(config, resume=RunFolder(Path("runs") / config.name).saved_steps()[-1].absolute())
    assert [line["step"] for line in log_without_times(config) if line["kind"] == "val"] == [3, 6, 9, 12]


@pytest.mark.parametrize("epochs", [3, 4])
def test_a_run_that_begins_at_the_checkpoint_of_another_has_all_of_its_own(make_config, epochs):
    first = make_config("name=first")
    train(first)
    second = make_config("name=second", f"train.epochs={epochs}")
    progress = train(second, resume=RunFolder(Path(first.output) / "first").saved_steps()[-1])
    assert progress.best_epoch >= 3
    run = RunFolder(Path(second.output) / "second")
    assert [path.name for path in run.saved_steps()] == [f"step-{3 * epochs:08d}"]
    assert weights_header(run.best_weights)["epoch"] == str(progress.best_epoch)
    assert json.loads((run.path / "metrics.json").read_text())["best_epoch"] == progress.best_epoch


def test_a_checkpoint_from_elsewhere_does_not_replace_those_of_a_run(make_config):
    first, second = (make_config("train.max_steps=2", f"name={name}") for name in ("first", "second"))
    train(first)
    train(second)
    log = log_without_times(second)
    with pytest.raises(ConfigError, match=r"second: has checkpoints of its own.*--resume"):
        train(second, resume=RunFolder(Path(first.output) / "first").saved_steps()[-1])
    assert log_without_times(second) == log


@pytest.mark.parametrize("calls", [0, 1, 2])
@pytest.mark.parametrize(("owner", "name"), [(Path, "replace"), (Path, "mkdir")])
def test_a_run_that_died_at_its_start_can_be_started(make_config, monkeypatch, owner, name, calls):
    config, left = make_config("train.max_steps=1"), [calls]
    folder = Path(config.output) / config.name
    real = getattr(owner, name)

    def die(path, *args, **kwargs):
        if path.is_relative_to(folder):
            left[0] -= 1
            if left[0] < 0:
                raise SystemExit(9)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(owner, name, die)
    with pytest.raises(SystemExit):
        train(config)
    monkeypatch.undo()
    assert train(config, resume=True).step == 1


@pytest.mark.parametrize("name", ["checkpoints", "log.jsonl", "classes.json"])
def test_a_run_that_died_while_it_was_overwritten_can_be_overwritten(make_config, monkeypatch, name):
    config = make_config("train.max_steps=1")
    train(config)
    rmtree, unlink = shutil.rmtree, Path.unlink

    def die(path, *args, **kwargs):
        if path.name == name:
            raise SystemExit(9)
        (rmtree if path.is_dir() else unlink)(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", die)
    monkeypatch.setattr(runs.shutil, "rmtree", die)
    with pytest.raises(SystemExit):
        train(config, overwrite=True)
    monkeypatch.undo()
    assert train(config, overwrite=True).step == 1


def test_a_file_in_the_place_of_a_run_is_left_alone(make_config):
    config = make_config()
    Path(config.output).mkdir()
    (Path(config.output) / config.name).write_text("precious")
    with pytest.raises(ConfigError, match="is a file"):
        train(config, resume=True)
    (Path(config.output) / config.name).unlink()
    Path(config.output).rmdir()
    Path(config.output).write_text("precious")
    with pytest.raises(StorageError, match=r"runs/tiny: "):
        train(config)


def test_a_damaged_checkpoint_is_named(make_config):
    config = make_config("train.max_steps=1")
    train(config)
    checkpoint = RunFolder(Path(config.output) / config.name).saved_steps()[-1]
    (checkpoint / "training.safetensors").write_bytes(b"\x00" * 10)
    with pytest.raises(WeightsError, match=r"training\.safetensors: not a readable"):
        train(config, resume=True)


def test_another_data_set_is_refused(make_config, make_packed, tmp_path):
    train(make_config("train.max_steps=1"))
    other = make_packed(tmp_path / "other", {"train": [(i % 3,) for i in range(25)], "val": [(0,), (1,), (2,)]})
    with pytest.raises(Exception, match="other shards"):
        train(make_config("train.max_steps=2", f"data.root={other}"), resume=True)


def test_a_moved_run_goes_on(make_config):
    config = make_config("train.max_steps=2")
    train(config)
    moved = Path(config.output).with_name("elsewhere")
    shutil.move(config.output, moved)
    assert (
        train(
            config.model_copy(update={"output": str(moved), "train": config.train.model_copy(update={"max_steps": 4})}),
            resume=True,
        ).step
        == 4
    )
