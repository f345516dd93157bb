"""[[data.sources]] in a config: what is refused, what is trained on, and that runs resume and test."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from vidflow.config.loading import load_config, to_toml
from vidflow.engine.data import open_evaluation, open_training, training_groups, training_loader
from vidflow.engine.runs import RunFolder
from vidflow.engine.signals import StoppedError
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train
from vidflow.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def other(make_packed, tmp_path_factory) -> Path:
    """Twelve training clips of two classes, one of which is called otherwise than in the first set."""
    root = tmp_path_factory.mktemp("other") / "night"
    labels = {"train": [(i % 4 == 0,) for i in range(12)], "val": [(0,), (1,)]}
    labels = {split: [(int(v[0]),) for v in values] for split, values in labels.items()}
    return make_packed(root, labels, classes=("black", "bright"))


@pytest.fixture
def write(config_file, packed, other, tmp_path):
    """The small config with sources in place of its root; ``more`` goes to the second one."""

    def make(*overrides, more="", data="", root=""):
        text = config_file.read_text().replace(f"root = {json.dumps(str(packed))}", f"{root}\n{data}")
        text += (
            f"[[data.sources]]\nroot = {json.dumps(str(packed))}\n"
            f'[[data.sources]]\nroot = {json.dumps(str(other))}\nlabel_map = {{ black = "dark" }}\n{more}\n'
        )
        path = tmp_path / "mixed.toml"
        path.write_text(text)
        return load_config(str(path), ["name=tiny", *overrides])

    return make


def ids(config):
    training = open_training(config.data)
    loader = training_loader(config, training, Accelerator(cpu=True))
    return [(batch.source, name) for batch in loader for name in batch.ids]


def test_sources_survive_the_way_through_a_file(write, tmp_path):
    config = write(more='repeat = 3\nwhere = "label < 2"')
    path = tmp_path / "again.toml"
    path.write_text(to_toml(config))
    assert load_config(str(path)) == config


def test_both_sources_are_trained_on_and_validation_is_that_of_the_first(write, packed):
    config = write()
    training = open_training(config.data)
    assert training.classes == ("dark", "middle", "bright")
    assert [len(part) for part in training.chosen] == [26, 12]
    dataset, chosen = open_evaluation(config.data, "val")
    assert [dataset.record(int(i)).labels[0] for i in chosen] == [i % 3 for i in range(10)]
    assert train(config).metrics["top1"] > 0
    report = evaluate_run(RunFolder(Path(config.output) / "tiny"), config, checkpoint="last")
    assert report.num_samples == 10


def test_validation_on_a_source_uses_its_label_map(write, other):
    config = write(f"data.root={other}")
    dataset, chosen = open_evaluation(config.data, "val")
    assert [dataset.record(int(i)).labels for i in chosen] == [(0,), (2,)]


def test_repeats_decide_how_often_samples_come(write):
    config = write("train.batch_size=1", more="repeat = 3")
    counts = Counter(name for _, name in ids(config))
    assert sum(counts.values()) == 26 + 36
    assert all(counts[f"train/{i:03d}.mp4"] == 1 + 3 * (i < 12) for i in range(26))


def test_weights_share_the_epoch(write, packed, other, tmp_path, config_file):
    text = config_file.read_text().replace(f"root = {json.dumps(str(packed))}", "epoch_samples = 40")
    for root, weight in ((packed, 3.0), (other, 1.0)):
        text += f"[[data.sources]]\nroot = {json.dumps(str(root))}\nweight = {weight}\n"
    text += 'label_map = { black = "dark" }\n'
    path = tmp_path / "weights.toml"
    path.write_text(text)
    config = load_config(str(path))
    groups = training_groups(config.data, open_training(config.data))
    assert [(len(group.members), group.quota) for group in groups] == [(26, 30), (12, 10)]


def test_balanced_classes_come_equally_often(make_config, packed):
    config = make_config(
        "data.sampling=class-balanced", "train.batch_size=1", 'data.where="label != 0 or key < \\"000006\\""'
    )
    training = open_training(config.data)
    labels = Counter()
    loader = training_loader(config, training, Accelerator(cpu=True))
    for batch in loader:
        labels[int(batch.labels[0])] += 1
    assert len(labels) == 3
    assert max(labels.values()) - min(labels.values()) <= 1
    assert sum(labels.values()) == len(training.chosen[0])


def test_an_epoch_too_short_for_a_class_is_refused(make_config):
    config = make_config("data.sampling=class-balanced", "data.epoch_samples=2")
    with pytest.raises(DataError, match=r"an epoch of 2 samples is too short: 1 of 3 sources or classes"):
        train(config)


def test_turns_train_and_resume_to_the_same_weights(write, probe_models, monkeypatch):
    overrides = ("model.name=probe_models:Probe", "optim.accumulate=2")
    turns = lambda name: write(*overrides, f"name={name}", data='combine = "turns"', more="batch_size = 3")  # noqa: E731
    whole = turns("whole")
    train(whole)
    broken = turns("broken")
    monkeypatch.setenv("VIDFLOW_PROBE", "SIGTERM:17")
    with pytest.raises(StoppedError):
        train(broken)
    monkeypatch.delenv("VIDFLOW_PROBE")
    train(broken, resume=True)
    first, second = (load_file(RunFolder(Path(c.output) / c.name).weights("last")) for c in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_turns_name_their_sources(write):
    config = write("optim.accumulate=2", data='combine = "turns"', more='name = "night"\nbatch_size = 3')
    sources = [source for source, _ in ids(config)]
    assert sources[:7] == ["grey"] * 4 + ["night"] * 3


def test_a_list_of_classes_gives_the_labels(make_config, tmp_path, packed):
    (tmp_path / "classes.txt").write_text("bright\n\nother\nmiddle\ndark\n")
    config = make_config(f"data.classes={tmp_path / 'classes.txt'}")
    training = open_training(config.data)
    assert training.classes == ("bright", "other", "middle", "dark")
    labels = [training.dataset.record(int(i)).labels[0] for i in training.chosen[0][:3]]
    assert labels == [3, 2, 0]
    dataset, chosen = open_evaluation(config.data, "val")
    assert [dataset.record(int(i)).labels[0] for i in chosen[:3]] == [3, 2, 0]


@pytest.fixture
def run_with_a_list(make_config, tmp_path):
    """A config whose classes come from a file, of which two steps are trained; and the file."""
    path = tmp_path / "classes.txt"
    path.write_text("bright\nother\nmiddle\ndark\n")
    config = make_config(f"data.classes={path}", "train.max_steps=2", "name=tiny")
    train(config)
    return config, path


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("bright\ndark\nmiddle\nother\n", r"class 1: 'other' -> 'dark'"),
        ("bright\nmiddle\ndark\n", r"4 classes, one per sample -> 3 classes, one per sample"),
    ],
)
def test_a_run_does_not_go_on_where_its_classes_have_changed(run_with_a_list, text, change):
    config, path = run_with_a_list
    path.write_text(text)
    before = (Path(config.output) / "tiny/classes.json").read_text()
    with pytest.raises(ConfigError, match=rf"cannot resume, the classes have changed \({change}\)"):
        train(config, resume=True)
    assert (Path(config.output) / "tiny/classes.json").read_text() == before


def test_a_test_takes_the_classes_of_the_training_whatever_the_list_says_now(run_with_a_list):
    config, path = run_with_a_list
    run = RunFolder(Path(config.output) / "tiny")
    metrics = evaluate_run(run, config, checkpoint="last").metrics
    path.write_text("dark\nmiddle\nother\nbright\n")
    assert evaluate_run(run, config, checkpoint="last").metrics == metrics
    path.unlink()
    assert evaluate_run(run, config, checkpoint="last").metrics == metrics


def test_a_label_map_may_lie_in_a_file(write, tmp_path, other, config_file, packed):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"black": "dark"}))
    config = write(root="").data
    source = config.sources[1].model_copy(update={"label_map": str(path)})
    training = open_training(config.model_copy(update={"sources": (config.sources[0], source)}))
    assert training.classes == ("dark", "middle", "bright")
    path.write_text("[1]")
    with pytest.raises(ConfigError, match=r"map\.json: a label map is a JSON object of names"):
        open_training(config.model_copy(update={"sources": (config.sources[0], source)}))
    path.unlink()
    with pytest.raises(ConfigError, match=r"label_map = .*map\.json' cannot be read"):
        open_training(config.model_copy(update={"sources": (config.sources[0], source)}))


def test_without_a_label_map_other_names_are_other_classes(write):
    data = write().data
    plain = data.sources[1].model_copy(update={"label_map": {}})
    training = open_training(data.model_copy(update={"sources": (data.sources[0], plain)}))
    assert training.classes == ("dark", "middle", "bright", "black")
    labels = {training.dataset.record(int(i)).labels for i in training.chosen[1]}
    assert labels == {(3,), (2,)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"more": "weigth = 2"}, r"\[data.sources.1\] has no key 'weigth'. Did you mean 'weight'\?"),
        ({"more": "weight = -1"}, r"weight = -1: must be greater than 0"),
        ({"more": "weight = 1"}, "some of data.sources have a weight and some have none"),
        ({"more": "weight = 1\nrepeat = 2"}, "weight and repeat exclude each other"),
        ({"more": "batch_size = 2"}, "batch_size and pipeline of single sources need combine = 'turns'"),
        ({"data": 'combine = "turns"', "accumulate": 3}, r"accumulate \(3\) must be a multiple of the 2 data.sources"),
        (
            {"data": 'combine = "turns"\nsampling = "class-balanced"', "accumulate": 2},
            "sampling = 'class-balanced' is not for combine = 'turns'",
        ),
        (
            {"data": 'combine = "turns"', "more": "[data.sources.pipeline]\nmixing = { mixup = 1 }", "accumulate": 2},
            r"mixing belongs to \[data.train\]",
        ),
        ({"data": "epoch_samples = 9"}, "epoch_samples is for weights and class-balanced sampling"),
        ({"data": 'sampling = "class-balanced"', "more": "repeat = 2"}, "'class-balanced' decides the shares"),
        ({"data": 'sampling = "balanced"'}, "sampling = 'balanced'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(write, options, message):
    options = dict(options)
    overrides = [f"optim.accumulate={options.pop('accumulate')}"] if "accumulate" in options else []
    with pytest.raises(ConfigError, match=message):
        write(*overrides, **options)


def test_no_data_at_all_is_refused(config_file, packed, tmp_path):
    path = tmp_path / "none.toml"
    path.write_text(config_file.read_text().replace(f"root = {json.dumps(str(packed))}", ""))
    with pytest.raises(ConfigError, match=r"\[data\]: needs root, .* or \[\[data.sources\]\]"):
        load_config(str(path))


@pytest.mark.parametrize(("text", "problem"), [("", "is empty"), ("a\nb\na\n", "has 'a' twice")])
def test_a_bad_list_of_classes_is_refused(make_config, tmp_path, text, problem):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        open_training(make_config(f"data.classes={tmp_path / 'classes.txt'}").data)


def test_a_run_goes_on_from_moved_sources_but_not_with_other_shares(write, other, tmp_path):
    train(write("train.max_steps=2"))
    with pytest.raises(ConfigError, match=r"data\.sources\.1\.repeat: 1 -> 2"):
        train(write("train.max_steps=4", more="repeat = 2"), resume=True)
    config = write("train.max_steps=4")
    moved = config.data.sources[1].model_copy(update={"root": str(shutil.copytree(other, tmp_path / "moved"))})
    data = config.data.model_copy(update={"sources": (config.data.sources[0], moved)})
    assert train(config.model_copy(update={"data": data}), resume=True).step == 4


@pytest.mark.slow
def test_two_processes_train_on_sources_that_take_turns(write, launch, tmp_path):
    config = write("optim.accumulate=2", data='combine = "turns"', more="batch_size = 1\nrepeat = 2")
    path = tmp_path / "turns.toml"
    path.write_text(to_toml(config))
    launch("train.py", "--cfg", str(path), "--set", "train.epochs=2", "--set", "schedule.milestones=[1]")
    log = [json.loads(line) for line in (Path(config.output) / "tiny/log.jsonl").read_text().splitlines()]
    # 26 samples are 3 batches of 4 on each of two processes, and each step takes one of either source.
    assert [line["step"] for line in log if line["kind"] == "train"] == list(range(1, 7))
    assert [line["num_samples"] for line in log if line["kind"] == "val"] == [10, 10]
