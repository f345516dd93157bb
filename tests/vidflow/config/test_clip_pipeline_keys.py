"""The keys of a clip pipeline in TOML: read, written back, and refused where they are wrong."""

from pathlib import Path

import pytest

from vidflow.config.augmentation import AugMix, BatchMixing, GaussianBlur, RandAugment, RandomErasing
from vidflow.config.loading import load_config, to_toml
from vidflow.config.sampling import (
    BinSampling,
    ClipSampling,
    KeyTimeSampling,
    UniformSampling,
    UntrimmedSampling,
)
from vidflow.errors import ConfigError

REST = """
[data]
root = "shards"
[data.val]
{val}
[data.train]
{train}
[model]
name = "tsm-r50"
[optim]
name = "SGD"
lr = 0.1
[train]
epochs = 3
batch_size = 2
"""
EVERYTHING = """
sampling = { kind = "clips", length = 16, interval = 4, random = true, out_of_bound = "repeat_last", target_fps = 30 }
short_side = [256, 320]
crop = { kind = "random_resized" }
size = 224
flip = 0.5
grayscale = 0.1
repeats = 2
color_jitter = { brightness = 0.4, hue = 18, order = "random" }
blur = { sigma = [0.5, 1.5] }
rand_augment = { num_ops = 4, magnitude = 7 }
erasing = { probability = 0.25, mode = "rand" }
mixing = { mixup = 0.8, cutmix = 1.0 }
"""


@pytest.fixture
def write(tmp_path):
    def write_file(*, train: str = "", val: str = "") -> Path:
        path = tmp_path / "x.toml"
        path.write_text(REST.format(train=train, val=val))
        return path

    return write_file


def test_all_keys_of_training_are_read_and_written_back(write, tmp_path):
    loaded = load_config(str(write(train=EVERYTHING)))
    train = loaded.data.train
    assert train.sampling == ClipSampling(length=16, interval=4, random=True, out_of_bound="repeat_last", target_fps=30)
    assert (train.short_side, train.size, train.repeats, train.grayscale) == ((256, 320), (224, 224), 2, 0.1)
    assert train.blur == GaussianBlur(sigma=(0.5, 1.5))
    assert train.rand_augment == RandAugment(num_ops=4, magnitude=7)
    assert train.erasing == RandomErasing()
    assert train.mixing == BatchMixing(mixup=0.8, cutmix=1.0)
    again = tmp_path / "again.toml"
    again.write_text(to_toml(loaded))
    assert load_config(str(again)).data == loaded.data


@pytest.mark.parametrize(
    ("text", "sampling"),
    [
        ('{ kind = "uniform", length = 16, num_clips = 4 }', UniformSampling(length=16, num_clips=4)),
        ('{ kind = "bins", length = 48, num_clips = 10 }', BinSampling(length=48, num_clips=10)),
        ('{ kind = "untrimmed", length = 6, clip_interval = 16 }', UntrimmedSampling(length=6, clip_interval=16)),
        ('{ kind = "key_time", length = 32, interval = 2 }', KeyTimeSampling(length=32, interval=2)),
    ],
)
def test_samplings_are_told_by_their_kind(write, text, sampling):
    assert load_config(str(write(val=f"sampling = {text}"))).data.val.sampling == sampling


def test_a_flow_pipeline_has_flows_normalisation(write):
    loaded = load_config(str(write(train='modality = "flow"\nflow_length = 5')))
    assert loaded.data.train.normalize.mean == (128, 128)
    assert loaded.data.val.normalize.mean == (123.675, 116.28, 103.53)


def test_an_empty_table_takes_the_defaults_and_overrides_reach_into_it(write):
    loaded = load_config(str(write(train="aug_mix = {}")), ["data.train.aug_mix.width=2", "data.train.blur={}"])
    assert loaded.data.train.aug_mix == AugMix(width=2)
    assert loaded.data.train.blur == GaussianBlur()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ('sampling = { kind = "uniforms", length = 8 }', "uniform"),
        ('sampling = { kind = "uniform" }', r"data\.train\.sampling.*length"),
        ('sampling = { kind = "clips", length = 8, out_of_bound = "stop" }', "out_of_bound.*'loop'"),
        ("rand_augment = { magnitud = 7 }", "magnitud.*Did you mean 'magnitude'"),
        ("short_side = [320, 256]", r"short_side.*0 < low <= high, not \[320, 256\]"),
        ("rand_augment = {}\naug_mix = {}", "rand_augment or aug_mix, not both"),
        ("mixing = {}", "give mixup, cutmix or both"),
        ("repeats = 0", r"repeats.*greater than 0"),
        ("erasing = { area = [0.5, 0.1] }", r"area.*0 < low <= high <= 1"),
    ],
)
def test_wrong_values_are_named_with_their_place(write, train, message):
    with pytest.raises(ConfigError, match=message):
        load_config(str(write(train=train)))
