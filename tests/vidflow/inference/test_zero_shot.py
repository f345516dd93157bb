"""Classifying by names that a run was not trained on."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tests.support.clip_vocabulary import FULL_MERGES, write_vocabulary
from vidflow.cli.main import app
from vidflow.engine.checkpoint import save_weights
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.errors import ConfigError
from vidflow.inference import Predictor
from vidflow.models import build_model

LABELS = ["going left", "going right", "turning"]


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run of ActionCLIP with random weights."""
    root = tmp_path_factory.mktemp("zero_shot")
    vocabulary = write_vocabulary(root / "merges.txt.gz", merges=FULL_MERGES)
    config = RunFolder(trained.path).config(
        ["model.name=actionclip-tiny", f'model.options={{vocabulary="{vocabulary}"}}', f"output={root}"]
    )
    folder = RunFolder(root / "small")
    folder.start(config, ClassList(("left", "right"), multi_label=False))
    torch.manual_seed(0)
    save_weights(folder.best_weights, build_model("actionclip-tiny", num_classes=2).state_dict(), {})
    return folder.path


@pytest.fixture(scope="module")
def clip(trained):
    return next(trained.clips.rglob("*.mp4"))


def test_a_run_classifies_by_the_names_of_its_data(run, clip):
    (prediction,) = Predictor(run)([clip])
    assert {score.name for score in prediction.top} == {"left", "right"}


def test_other_names_may_be_given(run, clip):
    (prediction,) = Predictor(run, labels=LABELS)([clip])
    assert {score.name for score in prediction.top} == set(LABELS)
    assert sum(score.score for score in prediction.top) == pytest.approx(1, abs=1e-5)


def test_the_command_takes_names(run, clip):
    words = ["predict", str(clip), "--run", str(run), "--json"]
    result = CliRunner().invoke(app, words + [word for label in LABELS for word in ("--label", label)])
    assert result.exit_code == 0, result.output
    (file,) = json.loads(result.stdout)["files"]
    assert {score["name"] for score in file["top"]} == set(LABELS)


def test_other_models_know_no_names(trained):
    with pytest.raises(ConfigError, match="model 'tsm-tiny' cannot classify by other names"):
        Predictor(trained.path, labels=LABELS)
