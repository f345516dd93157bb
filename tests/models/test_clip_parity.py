"""The 3D families against MMAction2 1.2.0: the same weights through our conversion, the same input, the same scores.

``VIDFLOW_PARITY`` names another folder of reference files, of which all that are listed here are compared.
"""

import os
from pathlib import Path

import pytest
import torch

from vidflow.config.loading import load_config
from vidflow.models import build_model

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
# Reference -> our model, and options that are not the model's own.
CASES: dict[str, tuple[str, dict[str, int]]] = {
    "c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb": ("c2d-r50", {}),
    "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb": ("c3d", {"num_classes": 101}),
    "i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb": ("i3d-r50", {}),
    "i3d_imagenet-pretrained-r50-heavy_8xb8-32x2x1-100e_kinetics400-rgb": ("i3d-r50-heavy", {}),
    "i3d_imagenet-pretrained-r50-nl-dot-product_8xb8-32x2x1-100e_kinetics400-rgb": ("i3d-r50-nl-dot-product", {}),
    "i3d_imagenet-pretrained-r50-nl-gaussian_8xb8-32x2x1-100e_kinetics400-rgb": ("i3d-r50-nl-gaussian", {}),
    "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb": ("ircsn-r50", {}),
    "ircsn_ig65m-pretrained-r152_8xb12-32x2x1-58e_kinetics400-rgb": ("ircsn-r152", {}),
    "r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb": ("r2plus1d-r34", {}),
    "slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb": ("slowfast-r50-4x16", {}),
    "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb": ("slowfast-r50-8x8", {}),
    "slowfast_r50_8xb8-8x8x1-steplr-256e_kinetics400-rgb": ("slowfast-r50-8x8-lateral-norm", {}),
    "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb": ("slowfast-r101-8x8", {}),
    "slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb": ("slowonly-r50", {}),
    "slowonly_r50_8xb16-16x4x1-256e_kinetics400-flow": ("slowonly-r50", {"in_channels": 2}),
    "slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb": ("slowonly-r101", {}),
    "slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-8x8x1-steplr-150e_kinetics400-rgb": (
        "slowonly-r50-nl-embedded-gaussian",
        {},
    ),
    "slowonly_r50_8xb16-8x8x1-256e_imagenet-kinetics400-rgb": ("omnisource-slowonly-r50", {}),
    "tpn-slowonly_r50_8xb8-8x8x1-150e_kinetics400-rgb": ("tpn-slowonly-r50", {}),
    "x3d_s_13x6x1_facebook-kinetics400-rgb": ("x3d", {}),
}
QUICK = ("slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb",)
PRESENT = [name for name in CASES if (FOLDER / f"{name}.json.gz").is_file()]
# Exact parameter counts of MMAction2 1.2.0's models, under the names of their configs.
COUNTS = {
    "c2d_r50-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb": 24_327_632,
    "c2d_r101-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb": 43_319_760,
    "c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb": 24_327_632,
    "c2d_r50-in1k-pre_8xb32-16x4x1-100e_kinetics400-rgb": 24_327_632,
    "ircsn_ig65m-pretrained-r152_8xb12-32x2x1-58e_kinetics400-rgb": 29_703_568,
    "ircsn_ig65m-pretrained-r152-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb": 29_703_568,
    "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb": 13_131_152,
    "ipcsn_r152_32x2x1-180e_kinetics400-rgb": 33_016_592,
    "ircsn_r152_32x2x1-180e_kinetics400-rgb": 29_703_568,
    "ipcsn_ig65m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb": 33_016_592,
    "ipcsn_sports1m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb": 33_016_592,
    "ircsn_sports1m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb": 29_703_568,
    "i3d_imagenet-pretrained-r50-nl-dot-product_8xb8-32x2x1-100e_kinetics400-rgb": 35_397_840,
    "i3d_imagenet-pretrained-r50-nl-embedded-gaussian_8xb8-32x2x1-100e_kinetics400-rgb": 35_397_840,
    "i3d_imagenet-pretrained-r50-nl-gaussian_8xb8-32x2x1-100e_kinetics400-rgb": 31_723_728,
    "i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb": 28_043_472,
    "i3d_imagenet-pretrained-r50_8xb8-dense-32x2x1-100e_kinetics400-rgb": 28_043_472,
    "i3d_imagenet-pretrained-r50-heavy_8xb8-32x2x1-100e_kinetics400-rgb": 33_024_208,
    "slowonly_r50_8xb16-8x8x1-256e_imagenet-kinetics400-rgb": 35_648_792,
    "r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb": 63_759_281,
    "r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb": 63_759_281,
    "slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb": 34_479_288,
    "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb": 34_565_560,
    "slowfast_r50_8xb8-8x8x1-steplr-256e_kinetics400-rgb": 34_566_488,
    "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb": 62_912_312,
    "slowfast_r101-r50_32xb8-4x16x1-256e_kinetics400-rgb": 62_384_312,
    "slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb": 32_454_096,
    "slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb": 32_454_096,
    "slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb": 60_359_120,
    "slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics400-rgb": 32_454_096,
    "slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb": 32_454_096,
    "slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-4x16x1-steplr-150e_kinetics400-rgb": 39_808_464,
    "slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-8x8x1-steplr-150e_kinetics400-rgb": 39_808_464,
    "tpn-slowonly_r50_8xb8-8x8x1-150e_kinetics400-rgb": 91_498_336,
    "tpn-slowonly_imagenet-pretrained-r50_8xb8-8x8x1-150e_kinetics400-rgb": 91_498_336,
    "x3d_s_13x6x1_facebook-kinetics400-rgb": 3_794_322,
    "x3d_m_16x5x1_facebook-kinetics400-rgb": 3_794_322,
    "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb": 78_409_573,
    "slowonly_imagenet-pretrained-r50_16xb16-4x16x1-steplr-150e_kinetics700-rgb": 33_068_796,
    "slowonly_imagenet-pretrained-r50_16xb16-8x8x1-steplr-150e_kinetics700-rgb": 33_068_796,
    "slowonly_imagenet-pretrained-r50_32xb8-8x8x1-steplr-150e_kinetics710-rgb": 33_089_286,
    "tpn-tsm_imagenet-pretrained-r50_8xb8-1x1x8-150e_sthv1-rgb": 82_445_724,
}


def test_the_folder_holds_references_for_all_3d_families():
    families = {"c2d", "c3d", "i3d", "ircsn", "r2plus1d", "slowfast", "slowonly", "tpn-slowonly", "x3d"}
    assert {name.split("_")[0] for name in PRESENT} == families


@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PRESENT]
)
def test_scores_equal_the_reference(config, load_reference, tmp_path):
    name, options = CASES[config]
    reference = load_reference(FOLDER / f"{config}.json.gz")
    model, clips = reference.load_into(build_model(name, **({"num_classes": 400} | options)), tmp_path)
    with torch.inference_mode():
        scores = model.logits(clips)[:, 0]  # [B, V=1, K] -> [B, K]
    # OmniSource's was asked for one clip, without the batch's axis.
    reference.assert_output(scores if len(reference.values["outputs"]["shape"]) == 2 else scores[0])


@pytest.mark.parametrize("name", COUNTS)
def test_configs_have_the_published_models_parameter_count(name):
    config = load_config(name)
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=config.model.num_classes, **config.model.options)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]
