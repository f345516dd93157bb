"""What a run tells about its decoders, with one that takes nothing in NVDEC's place."""

import json
from pathlib import Path

import pytest

from vidflow.engine.runs import RunFolder
from vidflow.engine.testing import evaluate_run
from vidflow.engine.train import train
from vidflow.pipelines import kinds
from vidflow.pipelines.nvdec import GraphDecoder, GraphDecodingExecutor

NOTE = 'decode = "gpu", as measured on 16 samples: gpu 84 clips/s, cpu 21 clips/s'
TWO_EPOCHS = ("train.epochs=2", "schedule.kind=cosine", "schedule.milestones=[]")
LINEAR = ("model.name=probe_models:Linear", "optim.options={}", "optim.clip_norm=none", "schedule.warmup_steps=0")


def lines(config, kind):
    log = (Path(config.output) / config.name / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, log) if line["kind"] == kind]


@pytest.fixture
def with_chip(monkeypatch):
    """Loaders get an executor whose graph takes VP9 only, as if that had been measured."""

    def choose(dataset, pipeline, indices, **_):
        decoder = GraphDecoder("chip", lambda video: f"codec {video.codec}")
        return GraphDecodingExecutor(pipeline.normalize, decoder, device="cpu", num_threads=1), NOTE

    monkeypatch.setattr(kinds, "choose_executor", choose)


def test_the_choice_and_each_epoch_s_counts_are_told_and_written_down(make_config, probe_models, with_chip, capfd):
    config = make_config(*TWO_EPOCHS, *LINEAR)
    train(config)
    assert [(line["use"], line["reason"], line["ranks"]) for line in lines(config, "decode")] == [
        ("training", NOTE, [0]),
        ("validation", NOTE, [0]),
    ]
    counted = lines(config, "decoded_on_cpu")
    assert [(line["use"], line["epoch"]) for line in counted] == [
        ("training", 1), ("validation", 1), ("training", 2), ("validation", 2),
    ]  # fmt: skip
    training = counted[0]["counts"]
    assert list(training) == ["codec h264"]
    assert counted[2]["counts"] == training
    told = capfd.readouterr().err
    assert f"training: {NOTE}" in told
    assert f"epoch 1, training: {training['codec h264']} samples were decoded on the CPU:" in told


def test_a_test_tells_them_too(make_config, probe_models, with_chip, capfd):
    config = make_config(*TWO_EPOCHS, *LINEAR)
    train(config)
    capfd.readouterr()
    evaluate_run(RunFolder(Path(config.output) / config.name), config)
    told = capfd.readouterr().err
    assert f"test: {NOTE}" in told
    assert "samples were decoded on the CPU: " in told


def test_without_a_gpu_nothing_is_told(make_config, probe_models, capfd):
    config = make_config(*TWO_EPOCHS, *LINEAR)
    train(config)
    assert lines(config, "decode") == lines(config, "decoded_on_cpu") == []
    assert "decoded on the CPU" not in capfd.readouterr().err
