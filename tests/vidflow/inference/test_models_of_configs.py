"""Prediction with a config and a file of weights, without a run."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vidflow.cli.main import main
from vidflow.engine.runs import RunFolder
from vidflow.errors import ConfigError, WeightsError
from vidflow.inference import Predictor, model_of_config, model_of_run


@pytest.fixture
def config(trained, tmp_path) -> Path:
    """The run's config, as one writes it by hand: the number of classes is not in it."""
    path = tmp_path / "small.toml"
    path.write_text((trained.path / "config.toml").read_text())
    return path


@pytest.fixture
def weights(trained) -> Path:
    return RunFolder(trained.path).best_weights


@pytest.fixture
def names(trained, tmp_path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(RunFolder(trained.path).classes().names) + "\n")
    return path


@pytest.fixture
def clip(trained) -> Path:
    return trained.clips / "val/left/000.mp4"


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *map(str, words)])
    return int(end.value.code or 0)


def test_a_config_with_weights_gives_what_the_run_gives(trained, config, weights, names, clip):
    by_config = Predictor(model_of_config(str(config), str(weights), classes=names))
    by_run = Predictor(model_of_run(trained.path))
    assert by_config([clip]) == by_run([clip]) == Predictor(trained.path)([clip])


def test_without_names_classes_are_called_by_number(config, weights, clip):
    trained = model_of_config(str(config), str(weights), overrides=["model.num_classes=6"])
    (prediction,) = Predictor(trained)([clip])
    assert all(found.name == str(found.label) for found in prediction.top)


def test_the_names_may_be_in_the_config(config, weights, names):
    trained = model_of_config(str(config), str(weights), overrides=[f"data.classes={names}"])
    assert trained.classes == tuple(names.read_text().split())


def test_names_of_another_number_of_classes_are_refused(config, weights, names):
    with pytest.raises(ConfigError, match=r"classes\.txt: has 6 names, the model of .* has 5 classes"):
        model_of_config(str(config), str(weights), classes=names, overrides=["model.num_classes=5"])


def test_an_unknown_number_of_classes_is_refused(config, weights):
    with pytest.raises(ConfigError, match="the number of classes is the data set's; give --classes"):
        model_of_config(str(config), str(weights))


def test_weights_of_another_head_are_refused(config, weights, names, tmp_path):
    tensors = {name: value for name, value in load_file(weights).items() if not name.startswith("head.")}
    save_file(tensors, tmp_path / "headless.safetensors")
    with pytest.raises(WeightsError, match="missing: head"):
        model_of_config(str(config), str(tmp_path / "headless.safetensors"), classes=names)


def test_the_command_takes_a_config_and_weights(config, weights, names, clip, capsys):
    assert command(clip, "--cfg", config, "--weights", weights, "--classes", names, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["run"] is None
    assert values["weights"] == str(weights)
    assert values["files"][0]["top"][0]["name"] in names.read_text().split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --run FOLDER, or else --cfg CONFIG"),
        (["--run", "a", "--cfg", "b"], "give --run FOLDER, or else --cfg CONFIG"),
        (["--run", "a", "--weights", "b"], "--weights: belongs to --cfg"),
        (["--cfg", "a", "--weights", "b", "--checkpoint", "last"], "--checkpoint: belongs to --run"),
        (["--cfg", "a"], "--cfg a: give --weights FILE too"),
        (["--cfg", "nowhere", "--weights", "b"], "no config 'nowhere'"),
    ],
)
def test_the_command_refuses_options_that_do_not_belong_together(words, message, clip, capsys):
    assert command(clip, *words) == 2
    assert message in capsys.readouterr().err
