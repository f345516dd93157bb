"""Exported files: equal scores for every family, open numbers of samples and views, refusals that leave no file."""

import json

import pytest
import torch
from torch import nn

from tests.support.clip_vocabulary import NUM_TOKENS, write_vocabulary
from tests.support.small_models import CLIP_MODELS, FRAME_MODELS
from vidflow.errors import ExportError, MissingExtraError
from vidflow.models import MODELS, build_model
from vidflow.models.export import METADATA, export_model, largest_difference, open_exported
from vidflow.models.maskfeat import MaskFeat
from vidflow.models.rgbposeconv3d import RGBPoseConv3D

CASES = (*CLIP_MODELS, *FRAME_MODELS)
# The others take minutes together.
QUICK = (
    "c2d-tiny",
    "slowonly-tiny",
    "slowfast-tiny",
    "tsn-tiny",
    "tsm-tiny",
    "uniformerv2-tiny",
    "videomae-tiny",
    "trn",
)
QUICK_ONNX = ("tsn-tiny", "slowonly-tiny", "videomae-tiny")


def quick(cases):
    """All cases, those that are not among ``cases`` marked as long."""
    return [pytest.param(case, marks=() if case in cases else pytest.mark.long) for case in CASES]


def build(case, folder):
    """The model of a case, and the shape of a view."""
    torch.manual_seed(0)
    if case in FRAME_MODELS:
        model = FRAME_MODELS[case]()
        return model, (3, getattr(model.config, "num_frames", 4), 64, 64)
    name, *option = case.split()
    options = {option[0]: option[1]} if option else {}
    if name == "actionclip-tiny":
        clip = MODELS[name].config.clip
        options = {
            "class_names": ("run", "walk", "jump"),
            "clip": type(clip)(**{**vars(clip), "vocabulary": NUM_TOKENS}),
            "vocabulary": str(write_vocabulary(folder / "merges.txt.gz")),
        }
    frames, size = CLIP_MODELS[case]
    model = build_model(name, num_classes=3, **options)
    return model, (model.config.in_channels, frames, size, size)


def stirred(model):
    """The model with no parameter left at the zeros and ones with which some start."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model.eval()


def check_file(case, to, tmp_path):
    """Export, and compare with the model for numbers of samples and views of which the export knows nothing."""
    model, shape = build(case, tmp_path)
    out = tmp_path / f"model.{'pt2' if to == 'torch' else 'onnx'}"
    assert export_model(stirred(model), out, to=to, shapes={"clips": shape}, about={}) < 1e-4
    clips = torch.randn(3, 1, *shape)
    with torch.no_grad():
        expected = model.logits(clips)
    assert expected.std() > 1e-3
    torch.testing.assert_close(open_exported(out)({"clips": clips}), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", quick(QUICK))
def test_a_program_of_torch_gives_the_models_scores(case, tmp_path):
    check_file(case, "torch", tmp_path)


@pytest.mark.parametrize("case", quick(QUICK_ONNX))
def test_an_onnx_file_gives_the_models_scores(case, tmp_path):
    pytest.importorskip("onnxscript", reason="needs vidflow[onnx]")
    pytest.importorskip("onnxruntime", reason="needs vidflow[onnx]")
    check_file(case, "onnx", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("case", FRAME_MODELS)
def test_a_traced_2d_model_gives_the_models_scores(case, tmp_path):
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, clips):
            return self.model.logits(clips)

    model, shape = build(case, tmp_path)
    stirred(model)
    with torch.no_grad():
        traced = torch.jit.trace(Scores().eval(), (torch.randn(1, 1, *shape),))
        clips = torch.randn(1, 1, *shape)
        torch.testing.assert_close(traced(clips), model.logits(clips))


def test_every_family_is_exported(tmp_path):
    families = {MODELS[name].model for name in MODELS if getattr(MODELS[name].model, "input_name", "") == "clips"}
    # RGBPose-Conv3D, which has a second input, is exported by its own tests; MaskFeat gives no scores.
    assert families - {RGBPoseConv3D, MaskFeat} == {type(build(case, tmp_path)[0]) for case in CASES}


def test_a_file_tells_what_it_was_made_from(tmp_path):
    model = build_model("tsn-tiny", num_classes=3)
    about = {"classes": ["run", "go", "跑"], "size": 32}
    export_model(model, tmp_path / "a.pt2", to="torch", shapes={"clips": (3, 4, 32, 32)}, about=about)
    files = {METADATA: ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=files)
    assert json.loads(files[METADATA]) == about
    onnx = pytest.importorskip("onnx", reason="needs vidflow[onnx]")
    export_model(model, tmp_path / "a.onnx", to="onnx", shapes={"clips": (3, 4, 32, 32)}, about=about)
    stored = onnx.load(tmp_path / "a.onnx")
    assert {entry.key: json.loads(entry.value) for entry in stored.metadata_props if entry.key == METADATA} == {
        METADATA: about
    }
    assert [value.name for value in (*stored.graph.input, *stored.graph.output)] == ["clips", "scores"]
    sizes = stored.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in sizes] == [0, 0, 3, 4, 32, 32]  # 0 is open
    assert sizes[0].dim_param != sizes[1].dim_param


def test_a_file_does_not_hold_the_example(tmp_path):
    model = build_model("tsn-tiny", num_classes=3)
    export_model(model, tmp_path / "a.pt2", to="torch", shapes={"clips": (3, 64, 64, 64)}, about={})
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    example = 6 * 3 * 64**3 * 4
    assert weights < (tmp_path / "a.pt2").stat().st_size < weights + example / 10


class Fickle(nn.Module):
    """Gives other scores where it is exported."""

    def forward(self, batch):
        scores = batch.clips.mean(dim=(3, 4, 5))
        return scores + 1 if torch.compiler.is_exporting() else scores


class Choosing(nn.Module):
    """Does what its input decides, which no program can."""

    def forward(self, batch):
        return batch.clips.mean(dim=(3, 4, 5)) if batch.clips.sum() > 0 else batch.clips.amax(dim=(3, 4, 5))


# Graph networks of skeletons (2 people, 8 frames), and one of sound.
OTHER_VIEWS = dict.fromkeys(("stgcn-tiny", "stgcnpp-tiny", "agcn-tiny", "ctrgcn-tiny", "msg3d-tiny"), (2, 8, 17, 3))
OTHER_VIEWS["audio-tiny"] = (1, 64, 80)
QUICK_OTHERS = (("stgcn-tiny", "torch"), ("agcn-tiny", "torch"), ("ctrgcn-tiny", "torch"), ("audio-tiny", "torch"))


@pytest.mark.parametrize(
    ("name", "to"),
    [
        pytest.param(name, to, marks=pytest.mark.slow if (name, to) in QUICK_OTHERS else pytest.mark.long)
        for name in OTHER_VIEWS
        for to in ("torch", "onnx")
    ],
)
def test_networks_of_other_inputs_are_exported(name, to, with_full_graph, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxscript", reason="needs vidflow[onnx]")
        pytest.importorskip("onnxruntime", reason="needs vidflow[onnx]")
    torch.manual_seed(0)
    model = with_full_graph(stirred(build_model(name, num_classes=3)))
    shapes = model.input_shapes(OTHER_VIEWS[name])
    out = tmp_path / f"a.{'pt2' if to == 'torch' else 'onnx'}"
    export_model(model, out, to=to, shapes=shapes, about={})
    inputs = {key: torch.randn(3, 1, *shape) for key, shape in shapes.items()}
    with torch.no_grad():
        expected = model.logits(*inputs.values())
    torch.testing.assert_close(open_exported(out)(inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [(Fickle(), "other scores than the model itself"), (Choosing(), "torch.export does not take the model")],
)
def test_a_file_with_other_scores_is_not_written(model, message, tmp_path):
    out = tmp_path / "a.pt2"
    out.write_text("an earlier file")
    with pytest.raises(ExportError, match=message) as caught:
        export_model(model, out, to="torch", shapes={"clips": (3, 2, 8, 8)}, about={})
    assert str(out) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt2"]
    assert out.read_text() == "an earlier file"


def test_a_shape_that_the_model_does_not_take_is_refused_in_its_words(tmp_path):
    with pytest.raises(ValueError, match=r"clips must be \[B, V, 3, T, H, W\]"):
        export_model(
            build_model("tsn-tiny", num_classes=3), tmp_path / "a.pt2", to="torch", shapes={"clips": (5, 8)}, about={}
        )
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_packages_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"onnxruntime; pip install 'vidflow\[onnx\]'"):
        export_model(
            build_model("tsn-tiny", num_classes=3),
            tmp_path / "a.onnx",
            to="onnx",
            shapes={"clips": (3, 4, 32, 32)},
            about={},
        )
    assert list(tmp_path.iterdir()) == []


def test_differences_count_against_the_largest_score():
    expected = torch.tensor([[0.0, 200.0]])
    assert largest_difference(torch.tensor([[1.0, 200.0]]), expected) == pytest.approx(0.005)
    assert largest_difference(torch.tensor([[float("nan"), 200.0]]), expected) == float("inf")
    assert largest_difference(torch.zeros(1, 3), expected) == float("inf")
