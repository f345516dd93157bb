import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vidflow.cli.main import main
from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train
from vidflow.errors import ConfigError, DataError, WeightsError


@pytest.fixture
def run(make_config) -> RunFolder:
    config = make_config("train.epochs=4")
    train(config)
    return RunFolder(Path(config.output) / config.name)


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return end.value.code


def test_the_best_weights_give_what_validation_said(run):
    report = evaluate_run(run, run.config())
    assert report.metrics == json.loads((run.path / "metrics.json").read_text())["best_metrics"]
    assert report.num_samples == 10
    assert report.weights.endswith("best.safetensors")


def test_the_split_and_the_checkpoint_can_be_chosen(run):
    report = evaluate_run(run, run.config(), checkpoint="last", split="train")
    assert report.num_samples == 26
    assert report.weights.endswith("step-00000012/model.safetensors")
    by_path = evaluate_run(run, run.config(), checkpoint=str(run.saved_steps()[-1]), split="train")
    assert by_path.metrics == report.metrics


def test_the_test_pipeline_is_used_where_there_is_one(run):
    config = run.config(
        ['data.test={sampling={kind="segments", num_segments=2}, crop={kind="ten"}, size=16, short_side=24}']
    )
    report = evaluate_run(run, config)
    assert 0 <= report.metrics["top1"] <= 1
    assert config.data.test_pipeline.crop.kind == "ten"


def test_a_set_with_the_classes_in_another_order_gets_the_labels_of_the_training(run, make_packed, tmp_path):
    """Labels 0, 1, 2 of the other set are as grey as those of the first one, and called otherwise."""
    labels = {"train": [(0,)], "val": [(i % 3,) for i in range(10)]}
    metrics = evaluate_run(run, run.config()).metrics
    for classes, factor in ((("dark", "middle", "bright"), 1), (("bright", "dark", "middle"), 0)):
        root = make_packed(tmp_path / "-".join(classes), labels, classes=classes)
        report = evaluate_run(run, run.config([f"data.root={root}"]))
        assert report.metrics["top1"] == pytest.approx(factor * metrics["top1"])
    fewer = {"train": [(0,)], "val": [(i % 2,) for i in range(4)]}
    for classes, factor in ((("dark", "middle"), 1), (("bright", "dark"), 0)):
        root = make_packed(tmp_path / "-".join(classes), fewer, classes=classes)
        assert evaluate_run(run, run.config([f"data.root={root}"])).metrics["top1"] == factor
    other = make_packed(tmp_path / "others", labels, classes=("night", "dusk", "day"))
    assert evaluate_run(run, run.config([f"data.root={other}"])).num_samples == 10


def test_dumped_scores_give_the_printed_accuracy(run, tmp_path):
    report = evaluate_run(run, run.config(), dump=tmp_path / "out/scores.parquet")
    table = pq.read_table(tmp_path / "out/scores.parquet").to_pydict()
    assert table["id"] == [f"val/{i:03d}.mp4" for i in range(10)]
    assert table["predicted"] == np.argmax(table["scores"], axis=1).tolist()
    assert (
        np.mean([[p] == label for p, label in zip(table["predicted"], table["labels"], strict=True)])
        == report.metrics["top1"]
    )


def test_the_command_prints_the_four_numbers(run, capsys):
    assert command("test", "--run", str(run.path)) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["top1", "top5", "mean_class_accuracy", "macro_f1"]


def test_the_command_prints_one_json_document(run, capsys):
    assert command("test", "--run", str(run.path), "--json", "--checkpoint", "last") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["num_samples"] == 10
    assert set(values) == {"run", "weights", "split", "num_samples", "metrics"}


def test_weights_of_another_model_are_refused(run):
    with pytest.raises(WeightsError, match="does not fit the model"):
        evaluate_run(run, run.config(["model.name=tsn-r18"]))


def test_a_split_that_is_not_there_is_refused(run):
    with pytest.raises(DataError, match="no split 'holdout'"):
        evaluate_run(run, run.config(), split="holdout")


def test_a_dump_of_another_format_is_refused_before_the_work(run, tmp_path):
    with pytest.raises(ConfigError, match=r"end in \.parquet"):
        evaluate_run(run, run.config(), dump=tmp_path / "scores.csv")


def test_a_run_without_validation_points_to_the_last_checkpoint(make_config):
    config = make_config("train.val_every=0", "train.max_steps=1")
    train(config)
    run = RunFolder(Path(config.output) / config.name)
    with pytest.raises(WeightsError, match="--checkpoint last"):
        evaluate_run(run, run.config())


def test_a_folder_that_is_no_run_ends_the_command_with_its_status(tmp_path, capfd):
    assert command("test", "--run", str(tmp_path)) == 2
    assert "no run" in capfd.readouterr().err
