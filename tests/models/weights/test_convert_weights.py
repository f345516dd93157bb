"""``vidflow convert``: files of other projects into safetensors with our names."""

import json
from collections import OrderedDict

import pytest
import safetensors
import torch

from vidflow.cli import convert as cli
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.weights import load_weights
from vidflow.models.weights.convert import convert
from vidflow.models.weights.source import sha256_of


@pytest.fixture
def model():
    torch.manual_seed(5)
    return build_model("tsm-tiny", num_classes=7).eval()


def metadata_of(path):
    with safetensors.safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.fixture
def mmaction2_file(model, as_mmaction2, tmp_path):
    torch.save({"meta": {}, "state_dict": as_mmaction2(model.state_dict(), shifted=True)}, tmp_path / "in.pth")
    return tmp_path / "in.pth"


@pytest.mark.parametrize("name", [None, "tsm-tiny"])
def test_a_converted_checkpoint_gives_the_same_scores(name, mmaction2_file, model, make_batch, tmp_path):
    report = convert(mmaction2_file, tmp_path / "out.safetensors", model=name)
    assert (report.model, report.origin, report.format) == ("tsm-tiny", "mmaction2", "torch")
    assert report.options == {"num_classes": 7, "in_channels": 3}
    assert (report.num_tensors, report.left_out, report.head_missing) == (len(model.state_dict()), (), False)
    other = build_model("tsm-tiny", num_classes=7).eval()
    load_weights(other, tmp_path / "out.safetensors", mode="strict")
    batch = make_batch(2)
    torch.testing.assert_close(other(batch), model(batch), rtol=0, atol=0)


def test_the_file_says_where_it_is_from(mmaction2_file, tmp_path):
    convert(mmaction2_file, tmp_path / "out.safetensors")
    metadata = metadata_of(tmp_path / "out.safetensors")
    assert (metadata["vidflow_model"], metadata["num_classes"], metadata["source"]) == ("tsm-tiny", "7", "in.pth")
    assert metadata["source_sha256"] == sha256_of(mmaction2_file)
    assert json.loads(metadata["vidflow_options"]) == {"in_channels": 3, "num_classes": 7}


def test_converting_again_gives_the_same_bytes(mmaction2_file, tmp_path):
    for name in ("a", "b"):
        convert(mmaction2_file, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_converted_file_is_recognised_by_its_own_note(mmaction2_file, tmp_path):
    convert(mmaction2_file, tmp_path / "a.safetensors")
    report = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert (report.model, report.origin, report.format) == ("tsm-tiny", "vidflow", "safetensors")


def test_tsn_is_told_from_tsm_by_the_shifted_layers_names(model, as_mmaction2, tmp_path):
    torch.save(as_mmaction2(model.state_dict(), shifted=False), tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.safetensors").model == "tsn-tiny"


def test_names_that_fit_two_families_ask_for_the_model(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "in.pth")
    with pytest.raises(ConfigError, match="could be tsm-tiny or tsn-tiny; give --model"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    assert convert(tmp_path / "in.pth", tmp_path / "out.safetensors", model="tsn-tiny").model == "tsn-tiny"


def test_a_file_of_images_becomes_a_backbone_to_start_from(model, tmp_path):
    state = OrderedDict(
        (n.removeprefix("backbone."), v) for n, v in model.state_dict().items() if n.startswith("backbone.")
    )
    torch.save(state | {"fc.weight": torch.ones(1000, 128), "fc.bias": torch.ones(1000)}, tmp_path / "resnet.pth")
    report = convert(tmp_path / "resnet.pth", tmp_path / "out.safetensors")
    assert (report.origin, report.model, report.head_missing, report.left_out) == (
        "torchvision",
        None,
        True,
        ("fc.weight", "fc.bias"),
    )
    assert report.candidates == ("trn-tiny", "tsm-tiny", "tsn-tiny")
    assert "vidflow_model" not in metadata_of(tmp_path / "out.safetensors")
    fresh = build_model("tsm-tiny", num_classes=2)
    load_weights(fresh, tmp_path / "out.safetensors", mode="finetune")
    torch.testing.assert_close(fresh.backbone.conv1.weight, model.backbone.conv1.weight)


def test_flow_channels_are_read_from_the_file(as_mmaction2, tmp_path):
    state = as_mmaction2(build_model("tsn-tiny", num_classes=4, in_channels=10).state_dict(), shifted=False)
    torch.save(state, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.safetensors").options == {"num_classes": 4, "in_channels": 10}


def test_the_wrong_model_is_refused_with_the_difference(mmaction2_file, tmp_path):
    with pytest.raises(WeightsError, match=r"is no tsm-r18: .*layer1\.1\.conv1\.weight is missing.* and \d+ more"):
        convert(mmaction2_file, tmp_path / "out.safetensors", model="tsm-r18")
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]


def test_a_file_that_fits_nothing_says_so(tmp_path):
    torch.save({"a.weight": torch.ones(3)}, tmp_path / "in.pth")
    with pytest.raises(ConfigError, match="fits none of the models"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match="no tensor outside the head has a known name"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors", model="tsn-tiny")


def test_an_unknown_model_gets_the_nearest_name(mmaction2_file, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'tsm-tiny'"):
        convert(mmaction2_file, tmp_path / "out.safetensors", model="tsm-tniy")


def test_the_output_is_named_safetensors_and_not_the_input(mmaction2_file, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.safetensors"):
        convert(mmaction2_file, tmp_path / "out.pth")
    convert(mmaction2_file, tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="is the input"):
        convert(tmp_path / "a.safetensors", tmp_path / "a.safetensors")


def test_the_command_prints_a_report(mmaction2_file, tmp_path, capsys):
    cli.convert(str(mmaction2_file), tmp_path / "out.safetensors")
    printed = capsys.readouterr().out
    assert "model: tsm-tiny (num_classes 7, in_channels 3)" in printed
    assert f"wrote {tmp_path / 'out.safetensors'}" in printed


def test_the_command_prints_one_json_document(mmaction2_file, tmp_path, capsys):
    cli.convert(str(mmaction2_file), tmp_path / "out.safetensors", json=True)
    values = json.loads(capsys.readouterr().out)
    assert (values["model"], values["options"]["num_classes"]) == ("tsm-tiny", 7)


SKELETONS = ("stgcn-tiny", "stgcnpp-tiny", "agcn-tiny", "ctrgcn-tiny", "msg3d-tiny")


def skeleton_file(folder, name, **options):
    """The file of a skeleton model whose parameters are no longer those that it starts with, and the model."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    torch.save(model.state_dict(), folder / "in.pth")
    return folder / "in.pth", model


@pytest.mark.parametrize("name", SKELETONS)
def test_people_and_coordinates_are_read_from_the_file(name, tmp_path):
    people = [] if name.startswith("stgcn") else [1, 3]  # ST-GCN takes any number
    for options in ({"in_channels": 2}, *({"num_people": number, "in_channels": 4} for number in people)):
        path, model = skeleton_file(tmp_path, name, **options)
        report = convert(path, tmp_path / "out.safetensors", model=name)
        defaults = {"num_people": 2} if people else {}
        assert report.options.items() >= ({"num_classes": 3, "layout": "coco"} | defaults | options).items()
        assert report.num_tensors == len(model.state_dict())


def test_a_model_of_one_person_is_recognised(tmp_path):
    path, _ = skeleton_file(tmp_path, "msg3d-tiny", num_people=1, in_channels=2)
    report = convert(path, tmp_path / "out.safetensors")
    assert (report.model, report.options["num_people"], report.options["in_channels"]) == ("msg3d-tiny", 1, 2)
    load_weights(build_model(report.model, **report.options), tmp_path / "out.safetensors", mode="strict")


@pytest.mark.parametrize("name", SKELETONS)
def test_a_file_that_fits_two_layouts_asks_for_one(name, tmp_path):
    path, _ = skeleton_file(tmp_path, name, layout="msr20")
    with pytest.raises(ConfigError, match=r"in\.pth: its 20 keypoints could be those of kinect20 or msr20.*--layout"):
        convert(path, tmp_path / "out.safetensors", model=name)
    for layout in ("msr20", "kinect20"):
        report = convert(path, tmp_path / "out.safetensors", model=name, layout=layout)
        assert (report.model, report.options["layout"]) == (name, layout)


def test_a_file_that_fits_two_layouts_is_recognised_with_one(tmp_path):
    path, _ = skeleton_file(tmp_path, "stgcn-tiny", layout="msr20")
    with pytest.raises(ConfigError, match="could be those of kinect20 or msr20"):
        convert(path, tmp_path / "out.safetensors")
    report = convert(path, tmp_path / "out.safetensors", layout="msr20")
    assert (report.model, report.options["layout"]) == ("stgcn-tiny", "msr20")
    load_weights(build_model(report.model, **report.options), tmp_path / "out.safetensors", mode="strict")


def test_a_constant_in_the_file_tells_its_layout(tmp_path):
    path, model = skeleton_file(tmp_path, "stgcn-tiny", layout="msr20")
    constant = {"backbone.blocks.0.graph.adjacency": model.backbone.blocks[0].graph.adjacency}
    torch.save(model.state_dict() | constant, path)
    assert convert(path, tmp_path / "out.safetensors", model="stgcn-tiny").options["layout"] == "msr20"
    with pytest.raises(WeightsError, match=r"the model has no backbone\.blocks\.0\.graph\.adjacency"):
        convert(path, tmp_path / "out.safetensors", model="stgcn-tiny", layout="kinect20")


def test_a_layout_that_does_not_fit_is_refused(mmaction2_file, tmp_path):
    out = tmp_path / "out.safetensors"
    with pytest.raises(ConfigError, match=r"in\.pth: tsm-tiny takes no skeletons; leave out --layout kinect20"):
        convert(mmaction2_file, out, model="tsm-tiny", layout="kinect20")
    path, _ = skeleton_file(tmp_path, "stgcn-tiny")
    with pytest.raises(ConfigError, match=r"in\.pth: no skeleton layout 'kinect2'; did you mean 'kinect20'\?"):
        convert(path, out, model="stgcn-tiny", layout="kinect2")
    with pytest.raises(WeightsError, match=r"is no stgcn-tiny: .*importance is \[3, 17, 17\] in the file"):
        convert(path, out, model="stgcn-tiny", layout="msr20")
    assert not out.exists()


def test_the_command_takes_a_layout(tmp_path, capsys):
    path, _ = skeleton_file(tmp_path, "stgcn-tiny", layout="msr20")
    cli.convert(str(path), tmp_path / "out.safetensors", model="stgcn-tiny", layout="msr20")
    assert "layout msr20" in capsys.readouterr().out
