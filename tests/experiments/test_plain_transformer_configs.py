"""The shipped configs of VideoMAE, UMT, UniFormerV2 and ActionCLIP: published settings, and true headers."""

import re

import pytest
import torch

from vidflow.config.loading import load_config, shipped_folder
from vidflow.config.pipeline import CenterCrop, ThreeCrop
from vidflow.config.sampling import ClipSampling, SegmentSampling, UniformSampling
from vidflow.models import build_model

PREFIXES = ("vit-", "umt-", "uniformerv2-", "actionclip_")
CONFIGS = sorted(path for path in (shipped_folder() / "recognition").glob("*.toml") if path.name.startswith(PREFIXES))


def test_all_published_configs_are_there():
    counts = {prefix: sum(path.name.startswith(prefix) for path in CONFIGS) for prefix in PREFIXES}
    assert counts == {"vit-": 4, "umt-": 4, "uniformerv2-": 20, "actionclip_": 6}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_header_tells_the_models_size(path):
    config = load_config(str(path))
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=config.model.num_classes, **config.model.options)
    (stated,) = re.findall(r"([\d.]+) M parameters", path.read_text())
    assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}" == stated


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_frames_and_pixels_are_those_of_the_name(path):
    config = load_config(str(path))
    for pipeline in (config.data.train, config.data.val, config.data.test_pipeline):
        size = re.search(r"res(\d+)", path.name)
        assert pipeline.size == ((int(size[1]),) * 2 if size else (224, 224))
        sampling = pipeline.sampling
        frames = re.search(r"(?:_|-|\dx\dx)u?(\d+)(?:x4x1)?_(?:kinetics|k400|k700|mitv1)", path.name)
        assert (sampling.num_segments if isinstance(sampling, SegmentSampling) else sampling.length) == int(frames[1])


def test_uniformerv2_has_the_published_settings():
    config = load_config("uniformerv2-base-p16-res224_clip_8xb32-u8_kinetics400-rgb")
    assert config.data.train.sampling == UniformSampling(length=8, random=True)
    assert (config.data.train.rand_augment.num_ops, config.data.train.rand_augment.magnitude) == (4, 7)
    assert config.data.test_pipeline.sampling == UniformSampling(length=8, num_clips=4)
    assert config.data.test_pipeline.crop == ThreeCrop()
    assert config.data.train.normalize.mean == (114.75,) * 3
    optim, schedule = config.optim, config.schedule
    assert (optim.lr, optim.weight_decay, optim.clip_norm, optim.base_batch) == (1e-5, 0.05, 20, 256)
    assert (schedule.min_lr, schedule.warmup_epochs, schedule.warmup_start_factor) == (1e-6, 5, 0.1)
    assert (config.train.epochs, config.train.batch_size) == (55, 8)


def test_uniformerv2_of_kinetics_710_is_fine_tuned_for_five_epochs():
    config = load_config("uniformerv2-base-p16-res224_clip-kinetics710-pre_8xb32-u8_kinetics700-rgb")
    assert (config.optim.lr, config.schedule.min_lr, config.train.epochs) == (2e-6, 1e-6, 5)
    assert (config.model.num_classes, config.schedule.warmup_epochs) == (700, 1)


def test_large_uniformerv2_looks_at_two_clips_of_336_pixels():
    config = load_config("uniformerv2-large-p14-res336_clip-kinetics710-pre_u32_kinetics400-rgb")
    assert config.data.test_pipeline.sampling == UniformSampling(length=32, num_clips=2)
    assert (config.data.test_pipeline.size, config.data.test_pipeline.short_side) == ((336, 336), 336)


def test_videomae_has_the_published_tests_and_its_authors_fine_tuning():
    config = load_config("vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400")
    assert config.data.test_pipeline.sampling == ClipSampling(length=16, interval=4, num_clips=5)
    assert config.data.test_pipeline.crop == ThreeCrop()
    assert (config.optim.lr, config.optim.rule, config.optim.base_batch) == (2e-3, "layer_decay_0.75", 256)
    assert (config.train.epochs, config.data.train.repeats) == (35, 2)
    assert config.model.options == {"drop_path": 0.1, "label_smoothing": 0.1, "max_views": 5}


def test_actionclip_has_the_published_settings():
    config = load_config("actionclip_vit-base-p16-res224-clip-pre_g8xb16_1x1x8_k400-rgb")
    assert config.data.test_pipeline.sampling == SegmentSampling(num_segments=8)
    assert config.data.test_pipeline.crop == CenterCrop()
    assert config.data.val.normalize.std == (68.5, 66.632, 70.323)
    optim = config.optim
    assert (optim.lr, optim.weight_decay, optim.options, optim.rule) == (
        5e-6,
        0.2,
        {"betas": [0.9, 0.98]},
        "adapter_lr10",
    )
    assert (config.train.epochs, config.train.batch_size, config.schedule.warmup_epochs) == (50, 16, 5)
