"""The table of published models, and our models against it."""

import pytest
import torch

from vidflow.config.loading import load_config, shipped_folder
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.flops import count_macs
from vidflow.zoo.entries import zoo_entries, zoo_entry

ENTRIES = zoo_entries()
SHIPPED = {path.stem for path in shipped_folder().rglob("*.toml") if path.parent.name != "base"}
OURS = [entry for entry in ENTRIES if entry.config in SHIPPED]
COUNTED = [entry for entry in OURS if entry.gmacs]
QUICK = (
    "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb",
    "tsn_imagenet-pretrained-swin-transformer_8xb32-1x1x3-100e_kinetics400-rgb",
)


def published_gmacs(entry):
    """The table's count; that of UniFormerV2-B misses the fused attention of CLIP's transformer, which is 4 % of it."""
    return 148.1 if entry.config.startswith("uniformerv2-base") else entry.gmacs


def model_of(entry):
    config = load_config(entry.config)
    with torch.device("meta"):
        return build_model(config.model.name, num_classes=config.model.num_classes, **config.model.options)


def test_the_table_holds_every_task_once():
    assert {entry.task for entry in ENTRIES} == {"recognition", "skeleton", "detection", "localization", "retrieval"}
    assert len({entry.config for entry in ENTRIES}) == len(ENTRIES) == 184


def test_every_published_recognizer_has_a_config_of_its_name():
    tasks = ("recognition", "skeleton")
    assert [entry.config for entry in ENTRIES if entry.task in tasks and entry.config not in SHIPPED] == []


def test_every_entry_has_a_number_and_a_size():
    for entry in ENTRIES:
        assert entry.params > 0, entry.config
        assert entry.metrics, entry.config
        assert len(entry.input) in (0, 3, 4), entry.config


def test_an_entry_tells_what_was_published():
    entry = zoo_entry("tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.toml")
    assert (entry.task, entry.dataset, entry.params) == ("recognition", "Kinetics-400", 24_327_632)
    assert entry.metrics == {"top1": 73.18, "top5": 90.56}
    assert (entry.flops_g, entry.gmacs, entry.input) == (32.88, 32.882, (3, 8, 224, 224))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'x3d_s_13x6x1_facebook-kinetics400-rgb'"):
        zoo_entry("x3d_s_13x6x1_facebook-kinetics400")
    with pytest.raises(ConfigError, match="`vidflow zoo` lists them"):
        zoo_entry("?")


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.config)
def test_our_model_has_exactly_the_published_parameters(entry):
    assert sum(p.numel() for p in model_of(entry).parameters()) == entry.params


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=entry.config, marks=() if entry.config in QUICK else pytest.mark.slow)
        for entry in COUNTED
    ],
)
def test_our_model_has_the_published_multiply_adds(entry):
    count = count_macs(model_of(entry), entry.input)
    assert count.total / 1e9 == pytest.approx(published_gmacs(entry), rel=0.01)
