"""The 2D families against MMAction2 1.2.0: the same weights through our conversion, the same input, the same scores.

``VIDFLOW_PARITY`` names another folder of reference files, of which all that are listed here are compared.
"""

import os
from pathlib import Path

import pytest
import torch

from vidflow.models import MODELS, build_model

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
# Reference -> our model, its classes, and options that are not the model's own.
CASES: dict[str, tuple[str, int, dict[str, int]]] = {
    "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb": ("tsn-r50", 400, {}),
    "tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb": ("tsn-r50", 174, {}),
    "tsn_imagenet-pretrained-r50_8xb32_5x1x3-110e_kinetics400-flow": ("tsn-r50", 400, {"in_channels": 10}),
    "tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb": ("tsn-r101", 400, {}),
    "tsn_imagenet-pretrained-rn101-32x4d_8xb32-1x1x3-100e_kinetics400-rgb": ("tsn-rx101-32x4d", 400, {}),
    "tsn_imagenet-pretrained-dense161_8xb32-1x1x3-100e_kinetics400-rgb": ("tsn-dense161", 400, {}),
    "tsn_imagenet-pretrained-swin-transformer_8xb32-1x1x3-100e_kinetics400-rgb": ("tsn-swin-b", 400, {}),
    "tsn_imagenet-pretrained-swin-transformer_32xb8-1x1x8-50e_kinetics400-rgb": ("tsn-swin-b", 400, {}),
    "tsn_imagenet-pretrained-mobileone-s4_8xb32-1x1x8-100e_kinetics400-rgb": ("tsn-mobileone-s4", 400, {}),
    "tsn_imagenet-pretrained-mobileone-s4_deploy_8xb32-1x1x8-100e_kinetics400-rgb": (
        "tsn-mobileone-s4-deploy",
        400,
        {},
    ),
    # One frame of one channel: a mel spectrogram.
    "tsn_r18_8xb320-64x1x1-100e_kinetics400-audio-feature": ("tsn-r18", 400, {"in_channels": 1}),
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb": ("tsm-r50", 400, {}),
    "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb": ("tsm-r50", 400, {}),
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb": ("tsm-r50", 174, {}),
    "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb": ("tsm-r50", 174, {}),
    "tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb": ("tsm-r101", 174, {}),
    "tsm_imagenet-pretrained-r50-nl-embedded-gaussian_8xb16-1x1x8-50e_kinetics400-rgb": (
        "tsm-r50-nl-embedded-gaussian",
        400,
        {},
    ),
    "tsm_imagenet-pretrained-r50-nl-dot-product_8xb16-1x1x8-50e_kinetics400-rgb": ("tsm-r50-nl-dot-product", 400, {}),
    "tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb": ("tsm-mobilenetv2", 400, {}),
    "tsm_imagenet-pretrained-mobileone-s4_8xb16-1x1x16-50e_kinetics400-rgb": (
        "tsm-mobileone-s4",
        400,
        {"shift_frames": 8},
    ),
    "tsm_imagenet-pretrained-mobileone-s4_deploy_8xb16-1x1x16-50e_kinetics400-rgb": (
        "tsm-mobileone-s4-deploy",
        400,
        {"shift_frames": 8},
    ),
    "tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv2-rgb": ("tin-r50", 174, {}),
    "tin_kinetics400-pretrained-tsm-r50_1x1x8-50e_kinetics400-rgb": ("tin-r50", 400, {}),
    "trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb": ("trn-r50", 174, {}),
    "tanet_imagenet-pretrained-r50_8xb8-1x1x8-50e_sthv1-rgb": ("tanet-r50", 174, {}),
    "tanet_imagenet-pretrained-r50_8xb8-dense-1x1x8-100e_kinetics400-rgb": ("tanet-r50", 400, {}),
}
QUICK = (
    "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb",
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb",
    "tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb",
)
PRESENT = [name for name in CASES if (FOLDER / f"{name}.json.gz").is_file()]


def test_the_folder_holds_references_for_all_2d_families():
    assert {name.split("_")[0] for name in PRESENT} == {"tsn", "tsm", "tin", "trn", "tanet"}


@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PRESENT]
)
def test_scores_equal_the_reference(config, load_reference, tmp_path):
    name, num_classes, options = CASES[config]
    reference = load_reference(FOLDER / f"{config}.json.gz")
    model = build_model(name, num_classes=num_classes, **options)
    model, frames = reference.load_into(model, tmp_path)  # [B, T, C, H, W]
    clips = frames.transpose(1, 2).unsqueeze(1)  # -> [B, V=1, C, T, H, W]
    with torch.inference_mode():
        scores = model.logits(clips)
    reference.assert_output(scores[:, 0])


# The authors of MMAction2 publish rounded counts; these are the exact ones of its 1.2.0 models.
@pytest.mark.parametrize(
    ("name", "num_classes", "num_params"),
    [
        ("tsn-r50", 400, 24_327_632),
        ("tsn-r50", 174, 23_864_558),
        ("tsn-r101", 400, 43_319_760),
        ("tsn-rx101-32x4d", 400, 42_948_304),
        ("tsm-r50", 400, 24_327_632),
        ("tsm-r50", 174, 23_864_558),
        ("tsm-r101", 174, 42_856_686),
        ("tsn-dense161", 400, 27_355_600),
        ("tsn-swin-b", 400, 87_153_224),
        ("tsn-mobileone-s4", 400, 13_721_848),
        ("tsm-r50-nl-embedded-gaussian", 400, 31_682_000),
        ("tsm-r50-nl-dot-product", 400, 31_682_000),
        ("tsm-r50-nl-gaussian", 400, 28_007_888),
        ("tsm-mobilenetv2", 400, 2_736_272),
        ("tsm-mobileone-s4", 400, 13_721_848),
        ("tin-r50", 400, 24_358_640),
        ("tin-r50", 174, 23_895_566),
        ("trn-r50", 174, 26_641_154),
        ("tanet-r50", 400, 25_590_320),
        ("tanet-r50", 174, 25_127_246),
    ],
)
def test_parameter_counts_equal_the_published_models(name, num_classes, num_params):
    with torch.device("meta"):
        model = build_model(name, num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == num_params


# torchvision's documentation of its ImageNet models (1000 classes) gives these counts.
@pytest.mark.parametrize(
    ("depth", "num_params"),
    [("18", 11_689_512), ("34", 21_797_672), ("50", 25_557_032), ("101", 44_549_160), ("152", 60_192_808)],
)
def test_parameter_counts_equal_torchvisions_image_models(depth, num_params):
    with torch.device("meta"):
        model = build_model(f"tsn-r{depth}", num_classes=1000)
    assert sum(p.numel() for p in model.parameters()) == num_params


def test_tanet_of_16_frames_has_the_published_count():
    with torch.device("meta"):
        model = build_model("tanet-r50", num_classes=174, num_frames=16)
    assert sum(p.numel() for p in model.parameters()) == 25_134_670


def test_all_variants_build_without_memory():
    for name in MODELS:
        with torch.device("meta"):
            model = build_model(name, num_classes=7)
        assert {p.device.type for p in model.parameters()} == {"meta"}
