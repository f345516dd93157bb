"""TimeSformer, Video Swin, MViTv2 and UniFormer against MMAction2 1.2.0: the same weights through our conversion, the
same input, the same scores.

``VIDFLOW_PARITY`` names another folder of reference files, of which all that are listed here are compared.
"""

import os
from pathlib import Path

import pytest
import torch

from vidflow.models import build_model
from vidflow.models.weights import read_checkpoint
from vidflow.models.weights.convert import recognise

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
# Reference -> our model and its classes.
CASES = {
    "timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb": ("timesformer-divided", 400),
    "timesformer_spaceOnly_8xb8-8x32x1-15e_kinetics400-rgb": ("timesformer-space", 400),
    "swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb": ("swin-tiny", 400),
    "swin-small-p244-w877_in1k-pre_32xb4-amp-32x2x1-30e_kinetics710-rgb": ("swin-small", 710),
    "swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb": ("swin-base", 400),
    "swin-large-p244-w877_in22k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb": ("swin-large", 400),
    "swin-large-p244-w877_in22k-pre_16xb8-amp-32x2x1-30e_kinetics700-rgb": ("swin-large", 700),
    "mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb": ("mvit-small", 400),
    "mvit-small-p244_k400-maskfeat-pre_8xb32-16x4x1-100e_kinetics400-rgb": ("mvit-small-maskfeat", 400),
    "mvit-large-p244_40x3x1_kinetics400-rgb": ("mvit-large", 400),
    "uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb": ("uniformer-small", 400),
}
QUICK = (
    "mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb",
    "uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb",
)
PRESENT = [name for name in CASES if (FOLDER / f"{name}.json.gz").is_file()]


def test_the_folder_holds_a_reference_for_each_family():
    assert {name[:4] for name in PRESENT} == {"mvit", "swin", "time", "unif"}


@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PRESENT]
)
def test_scores_equal_the_reference(config, load_reference, tmp_path):
    name, num_classes = CASES[config]
    reference = load_reference(FOLDER / f"{config}.json.gz")
    model, clips = reference.load_into(build_model(name, num_classes=num_classes), tmp_path)
    with torch.inference_mode():
        scores = model.logits(clips)  # [B, clips, C, T, H, W] -> [B, clips, K]
    reference.assert_output(scores.flatten(0, 1))


@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in PRESENT]
)
def test_a_file_tells_its_model(config, load_reference, tmp_path):
    reference = load_reference(FOLDER / f"{config}.json.gz")
    torch.save(reference.checkpoint(), tmp_path / "reference.pth")
    assert recognise(read_checkpoint(tmp_path / "reference.pth")) == [CASES[config][0]]


# The exact counts of MMAction2 1.2.0's models.
@pytest.mark.parametrize(
    ("name", "num_classes", "num_params"),
    [
        ("timesformer-divided", 400, 121_566_352),
        ("timesformer-joint", 400, 86_112_400),
        ("timesformer-space", 400, 86_106_256),
        ("swin-tiny", 400, 28_158_070),
        ("swin-small", 400, 49_816_678),
        ("swin-small", 710, 50_055_068),
        ("swin-base", 400, 88_048_984),
        ("swin-large", 400, 196_953_916),
        ("swin-large", 700, 197_415_016),
        ("mvit-small", 400, 34_537_744),
        ("mvit-small", 174, 34_363_950),
        ("mvit-small-maskfeat", 400, 36_475_120),
        ("mvit-base", 400, 51_230_128),
        ("mvit-base", 174, 51_056_334),
        ("mvit-large", 400, 213_390_112),
        ("mvit-large", 174, 213_129_534),
        ("uniformer-small", 400, 21_400_400),
        ("uniformer-base", 400, 49_813_200),
    ],
)
def test_parameter_counts_equal_the_published_models(name, num_classes, num_params):
    with torch.device("meta"):
        model = build_model(name, num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == num_params
