import json
import tomllib
from pathlib import Path

import pytest

from vidflow.config.experiment import Experiment
from vidflow.config.loading import find_config, load_config, shipped_folder, to_toml
from vidflow.errors import ConfigError

GOOD = """
[data]
root = "shards"
[data.train]
[data.val]
[model]
name = "tsm-r50"
[optim]
name = "SGD"
lr = 0.1
[train]
epochs = 3
batch_size = 2
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text: str, name: str = "x.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(str(path), overrides)
    assert error.value.exit_status == 2
    return str(error.value).splitlines()


def test_the_name_of_a_run_is_by_default_that_of_its_file(write):
    assert load_config(str(write(GOOD, "my-run.toml"))).name == "my-run"
    assert load_config(str(write(GOOD, "my-run.toml")), ["name=other"]).name == "other"


def test_every_problem_is_reported_at_once_with_file_section_key_and_suggestion(write):
    path = write(
        GOOD.replace(
            "[data.train]",
            '[data.train]\nshort_sid = 256\ncrop = { kind = "centre" }\n'
            'sampling = { kind = "segments", num_segment = 8 }',
        )
        .replace("[data.val]", "[data.val]\nsampling = { num_segments = 8 }\ncolor_jitter = { brigthness = 0.4 }")
        .replace('name = "tsm-r50"', 'name = "tsm-r50"\nnum_clases = 3')
        .replace("lr = 0.1", "lr = -1")
        .replace("epochs = 3", 'epochs = "many"')
        + "[trian]\nepochs = 3\n"
    )
    assert problems(path) == [
        f"{path}: [data.train.sampling] has no key 'num_segment'. Did you mean 'num_segments'?",
        f"{path}: [data.train.crop] kind = 'centre': must be one of "
        "'random_resized', 'multi_scale', 'random', 'center', 'three', 'ten', 'full'. Did you mean 'center'?",
        f"{path}: [data.train] has no key 'short_sid'. Did you mean 'short_side'?",
        f"{path}: [data.val.sampling] needs kind, one of segments, clips, dense, uniform, bins, untrimmed, key_time",
        f"{path}: [data.val.color_jitter] has no key 'brigthness'. Did you mean 'brightness'?",
        f"{path}: [model] has no key 'num_clases'. Did you mean 'num_classes'?",
        f"{path}: [optim] lr = -1: must be greater than 0",
        f"{path}: [train] epochs = 'many': must be a valid integer, unable to parse string as an integer",
        f"{path}: no key 'trian'. Did you mean 'train'?",
    ]


def test_a_key_that_resembles_none_lists_the_known_ones(write):
    (line,) = problems(write(GOOD.replace("lr = 0.1", "lr = 0.1\nzzz = 1")))
    assert line.endswith(
        "has no key 'zzz'. Its keys are name, lr, weight_decay, options, rule, clip_norm, accumulate, auto_scale_lr, "
        "base_batch."
    )


def test_missing_keys_and_sections_are_named(write):
    path = write(GOOD.replace("lr = 0.1", "").split("[train]")[0])
    assert problems(path) == [f"{path}: [optim] needs lr", f"{path}: needs train"]


def test_an_unknown_key_of_an_override_is_named_as_such(write):
    assert problems(write(GOOD), "optim.lrr=1") == ["--set optim.lrr=1: [optim] has no key 'lrr'. Did you mean 'lr'?"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('[schedule]\nkind = "multi_step"', "[schedule]: multi_step needs milestones"),
        (
            '[schedule]\nkind = "multi_step"\nmilestones = [2, 1]',
            "[schedule]: milestones must be positive and rise, not [2, 1]",
        ),
        ("[schedule]\nmilestones = [2]", "[schedule]: milestones belong to multi_step, not to constant"),
        ("[schedule]\nmin_lr = 0.1", "[schedule]: min_lr and after_warmup belong to cosine, not to constant"),
        ("[schedule]\nwarmup_steps = 2\nwarmup_epochs = 1", "[schedule]: give warmup_epochs or warmup_steps, not both"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(write, extra, message):
    path = write(GOOD + extra)
    assert problems(path) == [f"{path}: {message}"]


def test_a_milestone_that_is_never_reached_is_refused(write):
    path = write(GOOD + '[schedule]\nkind = "multi_step"\nmilestones = [3]')
    assert problems(path) == [f"{path}: schedule.milestones: epoch 3 is never reached in train.epochs = 3"]


def test_scaling_needs_its_base(write):
    (line,) = problems(write(GOOD), "optim.auto_scale_lr=true")
    assert "auto_scale_lr needs base_batch" in line


def test_text_that_is_no_toml_says_where(write):
    (line,) = problems(write("[data\nroot = 3"))
    assert "x.toml: not valid TOML" in line
    assert "line 1" in line


def test_a_file_inherits_and_later_bases_win(write):
    write(GOOD, "bases/a.toml")
    write("[optim]\nlr = 0.5\nweight_decay = 0.1\n", "bases/b.toml")
    child = write('base = ["bases/a.toml", "bases/b.toml"]\n[train]\nepochs = 9\n', "child.toml")
    config = load_config(str(child))
    assert (config.optim.lr, config.optim.weight_decay, config.train.epochs, config.train.batch_size) == (
        0.5,
        0.1,
        9,
        2,
    )
    assert config.name == "child"


def test_a_problem_in_a_base_names_the_base(write):
    base = write(GOOD.replace("lr = 0.1", "lr = 0.1\nmomentun = 1"), "base.toml")
    child = write('base = ["base.toml"]\n', "child.toml")
    (line,) = problems(child)
    assert line.startswith(f"{base}: [optim] has no key 'momentun'")


def test_a_circle_of_bases_is_refused(write):
    write('base = ["b.toml"]', "a.toml")
    write('base = ["a.toml"]', "b.toml")
    with pytest.raises(ConfigError, match=r"circle: a.toml -> b.toml -> a.toml"):
        load_config(str(find_config(str(write('base = ["b.toml"]', "a.toml")))))


def test_a_missing_base_says_where_it_was_looked_for(write):
    (line,) = problems(write('base = ["nowhere.toml"]\n' + GOOD))
    assert "base 'nowhere.toml' does not exist" in line


def test_a_base_that_is_no_list_is_refused(write):
    (line,) = problems(write("base = 3\n" + GOOD))
    assert "must be a list of files" in line


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optim.lr=1e-2", lambda c: c.optim.lr == 0.01),
        ("model.name=tsn-r50", lambda c: c.model.name == "tsn-r50"),
        ('model.name="tsn-r50"', lambda c: c.model.name == "tsn-r50"),
        ("data.train.size=112", lambda c: c.data.train.size == (112, 112)),
        ("data.train.size=[112, 96]", lambda c: c.data.train.size == (112, 96)),
        ("data.train.short_side=none", lambda c: c.data.train.short_side is None),
        ('data.train.flip_labels."3"=4', lambda c: c.data.train.flip_labels == {3: 4}),
        ("model.options.dropout=0.3", lambda c: c.model.options == {"dropout": 0.3}),
        ("deterministic=true", lambda c: c.deterministic is True),
        ("data.where=duration > 2 and label < 200", lambda c: c.data.where == "duration > 2 and label < 200"),
        ("data.root=/a=b/c", lambda c: c.data.root == "/a=b/c"),
        ("train.tracker=none", lambda c: c.train.tracker == "none"),
    ],
)
def test_an_override_sets_its_key(write, override, value):
    assert value(load_config(str(write(GOOD)), [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("optim..lr=3", "is no key"),
        ("data.train.size=[3", "not valid TOML"),
        ('model.name="tsm', "not valid TOML"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(str(write(GOOD)), [override])


def test_later_overrides_win(write):
    assert load_config(str(write(GOOD)), ["optim.lr=1", "optim.lr=2"]).optim.lr == 2


def test_a_table_of_another_kind_replaces_the_one_below(write):
    path = write(
        GOOD.replace("[data.train]", '[data.train]\ncrop = { kind = "multi_scale", scales = [1.0], positions = 13 }')
    )
    assert load_config(str(path), ["data.train.crop.kind=random_resized"]).data.train.crop.kind == "random_resized"
    assert load_config(str(path), ["data.train.crop.max_gap=0"]).data.train.crop.positions == 13


def test_another_optimizer_drops_the_options_of_the_first(write):
    path = write(GOOD.replace("lr = 0.1", "lr = 0.1\noptions = { momentum = 0.9 }"))
    assert load_config(str(path), ["optim.name=AdamW"]).optim.options == {}
    assert load_config(str(path), ["optim.options.nesterov=true"]).optim.options == {"momentum": 0.9, "nesterov": True}
    assert load_config(str(path), ["optim.options={}"]).optim.options == {}


def test_a_written_config_reads_back_as_the_same(write, tmp_path):
    config = load_config(
        str(write(GOOD)),
        [
            "data.train.short_side=none",
            'data.train.flip_labels."3"=4',
            "data.val.color_jitter.hue=9",
            "optim.clip_norm=2.5",
        ],
    )
    copy = tmp_path / "copy.toml"
    copy.write_text(to_toml(config))
    assert load_config(str(copy)) == config
    assert tomllib.loads(to_toml(config))["data"]["train"]["short_side"] == "none"


def test_a_config_of_ours_is_found_by_name_with_and_without_its_ending(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find_config("tsm.toml") == find_config("tsm") == shipped_folder() / "tsm.toml"


def test_a_file_of_the_working_directory_comes_before_ours(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tsm.toml").write_text(GOOD)
    assert load_config("tsm.toml").data.root == "shards"


def test_an_unknown_name_suggests_the_nearest(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no config 'tsmm'.*Did you mean 'tsm.toml'"):
        load_config("tsmm")


def test_the_schema_names_every_section():
    schema = Experiment.model_json_schema()
    assert {"data", "model", "optim", "schedule", "train"} <= schema["properties"].keys()
    assert schema["additionalProperties"] is False
    json.dumps(schema)
