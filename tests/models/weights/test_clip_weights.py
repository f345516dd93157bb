"""Weights of CLIP, in its authors' names, as the start of UniFormerV2 and ActionCLIP."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from vidflow.errors import WeightsError
from vidflow.models import MODELS, build_model
from vidflow.models.backbones.clip import Clip, fit_positions
from vidflow.models.weights import load_weights
from vidflow.models.weights.checkpoint import read_checkpoint
from vidflow.models.weights.convert import convert, recognise

CLIP = dataclasses.replace(MODELS["actionclip-tiny"].config.clip, image_depth=3, vocabulary=600)


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return Clip(CLIP).state_dict()


@pytest.fixture
def clip_file(clip, tmp_path):
    save_file(clip, tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


@pytest.fixture
def visual_file(clip, tmp_path):
    """The image encoder alone, as MMAction2 publishes it for UniFormerV2."""
    path = tmp_path / "visual.pth"
    torch.save({n.removeprefix("visual."): t.half() for n, t in clip.items() if n.startswith("visual.")}, path)
    return path


@pytest.mark.parametrize("file", ["clip_file", "visual_file"])
def test_uniformerv2_starts_from_the_image_encoder(file, clip, request):
    model = build_model("uniformerv2-tiny", num_classes=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_weights(model, request.getfixturevalue(file), mode="finetune")
    own = model.state_dict()
    assert own["backbone.conv1.weight"].shape == (48, 3, 1, 8, 8)
    for name in ("conv1.weight", "positional_embedding", "transformer.resblocks.2.mlp.c_proj.weight", "ln_pre.bias"):
        loaded = own[f"backbone.{name}"]
        torch.testing.assert_close(loaded, clip[f"visual.{name}"].view_as(loaded), rtol=1e-3, atol=1e-4)
    fresh = [name for name in own if name.startswith("head.") or ".dec." in name or ".dpe." in name]
    assert set(fresh) < set(report.replaced)
    assert all(torch.equal(own[name], before[name]) for name in report.replaced)
    assert len(report.replaced) + len(report.matched) == len(own)


def test_a_whole_clip_starts_actionclip_without_its_adapter(clip, clip_file):
    model = build_model("actionclip-tiny", num_classes=5, clip=CLIP)
    report = load_weights(model, clip_file, mode="finetune")
    assert report.origin == "clip"
    own = model.state_dict()
    assert all(torch.equal(own[f"clip.{name}"], tensor) for name, tensor in clip.items())
    assert all(name.startswith("adapter.") for name in report.replaced)
    assert len(report.replaced) + len(clip) == len(own)


def test_strict_loading_asks_for_the_adapter_too(clip_file):
    model = build_model("actionclip-tiny", num_classes=5, clip=CLIP)
    with pytest.raises(WeightsError, match=r"missing: adapter\."):
        load_weights(model, clip_file, mode="strict")


def test_a_part_of_a_fresh_part_is_not_enough(clip, tmp_path):
    state = clip | {"adapter.frame_position_embeddings.weight": torch.zeros(8, 32)}
    save_file(state, tmp_path / "part.safetensors")
    model = build_model("actionclip-tiny", num_classes=5, clip=CLIP)
    with pytest.raises(WeightsError, match=r"missing: adapter\.transformer"):
        load_weights(model, tmp_path / "part.safetensors", mode="finetune")


def test_positions_of_another_size_are_fitted(clip, clip_file):
    larger = dataclasses.replace(MODELS["uniformerv2-tiny"].config.backbone, size=48)
    model = build_model("uniformerv2-tiny", num_classes=5, backbone=larger)
    load_weights(model, clip_file, mode="finetune")
    expected = fit_positions(clip["visual.positional_embedding"], (6, 6))
    torch.testing.assert_close(model.state_dict()["backbone.positional_embedding"], expected)


def test_the_text_encoder_is_never_taken_for_the_image_encoder(clip, tmp_path):
    """Both are called ``transformer`` in their own files."""
    save_file({n: t for n, t in clip.items() if not n.startswith("visual.")}, tmp_path / "text.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit the model|none of its"):
        load_weights(build_model("uniformerv2-tiny", num_classes=5), tmp_path / "text.safetensors", mode="finetune")


def test_actionclip_of_another_length_is_recognised(tmp_path):
    model = build_model("actionclip-tiny", num_classes=5, num_frames=16)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "actionclip.pth")
    assert recognise(read_checkpoint(tmp_path / "actionclip.pth")) == ["actionclip-tiny"]
    report = convert(tmp_path / "actionclip.pth", tmp_path / "out.safetensors")
    assert (report.model, report.options) == ("actionclip-tiny", {"num_frames": 16})


HUGGING_FACE = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    (".attn.", ".self_attn."),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("ln_pre", "pre_layrnorm"),
    ("ln_post", "post_layernorm"),
    ("ln_final", "final_layer_norm"),
)


def as_hugging_face(clip):
    """CLIP's state dict in Hugging Face's names."""
    renamed = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    for name, tensor in clip.items():
        tower = "vision_model." if name.startswith("visual.") else "text_model."
        bare = name.removeprefix("visual.").replace("transformer.resblocks.", "encoder.layers.")
        bare = (
            bare.replace(".ln_1.", ".layer_norm1.").replace(".ln_2.", ".layer_norm2.").replace(".attn.", ".self_attn.")
        )
        bare = bare.replace("mlp.c_fc", "mlp.fc1").replace("mlp.c_proj", "mlp.fc2").replace("ln_pre", "pre_layrnorm")
        bare = bare.replace("ln_post", "post_layernorm").replace("ln_final", "final_layer_norm")
        if "in_proj_" in bare:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                renamed[tower + bare.replace("in_proj_", f"{letter}_proj.")] = part.contiguous()
            continue
        embeddings = {
            "class_embedding": "embeddings.class_embedding",
            "conv1.weight": "embeddings.patch_embedding.weight",
            "positional_embedding": "embeddings.position_embedding.weight",
            "token_embedding.weight": "embeddings.token_embedding.weight",
        }
        if name == "logit_scale":
            renamed[name] = tensor
        elif name in ("visual.proj", "text_projection"):
            renamed["visual_projection.weight" if bare == "proj" else "text_projection.weight"] = tensor.T.contiguous()
        else:
            renamed[tower + embeddings.get(bare, bare)] = tensor
    return renamed


def test_hugging_faces_files_hold_the_same_weights(clip, tmp_path):
    save_file(as_hugging_face(clip), tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.origin == "clip"
    assert checkpoint.tensors.keys() == clip.keys()
    assert all(torch.equal(tensor, clip[name]) for name, tensor in checkpoint.tensors.items())
    report = load_weights(
        build_model("actionclip-tiny", num_classes=5, clip=CLIP), tmp_path / "model.safetensors", mode="finetune"
    )
    assert len(report.matched) == len(clip)


def test_a_layer_without_its_keys_is_refused(clip, tmp_path):
    state = as_hugging_face(clip)
    del state["vision_model.encoder.layers.1.self_attn.k_proj.bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"resblocks\.1\.attn\.in_proj_bias needs .* the file has q, v only"):
        read_checkpoint(tmp_path / "model.safetensors")


def test_files_of_one_frame_size_are_not_taken_for_the_other(tmp_path):
    """The larger UniFormerV2 differs by its table of positions only, which could be fitted."""
    with torch.device("meta"):
        state = build_model("uniformerv2-l14-336", num_classes=7).state_dict()
    checkpoint = read_checkpoint_like(state, tmp_path)
    assert recognise(checkpoint) == ["uniformerv2-l14-336"]


def read_checkpoint_like(state, folder):
    """A checkpoint of tensors without memory."""
    tiny = folder / "tiny.safetensors"
    save_file({"a": torch.zeros(1)}, tiny)
    return dataclasses.replace(read_checkpoint(tiny), tensors=dict(state), origin="mmaction2")


def test_position_tables_in_videomae_files_are_left_out(tmp_path):
    model = build_model("videomae-tiny", num_classes=5)
    state = model.state_dict() | {"backbone.pos_embed": torch.zeros(1, 32, 48)}
    torch.save({"state_dict": state}, tmp_path / "videomae.pth")
    report = load_weights(build_model("videomae-tiny", num_classes=5), tmp_path / "videomae.pth", mode="strict")
    assert len(report.matched) == len(model.state_dict())


def test_names_of_videomaes_authors_are_known(tmp_path):
    model = build_model("videomae-tiny", num_classes=5)
    state = {}
    for name, tensor in model.state_dict().items():
        state[name.removeprefix("backbone.").replace("head.fc.", "head.")] = tensor
    torch.save({"module": state}, tmp_path / "authors.pth")
    other = build_model("videomae-tiny", num_classes=5)
    load_weights(other, tmp_path / "authors.pth", mode="strict")
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())
