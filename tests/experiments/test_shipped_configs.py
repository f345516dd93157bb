import tomllib

import pytest
import torch

from vidflow.config.loading import load_config, shipped_folder
from vidflow.config.pipeline import MultiScaleCrop, SegmentSampling, TenCrop
from vidflow.engine.building import make_optimizer
from vidflow.models import build_model

# Files in a folder base/ are parts of others.
CONFIGS = sorted(path for path in shipped_folder().rglob("*.toml") if path.parent.name != "base")


def test_there_are_configs():
    assert {"tsm.toml", "tsn.toml", "tsm-demo.toml", "tsn-demo.toml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_its_model_and_optimizer_build(path):
    config = load_config(str(path))
    with torch.device("meta"):
        model = build_model(config.model.name, num_classes=config.model.num_classes or 6, **config.model.options)
    optim = config.optim
    optimizer = make_optimizer(
        model, name=optim.name, lr=optim.lr, weight_decay=optim.weight_decay, options=optim.options, rule=optim.rule
    )
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(learning)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_opens_with_its_paper_and_its_command(path):
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("arXiv:" in line for line in comments)
    assert any(f"experiments/train.py --cfg {path.name}" in line for line in comments)


def test_every_base_is_used():
    used: set[str] = set()
    for path in CONFIGS:
        used |= set(tomllib.loads(path.read_text()).get("base", []))
    assert used == {f"base/{base.name}" for base in shipped_folder().rglob("base/*.toml")}


def test_tsm_has_the_published_settings():
    config = load_config("tsm")
    assert config.data.train.sampling == SegmentSampling(num_segments=8, random=True)
    assert config.data.train.crop == MultiScaleCrop(scales=(1.0, 0.875, 0.75, 0.66), max_gap=1, positions=13)
    assert config.data.test_pipeline.crop == TenCrop()
    assert (config.optim.lr, config.optim.weight_decay, config.optim.options, config.optim.clip_norm) == (
        0.02,
        1e-4,
        {"momentum": 0.9},
        20,
    )
    assert (config.optim.rule, config.optim.base_batch, config.train.batch_size) == ("tsm_fc_lr5", 128, 16)
    assert (config.schedule.milestones, config.schedule.warmup_epochs, config.train.epochs) == ((25, 45), 5, 50)


def test_tsn_has_the_published_settings():
    config = load_config("tsn")
    assert config.data.train.sampling == SegmentSampling(num_segments=3, random=True)
    assert config.data.train.crop == MultiScaleCrop(scales=(1.0, 0.875, 0.75, 0.66), max_gap=1, positions=5)
    assert config.data.test_pipeline.sampling == SegmentSampling(num_segments=25)
    assert (config.optim.lr, config.optim.weight_decay, config.optim.options, config.optim.clip_norm) == (
        0.01,
        1e-4,
        {"momentum": 0.9},
        40,
    )
    assert (config.optim.rule, config.optim.base_batch, config.train.batch_size) == ("default", 256, 32)
    assert (config.schedule.milestones, config.schedule.warmup_epochs, config.train.epochs) == ((40, 80), 0, 100)
    assert config.model.options == {"dropout": 0.4}


@pytest.mark.parametrize("name", ["tsm-demo", "tsn-demo"])
def test_the_demo_never_mirrors_left_into_right(name):
    config = load_config(name)
    assert config.data.train.flip == config.data.val.flip == config.data.test_pipeline.flip == 0
