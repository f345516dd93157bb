import json
import resource
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vidflow.engine import checkpoint
from vidflow.engine.checkpoint import (
    Progress,
    load_exactly,
    load_optimizer_state,
    optimizer_state,
    read_checkpoint,
    rewrite_progress,
    save_checkpoint,
    save_weights,
    weights_header,
)
from vidflow.engine.plain_state import flatten, restore
from vidflow.engine.runs import RunFolder
from vidflow.errors import ConfigError, StorageError, WeightsError


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    return folder


def test_nested_state_survives_as_tensors_and_json():
    state = {
        "a": {0: {"step": torch.tensor(3.0), "buffer": torch.ones(2, 2, dtype=torch.bfloat16)}},
        "b": [1, None, (0.9, "x")],
        "c": {"1": True},
    }
    tensors: dict[str, torch.Tensor] = {}
    tree = json.loads(json.dumps(flatten(state, tensors, "state")))
    back = restore(tree, tensors)
    assert back["a"][0]["step"] == 3.0
    assert back["a"][0]["buffer"].dtype == torch.bfloat16
    assert back["b"] == [1, None, (0.9, "x")]
    assert back["c"] == {"1": True}


def test_state_that_is_no_plain_value_is_refused_by_name():
    with pytest.raises(TypeError, match=r"state\.a\.0: cannot store a set"):
        flatten({"a": [{1, 2}]}, {}, "state")


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop", "Adagrad", "LBFGS"])
def test_an_optimizer_continues_exactly(name):
    def make():
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
        return model, getattr(torch.optim, name)(model.parameters(), lr=0.1, **options)

    def step(model, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = model(torch.arange(6.0).reshape(2, 3)).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)

    model, optimizer = make()
    step(model, optimizer)
    tensors: dict[str, torch.Tensor] = {}
    tree = json.loads(json.dumps(flatten(optimizer_state(optimizer), tensors, "state")))
    other, other_optimizer = make()
    other.load_state_dict(model.state_dict())
    load_optimizer_state(other_optimizer, restore(tree, tensors))
    step(model, optimizer)
    step(other, other_optimizer)
    assert torch.equal(model.weight, other.weight)


def test_an_optimizer_of_another_model_is_refused():
    saved = optimizer_state(torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1))
    with pytest.raises(WeightsError, match=r"groups of \[2\] tensors, the model's are \[1\]"):
        load_optimizer_state(torch.optim.SGD(nn.Linear(3, 2, bias=False).parameters(), lr=0.1), saved)


def test_a_new_checkpoint_takes_the_place_of_the_last(run):
    model = nn.Linear(3, 2)
    save_checkpoint(run, Progress(step=5), model, {"x": torch.ones(2)})
    save_checkpoint(run, Progress(step=9, epoch=1), model, {"x": torch.ones(3)})
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000009"]
    progress, state = read_checkpoint(run.saved_steps()[-1])
    assert (progress.step, progress.epoch, len(state["x"])) == (9, 1, 3)


def test_the_same_step_can_be_saved_again(run):
    save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {"x": 1})
    for number in (2, 3):
        save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {"x": number})
        assert [path.name for path in run.checkpoints.iterdir()] == [f"step-00000005.{number - 1}"]
        assert read_checkpoint(run.saved_steps()[-1])[1] == {"x": number}
    save_checkpoint(run, Progress(step=6), nn.Linear(3, 2), {})
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000006"]


@pytest.mark.parametrize("second", [5, 12])
@pytest.mark.parametrize(("place", "left"), [("publish", 1), ("shutil.rmtree", 2)])
def test_there_is_a_checkpoint_at_any_moment_of_writing_the_next(run, monkeypatch, second, place, left):
    save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {"x": 1})
    real = {"publish": checkpoint.publish, "shutil.rmtree": shutil.rmtree}[place]

    def die(path, *args, **kwargs):
        if path.is_dir():
            raise SystemExit(9)
        real(path, *args, **kwargs)

    monkeypatch.setattr(f"vidflow.engine.checkpoint.{place}", die)
    with pytest.raises(SystemExit):
        save_checkpoint(run, Progress(step=second), nn.Linear(3, 2), {"x": 2})
    monkeypatch.undo()
    assert read_checkpoint(run.saved_steps()[-1])[1] == {"x": left}
    save_checkpoint(run, Progress(step=second), nn.Linear(3, 2), {"x": 3})
    assert len(list(run.checkpoints.iterdir())) == 1
    assert read_checkpoint(run.saved_steps()[-1])[1] == {"x": 3}


def test_what_is_no_checkpoint_of_the_run_is_left_alone(run):
    (run.checkpoints / "step-notes.txt").write_text("slow")
    (run.checkpoints / "step-00000120-keep").mkdir()
    (run.checkpoints / "step-00000009").write_text("a file")
    save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {})
    path = save_checkpoint(run, Progress(step=6), nn.Linear(3, 2), {})
    assert run.saved_steps() == [path]
    assert len(list(run.checkpoints.iterdir())) == 4


@pytest.mark.parametrize("limit", [100, 5000])
def test_a_full_disk_is_told_with_the_file_and_leaves_the_last_checkpoint(run, limit):
    state = {"x": torch.zeros(5000)}
    path = save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), state)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError, match=r"step-00000006\.part/.*\.safetensors.*make room"):
            save_checkpoint(run, Progress(step=6), nn.Linear(3, 2), state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run.saved_steps() == [path]
    assert read_checkpoint(path)[1]["x"].shape == (5000,)


def test_a_write_that_fails_leaves_the_last_checkpoint(run):
    save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {"x": 1})
    with pytest.raises(TypeError, match="cannot store a set"):
        save_checkpoint(run, Progress(step=6), nn.Linear(3, 2), {"x": {1}})
    assert [path.name for path in run.saved_steps()] == ["step-00000005"]


def test_progress_can_be_replaced_alone(run):
    path = save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {"x": torch.ones(1)})
    rewrite_progress(run, path, Progress(step=5, best=0.5))
    progress, state = read_checkpoint(path)
    assert progress.best == 0.5
    assert state["x"] == 1


def test_another_format_version_is_refused(run):
    path = save_checkpoint(run, Progress(step=5), nn.Linear(3, 2), {})
    document = json.loads((path / "training.json").read_text())
    (path / "training.json").write_text(json.dumps(document | {"format_version": 99}))
    with pytest.raises(WeightsError, match="format version 99"):
        read_checkpoint(path)


def test_weights_with_shared_memory_are_written_as_their_own(run):
    layer = nn.Linear(3, 3)
    shared = nn.ModuleList([layer, layer])
    save_weights(run.best_weights, shared.state_dict(), {"epoch": "3"})
    load_exactly(shared, run.best_weights)
    assert weights_header(run.best_weights) == {"epoch": "3"}


def test_weights_that_do_not_fit_are_refused_with_what_differs(run):
    save_file({"weight": torch.ones(2, 2), "more": torch.ones(1)}, run.best_weights)
    with pytest.raises(
        WeightsError, match=r"missing bias; unexpected more; weight is \[2, 2\], the model's is \[2, 3\]"
    ):
        load_exactly(nn.Linear(3, 2), run.best_weights)


def test_a_file_that_is_no_weights_is_named(run):
    run.best_weights.write_text("hello")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_exactly(nn.Linear(3, 2), run.best_weights)


def test_a_folder_that_is_no_run_says_what_one_is(tmp_path):
    with pytest.raises(ConfigError, match=r"no run, it has no config\.toml"):
        RunFolder(tmp_path).config()


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [("best", "use --checkpoint last"), ("last", "no checkpoint yet"), ("x.pth", "no such file")],
)
def test_weights_that_are_not_there_are_named(run, checkpoint, message):
    with pytest.raises(WeightsError, match=message):
        run.weights(checkpoint)


def test_a_log_forgets_what_will_be_done_again(run):
    for step in (1, 2, 3):
        run.append({"kind": "train", "step": step})
    with run.log_path.open("a") as file:
        file.write('{"kind": "train", "st')  # a killed process's last line
    run.forget_after(2, size=None)
    assert [json.loads(line)["step"] for line in run.log_path.read_text().splitlines()] == [1, 2]


def test_a_log_keeps_what_was_written_before_a_checkpoint_of_an_earlier_step(run):
    """Samples are named with the step that they were meant for, which may not have been made."""
    run.append({"kind": "skipped", "step": 3})
    path = save_checkpoint(run, Progress(step=2), nn.Linear(3, 2), {})
    run.forget_after(2, size=read_checkpoint(path)[0].log_size)
    assert [json.loads(line)["kind"] for line in run.log_path.read_text().splitlines()] == ["skipped"]


def test_a_log_forgets_what_was_written_behind_a_checkpoint_of_the_same_step(run):
    run.append({"kind": "train", "step": 2})
    path = save_checkpoint(run, Progress(step=2), nn.Linear(3, 2), {})
    run.append({"kind": "val", "step": 2})
    run.forget_after(2, size=read_checkpoint(path)[0].log_size)
    assert [json.loads(line)["kind"] for line in run.log_path.read_text().splitlines()] == ["train"]
    run.append({"kind": "val", "step": 2})
    rewrite_progress(run, path, Progress(step=2, validated_step=2))
    run.forget_after(2, size=read_checkpoint(path)[0].log_size)
    assert [json.loads(line)["kind"] for line in run.log_path.read_text().splitlines()] == ["train", "val"]
