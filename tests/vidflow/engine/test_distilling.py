"""[distill]: a teacher beside the labels."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vidflow.engine.processes import accelerate_session
from vidflow.engine.runs import RunFolder
from vidflow.engine.signals import StopRequest
from vidflow.engine.train import assemble, train
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model


def folder(config) -> RunFolder:
    return RunFolder(Path(config.output) / config.name)


@pytest.fixture
def teacher_file(tmp_path) -> Path:
    """A TSN whose head is far from that of a fresh one, so that it has something to say."""
    torch.manual_seed(9)
    model = build_model("tsn-tiny", num_classes=3)
    with torch.no_grad():
        model.head.fc.weight.normal_(std=3.0)
    save_file(model.state_dict(), tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


@pytest.fixture
def taught(make_config, teacher_file):
    """The config with a TSM as the student and overrides."""
    return lambda *more: make_config(
        "model.name=tsm-tiny", "distill.teacher=tsn-tiny", f"distill.load_from={teacher_file}", *more
    )


@pytest.fixture
def with_loop(taught):
    """Calls a function with the assembled loop of a config."""

    def run(use, *more):
        config = taught(*more)
        with accelerate_session("fp32") as accelerator, StopRequest() as stop:
            return use(assemble(config, folder(config), accelerator, stop))

    return run


@pytest.mark.parametrize("loss", ["kl", "dist"])
def test_the_student_comes_nearer_to_its_teacher(with_loop, loss):
    def distances(loop):
        batch = next(iter(loop.loader)).to("cpu")
        loop.step_model.train()
        optimizer = torch.optim.AdamW(loop.model.parameters(), lr=3e-3)
        found = []
        for _ in range(12):
            losses = loop.step_model(batch)
            assert set(losses) == {"cls_loss", "distill_loss"}
            found.append(losses["distill_loss"].item())
            optimizer.zero_grad()
            losses["distill_loss"].backward()
            optimizer.step()
        return found

    found = with_loop(distances, f"distill.loss={loss}", "distill.temperature=2.0")
    assert found[-1] < 0.7 * found[0]


def test_the_weight_scales_the_teachers_part(with_loop):
    def losses(loop):
        batch = next(iter(loop.loader)).to("cpu")
        loop.model.eval()
        return {name: value.item() for name, value in loop.step_model(batch).items()}

    once, thrice = with_loop(losses), with_loop(losses, "distill.weight=3.0")
    assert thrice["cls_loss"] == pytest.approx(once["cls_loss"])
    assert thrice["distill_loss"] == pytest.approx(3 * once["distill_loss"])


def test_the_teacher_neither_learns_nor_leaves_evaluation(with_loop, teacher_file):
    def state(loop):
        loop.step_model.train()
        batch = next(iter(loop.loader)).to("cpu")
        sum(loop.step_model(batch).values()).backward()
        (teacher,) = loop.step_model._teacher
        return teacher.training, [p.grad for p in teacher.parameters()], teacher.state_dict()

    training, grads, weights = with_loop(state)
    assert not training
    assert grads == [None] * len(grads)
    for name, tensor in load_file(teacher_file).items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=0)


def test_a_run_writes_the_student_alone(taught):
    config = taught("train.epochs=1", "schedule.kind=constant", "schedule.milestones=[]")
    train(config)
    written = load_file(folder(config).best_weights)
    assert set(written) == set(build_model("tsm-tiny", num_classes=3).state_dict())
    assert folder(config).config().distill == config.distill


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(taught):
    short = ("train.epochs=2", "schedule.kind=constant", "schedule.milestones=[]")
    whole = taught(*short, "name=whole")
    train(whole)
    train(taught(*short, "name=halves", "train.max_steps=2"))
    halves = taught(*short, "name=halves")
    train(halves, resume=True)
    first, second = (load_file(folder(c).saved_steps()[-1] / "model.safetensors") for c in (whole, halves))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (("distill.load_from=nowhere.pth",), WeightsError, "nowhere.pth: no such file"),
        (("distill.teacher=tsn-r18",), WeightsError, "does not fit the model"),
        (("distill.teacher=tsn-tini",), ConfigError, "Did you mean 'tsn-tiny'"),
        (("model.num_classes=5",), WeightsError, "head.fc.weight is"),
        (("distill.loss=l2",), ConfigError, "distill"),
        (("distill.temperature=0",), ConfigError, "temperature"),
        (("distill.tau=2",), ConfigError, "tau"),
    ],
)
def test_teachers_that_do_not_fit_are_refused_before_training(taught, overrides, error, message):
    with pytest.raises(error, match=message):
        train(taught(*overrides))


def test_a_student_that_is_no_classifier_is_refused(taught, probe_models):
    with pytest.raises(
        ConfigError, match=r"the student of \[distill\] must be a model that classifies clips, not Linear"
    ):
        train(taught("model.name=probe_models:Linear"))


def test_multi_label_sets_are_refused(taught, make_packed, tmp_path):
    root = make_packed(tmp_path / "multi", {"train": [(0, 1)] * 8, "val": [(2,)] * 4}, multi_label=True)
    with pytest.raises(ConfigError, match=r"\[distill\] compares probabilities of one label"):
        train(taught(f"data.root={json.dumps(str(root))}"))


def test_a_teacher_of_other_clips_is_named(taught, tmp_path):
    save_file(build_model("tin-tiny", num_classes=3).state_dict(), tmp_path / "tin.safetensors")
    with pytest.raises(ConfigError, match=r"distill.teacher = 'tin-tiny' does not take .* 4 frames, not 2"):
        train(taught("distill.teacher=tin-tiny", f"distill.load_from={tmp_path / 'tin.safetensors'}"))


@pytest.mark.slow
def test_two_processes_end_with_one_student(config_file, teacher_file, make_config, launch):
    words = [
        "model.name=tsm-tiny",
        "distill.teacher=tsn-tiny",
        f"distill.load_from={teacher_file}",
        "train.max_steps=2",
        "optim.accumulate=1",
    ]
    launch("train.py", "--cfg", str(config_file), *(part for word in words for part in ("--set", word)))
    written = load_file(folder(make_config()).saved_steps()[-1] / "model.safetensors")
    assert set(written) == set(build_model("tsm-tiny", num_classes=3).state_dict())
