"""VideoMAE, UMT, UniFormerV2 and CLIP against MMAction2 1.2.0: the same weights through our conversion, the same input,
the same scores.

``VIDFLOW_PARITY`` names another folder of reference files, of which all that are listed here are compared.
"""

import os
from pathlib import Path

import pytest
import torch

from vidflow.models import build_model
from vidflow.models.backbones.clip import CLIPS, Clip

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
# Reference -> our model and its classes.
CASES = {
    "vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400": ("videomae-s", 400),
    "vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400": ("videomae-l", 400),
    "umt-base": ("umt-b", 400),
    "uniformerv2-base-p16-res224_clip_8xb32-u8_kinetics400-rgb": ("uniformerv2-b16", 400),
    "uniformerv2-base-p16-res224_clip_8xb32-u8_kinetics700-rgb": ("uniformerv2-b16", 700),
    "uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics400-rgb": ("uniformerv2-b16", 400),
    "uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics600-rgb": ("uniformerv2-b16", 600),
    "uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics700-rgb": ("uniformerv2-b16", 700),
    "uniformerv2-base-p16-res224_clip-kinetics710-kinetics-k400-pre_16xb32-u8_mitv1-rgb": ("uniformerv2-b16", 339),
    "uniformerv2-large-p14-res224_clip-kinetics710-pre_u8_kinetics400-rgb": ("uniformerv2-l14", 400),
    "uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics400-rgb": ("uniformerv2-l14-336", 400),
}
CLIP_REFERENCE = "clip4clip_vit-base-p32-res224-clip-pre_8xb16-u12-5e_msrvtt-9k-rgb"
QUICK = ("vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400",)
PRESENT = [name for name in CASES if (FOLDER / f"{name}.json.gz").is_file()]


def test_the_folder_holds_a_reference_for_each_family():
    assert {name.split("-")[0] for name in PRESENT} == {"vit", "umt", "uniformerv2"}


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


@pytest.mark.slow
def test_both_encoders_of_clip_equal_the_reference(load_reference):
    reference = load_reference(FOLDER / f"{CLIP_REFERENCE}.json.gz")
    clip = Clip(CLIPS["b32"]).eval()
    clip.load_state_dict({name.removeprefix("clip."): tensor for name, tensor in reference.state_dict().items()})
    assert sum(p.numel() for p in clip.parameters()) == reference.num_params
    texts = reference.values["inputs"][1]
    tokens = torch.zeros(len(texts["tokens"]), texts["pad_to"], dtype=torch.int64)
    for row, text in enumerate(texts["tokens"]):
        tokens[row, : len(text)] = torch.tensor(text)
    frames = reference.input()  # [B, T, C, H, W]
    with torch.inference_mode():
        video = clip.encode_image(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(dim=1)
        text = clip.encode_text(tokens)
    for output, expected in ((video, "video"), (text, "text")):
        values = torch.tensor(reference.values["outputs"][expected]["values"], dtype=torch.float64)
        torch.testing.assert_close(output.double().flatten(), values, rtol=0, atol=1e-3)


# The exact counts of MMAction2 1.2.0's models; those of CLIP with adapters follow from arXiv:2103.00020, table 20.
@pytest.mark.parametrize(
    ("name", "num_classes", "num_params"),
    [
        ("videomae-s", 400, 22_033_936),
        ("videomae-b", 400, 86_534_800),
        ("videomae-l", 400, 304_270_736),
        ("umt-b", 400, 85_944_976),
        ("uniformerv2-b16", 339, 114_505_299),
        ("uniformerv2-b16", 400, 114_552_208),
        ("uniformerv2-b16", 600, 114_706_008),
        ("uniformerv2-b16", 700, 114_782_908),
        ("uniformerv2-l14", 339, 354_037_075),
        ("uniformerv2-l14", 400, 354_099_600),
        ("uniformerv2-l14", 600, 354_304_600),
        ("uniformerv2-l14", 700, 354_407_100),
        ("uniformerv2-l14-336", 339, 354_364_755),
        ("uniformerv2-l14-336", 400, 354_427_280),
        ("uniformerv2-l14-336", 600, 354_632_280),
        ("uniformerv2-l14-336", 700, 354_734_780),
        ("actionclip-b32", 400, 151_277_313 + 6 * 3_152_384 + 8 * 512),
    ],
)
def test_parameter_counts_equal_the_published_models(name, num_classes, num_params):
    with torch.device("meta"):
        model = build_model(name, num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == num_params
