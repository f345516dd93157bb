"""Loading weights of other projects and ours: what fits, what is refused, and that a refusal leaves the model alone."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from vidflow.errors import WeightsError
from vidflow.models import build_model
from vidflow.models.weights import load_weights


@pytest.fixture
def trained():
    """A tiny TSM of five classes whose every tensor is random."""
    torch.manual_seed(3)
    model = build_model("tsm-tiny", num_classes=5)
    for name, value in model.state_dict().items():
        value.copy_(torch.randint(1, 9, value.shape) if name.endswith("tracked") else torch.rand(value.shape) + 0.1)
    return model.eval()


@pytest.fixture
def fresh():
    torch.manual_seed(4)
    return build_model("tsm-tiny", num_classes=5).eval()


def same(model, other, skip=()):
    a, b = model.state_dict(), other.state_dict()
    return [
        name for name in a if not name.startswith(tuple(skip) or ("!",)) and not torch.equal(a[name], b[name])
    ] == []


def write_mmaction2(state, path):
    torch.save({"meta": {"mmengine_version": "0.10.7"}, "state_dict": state}, path)


def write_tsm_authors(state, path):
    renamed = OrderedDict()
    for name, value in state.items():
        name = name.replace("backbone.", "module.base_model.").replace("head.fc", "module.new_fc")
        if ".layer" in name and ".conv1." in name:
            name = name.replace(".conv1.", ".conv1.net.")
        renamed[name] = value
    torch.save({"epoch": 3, "arch": "resnet", "state_dict": renamed, "best_prec1": torch.tensor(0.7)}, path)


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_our_safetensors_load_with_and_without_wrappers(wrapper, trained, fresh, tmp_path):
    save_file({wrapper + name: value for name, value in trained.state_dict().items()}, tmp_path / "x.safetensors")
    report = load_weights(fresh, tmp_path / "x.safetensors", mode="strict")
    assert same(fresh, trained)
    assert len(report.matched) == len(trained.state_dict())
    assert len(report.sha256) == 64


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_state_dict_of_torch_save_loads_in_both_formats(zip_format, trained, fresh, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "x.pth", _use_new_zipfile_serialization=zip_format)
    load_weights(fresh, tmp_path / "x.pth", mode="strict")
    assert same(fresh, trained)


@pytest.mark.parametrize("mode", ["strict", "finetune"])
def test_mmaction2_checkpoints_load(mode, trained, fresh, as_mmaction2, tmp_path):
    state = as_mmaction2(trained.state_dict(), shifted=True)
    assert "backbone.layer1.0.conv1.conv.net.weight" in state
    assert "backbone.layer2.0.downsample.bn.running_var" in state
    write_mmaction2(state, tmp_path / "x.pth")
    report = load_weights(fresh, tmp_path / "x.pth", mode=mode)
    assert same(fresh, trained)
    assert (report.origin, report.missing, report.unexpected, report.replaced) == ("mmaction2", (), (), ())


def test_checkpoints_of_tsms_authors_load(trained, fresh, tmp_path):
    write_tsm_authors(trained.state_dict(), tmp_path / "x.pth.tar")
    report = load_weights(fresh, tmp_path / "x.pth.tar", mode="strict")
    assert same(fresh, trained)
    assert report.origin == "tsm"


@pytest.fixture
def image_weights(trained, tmp_path):
    """A file like torchvision's: a backbone, its 1000-class ``fc``, and as in the oldest ones no counters."""
    state = OrderedDict(
        (n.removeprefix("backbone."), v)
        for n, v in trained.state_dict().items()
        if n.startswith("backbone.") and "tracked" not in n
    )
    state["fc.weight"], state["fc.bias"] = torch.ones(1000, 128), torch.ones(1000)
    torch.save(state, tmp_path / "resnet.pth")
    return tmp_path / "resnet.pth"


def test_image_weights_start_a_model_whose_head_is_drawn_anew(image_weights, trained, fresh):
    head = fresh.head.fc.weight.clone()
    report = load_weights(fresh, image_weights, mode="finetune")
    counters = [name for name in fresh.state_dict() if name.endswith("tracked")]
    assert same(fresh, trained, skip=("head.", *counters))
    torch.testing.assert_close(fresh.head.fc.weight, head, rtol=0, atol=0)
    assert report.replaced == ("head.fc.weight", "head.fc.bias")
    assert (report.origin, report.unexpected) == ("torchvision", ("fc.weight", "fc.bias"))
    assert "drawn anew: head.fc.weight, head.fc.bias" in report.summary()


def test_image_weights_are_no_model_for_evaluation(image_weights, fresh):
    with pytest.raises(WeightsError, match=r"2 missing: head\.fc\.weight, head\.fc\.bias"):
        load_weights(fresh, image_weights, mode="strict")


def test_another_number_of_classes_replaces_the_head_in_finetuning(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "x.pth")
    model = build_model("tsm-tiny", num_classes=3)
    head = model.head.fc.weight.clone()
    report = load_weights(model, tmp_path / "x.pth", mode="finetune")
    assert same(model, trained, skip=("head.",))
    torch.testing.assert_close(model.head.fc.weight, head, rtol=0, atol=0)
    assert report.replaced == ("head.fc.weight", "head.fc.bias")
    assert {m.name: (m.file_shape, m.model_shape) for m in report.mismatched}["head.fc.weight"] == ((5, 128), (3, 128))


def test_another_number_of_classes_is_refused_in_evaluation_and_nothing_is_loaded(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "x.pth")
    model = build_model("tsm-tiny", num_classes=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        WeightsError, match=r"head\.fc\.weight is \[5, 128\] in the file and \[3, 128\] in the model.*finetune"
    ):
        load_weights(model, tmp_path / "x.pth", mode="strict")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_head_in_part_is_replaced_as_a_whole(trained, fresh, tmp_path):
    state = trained.state_dict()
    del state["head.fc.bias"]
    torch.save(state, tmp_path / "x.pth")
    head = fresh.head.fc.weight.clone()
    assert load_weights(fresh, tmp_path / "x.pth", mode="finetune").replaced == ("head.fc.weight", "head.fc.bias")
    torch.testing.assert_close(fresh.head.fc.weight, head, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["strict", "finetune"])
def test_a_missing_tensor_of_the_backbone_is_an_error_and_nothing_is_loaded(mode, trained, fresh, tmp_path):
    state = trained.state_dict()
    del state["backbone.layer3.0.bn2.running_var"]
    torch.save(state, tmp_path / "x.pth")
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(WeightsError, match=r"1 missing: backbone\.layer3\.0\.bn2\.running_var"):
        load_weights(fresh, tmp_path / "x.pth", mode=mode)
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


@pytest.mark.parametrize("mode", ["strict", "finetune"])
def test_a_deeper_backbone_is_not_taken_for_a_shallower_one(mode, fresh, trained, tmp_path):
    state = trained.state_dict()
    state["backbone.layer3.1.conv1.weight"] = torch.ones(64, 64, 3, 3)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"1 that the model does not have: backbone\.layer3\.1\.conv1\.weight"):
        load_weights(fresh, tmp_path / "x.pth", mode=mode)


def test_parts_that_the_model_lacks_are_left_out_in_finetuning_only(fresh, trained, tmp_path):
    torch.save({**trained.state_dict(), "neck.aux.weight": torch.ones(3)}, tmp_path / "x.pth")
    assert load_weights(fresh, tmp_path / "x.pth", mode="finetune").unexpected == ("neck.aux.weight",)
    assert same(fresh, trained)
    with pytest.raises(WeightsError, match=r"neck\.aux\.weight"):
        load_weights(fresh, tmp_path / "x.pth", mode="strict")


def test_a_backbone_alone_takes_the_weights_of_a_whole_model_in_finetuning(trained, fresh, as_mmaction2, tmp_path):
    save_file(trained.state_dict(), tmp_path / "x.safetensors")
    report = load_weights(fresh.backbone, tmp_path / "x.safetensors", mode="finetune")
    assert same(fresh.backbone, trained.backbone)
    assert report.unexpected == ("head.fc.bias", "head.fc.weight")


@pytest.mark.parametrize("mode", ["strict", "finetune"])
def test_a_file_of_which_nothing_matches_is_an_error(mode, fresh, tmp_path):
    torch.save({"encoder.weight": torch.ones(3), "decoder.weight": torch.ones(3)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"none of its 2 tensors is one of the model's.*encoder\.weight"):
        load_weights(fresh, tmp_path / "x.pth", mode=mode)


def test_a_file_of_which_only_the_head_matches_is_an_error(fresh, trained, tmp_path):
    torch.save({"head.fc.weight": trained.head.fc.weight, "head.fc.bias": trained.head.fc.bias}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="none of its 2 tensors"):
        load_weights(fresh, tmp_path / "x.pth", mode="finetune")


def test_a_tensor_that_is_there_twice_is_an_error(fresh, trained, tmp_path):
    state = trained.state_dict()
    torch.save({**state, "module.head.fc.bias": torch.zeros(5)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"'head\.fc\.bias' twice"):
        load_weights(fresh, tmp_path / "x.pth", mode="strict")
    torch.save({**state, "cls_head.fc_cls.bias": torch.zeros(5)}, tmp_path / "y.pth")
    with pytest.raises(WeightsError, match=r"'cls_head\.fc_cls\.bias' and 'head\.fc\.bias' both are"):
        load_weights(fresh, tmp_path / "y.pth", mode="strict")


def test_other_precisions_are_converted(trained, fresh, tmp_path):
    save_file(
        {n: v.half() if v.is_floating_point() else v for n, v in trained.state_dict().items()},
        tmp_path / "x.safetensors",
    )
    load_weights(fresh, tmp_path / "x.safetensors", mode="strict")
    assert fresh.head.fc.weight.dtype == torch.float32
    torch.testing.assert_close(fresh.head.fc.weight, trained.head.fc.weight.half().float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list, not a dictionary of tensors"),
        ({}, "is empty"),
        ({"epoch": 3, "optimizer": {}}, r"holds 'epoch' \(int\), 'optimizer' \(dict\)"),
        ({"state_dict": {"w": torch.ones(1), "b": "text"}}, r"holds 'b' \(str\) among its weights"),
    ],
)
def test_a_file_without_a_dictionary_of_tensors_says_what_it_holds(content, message, fresh, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=message):
        load_weights(fresh, tmp_path / "x.pth", mode="strict")


def test_a_damaged_safetensors_file_says_so(fresh, trained, tmp_path):
    save_file(trained.state_dict(), tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(data[:-100])
    with pytest.raises(WeightsError, match=r"x\.safetensors: not a readable safetensors file"):
        load_weights(fresh, tmp_path / "x.safetensors", mode="strict")


def test_an_empty_file_says_so(fresh, tmp_path):
    (tmp_path / "x.pth").touch()
    with pytest.raises(WeightsError, match=r"x\.pth: not a readable pickle"):
        load_weights(fresh, tmp_path / "x.pth", mode="strict")


def test_a_missing_file_says_so(fresh, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        load_weights(fresh, tmp_path / "none.pth", mode="strict")


def test_an_unknown_mode_is_the_callers_mistake(fresh, tmp_path):
    with pytest.raises(ValueError, match="'lenient'"):
        load_weights(fresh, tmp_path / "x.pth", mode="lenient")


def test_the_report_can_be_written_as_json(trained, fresh, tmp_path):
    import json

    torch.save(trained.state_dict(), tmp_path / "x.pth")
    values = json.loads(json.dumps(load_weights(fresh, tmp_path / "x.pth", mode="strict").as_dict()))
    assert values["missing"] == []
    assert len(values["matched"]) == len(trained.state_dict())
