"""``vidflow export``: from a run or a config to a file, and what it refuses."""

import json

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from vidflow.cli.export import parse_shape
from vidflow.cli.main import app
from vidflow.config.loading import load_config
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.export import METADATA, open_exported

CLASSES = ("left", "right", "up")
SIX = ("tsm-demo.toml", "--set", "model.num_classes=6")


def run(*words):
    result = CliRunner().invoke(app, ["export", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def weights(tmp_path):
    """Weights of tsm-demo for six classes."""
    torch.manual_seed(0)
    model = build_model("tsm-tiny", num_classes=6)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def small_run(tmp_path):
    """A run of tsm-demo over three classes, and its best model."""
    folder = RunFolder(tmp_path / "runs" / "small")
    config = load_config("tsm-demo.toml")
    folder.start(config, ClassList(CLASSES, multi_label=False))
    torch.manual_seed(1)
    model = build_model(config.model.name, num_classes=len(CLASSES), **config.model.options).eval()
    save_file(model.state_dict(), folder.best_weights)
    return folder, model


def test_a_run_becomes_a_file_with_its_best_weights_and_classes(small_run, tmp_path):
    folder, model = small_run
    out = tmp_path / "new folder" / "model.pt2"
    report = json.loads(run(folder.path, "--out", out, "--json").stdout)
    assert report["inputs"] == {"clips": ["samples", "views", 3, 8, 48, 48]}
    assert report["bytes"] == out.stat().st_size
    assert report["largest_difference"] < 1e-4
    clips = torch.randn(2, 1, 3, 8, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(open_exported(out)({"clips": clips}), model.logits(clips))
    files = {METADATA: ""}
    torch.export.load(out, extra_files=files)
    about = json.loads(files[METADATA])
    assert about["classes"] == list(CLASSES)
    assert about["pipeline"]["normalize"].keys() >= {"mean", "std"}


def test_a_config_takes_weights_and_another_shape(weights, tmp_path):
    out = tmp_path / "model.pt2"
    text = run(*SIX, "--weights", weights, "--shape", "3x4x32x32", "--out", out, "--to", "torch").stdout
    assert "clips: float32 samples x views x 3 x 4 x 32 x 32" in text
    assert open_exported(out)({"clips": torch.randn(1, 2, 3, 4, 32, 32)}).shape == (1, 2, 6)


def test_a_config_becomes_an_onnx_file(weights, tmp_path):
    pytest.importorskip("onnxscript", reason="needs vidflow[onnx]")
    pytest.importorskip("onnxruntime", reason="needs vidflow[onnx]")
    out = tmp_path / "model.onnx"
    command = ("tsn-demo.toml", "--set", "model.num_classes=6", "--untrained", "--shape", "3x2x32x32")
    assert json.loads(run(*command, "--out", out, "--json").stdout)["format"] == "onnx"
    assert open_exported(out)({"clips": torch.randn(2, 2, 3, 2, 32, 32)}).shape == (2, 2, 6)


def test_a_config_of_skeletons_is_exported_in_the_shape_of_its_test(tmp_path):
    out, other = tmp_path / "model.pt2", tmp_path / "other.pt2"
    tiny = ("stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d", "--set", "model.name=stgcn-tiny", "--untrained")
    report = json.loads(run(*tiny, "--out", out, "--json").stdout)
    assert report["inputs"] == {"skeletons": ["samples", "views", 2, 100, 17, 3]}
    report = json.loads(run(*tiny, "--shape", "1x8x17x3", "--out", other, "--json").stdout)
    assert report["inputs"] == {"skeletons": ["samples", "views", 1, 8, 17, 3]}
    assert open_exported(other)({"skeletons": torch.randn(2, 3, 1, 8, 17, 3)}).shape == (2, 3, 60)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ((*SIX, "--untrained", "--out", "a.bin"), ConfigError, r"a\.bin: the name must end in \.pt2"),
        ((*SIX, "--untrained", "--out", "a.pt2", "--to", "onnx"), ConfigError, r"must end in \.onnx for --to onnx"),
        ((*SIX, "--out", "a.pt2"), ConfigError, "give --weights FILE for the config's model, or --untrained"),
        ((*SIX, "--out", "a.pt2", "--untrained", "--weights", "x.pth"), ConfigError, "and not both"),
        ((*SIX, "--out", "a.pt2", "--weights", "missing.pth"), WeightsError, r"missing\.pth"),
        (("tsm-demo.toml", "--untrained", "--out", "a.pt2"), ConfigError, "give --set model.num_classes=NUMBER"),
        ((*SIX, "--untrained", "--shape", "3x0x8x8", "--out", "a.pt2"), ConfigError, "--shape 3x0x8x8: give the sizes"),
        ((*SIX, "--untrained", "--shape", "5x4x32x32", "--out", "a.pt2"), ConfigError, "tsm-tiny does not take views"),
        (("nowhere.toml", "--untrained", "--out", "a.pt2"), ConfigError, "no config 'nowhere.toml'"),
        ((".", "--out", "a.pt2"), ConfigError, "no run, it has no config.toml"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(words, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run(*words)
    assert list(tmp_path.iterdir()) == []


def test_shapes_are_read_in_either_case():
    assert parse_shape("3X16x224x224") == (3, 16, 224, 224)
    for wrong in ("", "3x", "3,4", "-3x4", "3x4.5"):
        with pytest.raises(ConfigError, match="give the sizes of one view"):
            parse_shape(wrong)
