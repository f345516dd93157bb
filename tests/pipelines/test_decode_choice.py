"""``decode = "auto"``: the faster way is taken, whichever it is, and clips do not depend on it."""

import time

import numpy as np
import pytest
import torch

from vidflow.config.pipeline import ClipPipeline, Normalize, SegmentSampling
from vidflow.errors import ConfigError, DecodeError
from vidflow.pipelines.dali import DaliCpuExecutor
from vidflow.pipelines.decode_choice import choose_decoder, choose_executor
from vidflow.pipelines.executor import ReferenceExecutor, make_executor
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.reading import read_samples
from vidflow.pipelines.work import WorkItem

NORMALIZE = Normalize()
PIPELINE = ClipPipeline(sampling=SegmentSampling(num_segments=2), size=(64, 64))
OPTIONS = {"can_choose": True, "decode": "auto", "batch_size": 4, "num_threads": 2}


class Slow(ReferenceExecutor):
    """A real executor that takes its time."""

    def prepare(self, item):
        time.sleep(0.1)
        return super().prepare(item)


class Broken(ReferenceExecutor):
    """A device that is not there."""

    def assemble(self, items, prepared):
        raise RuntimeError("libnvcuvid.so.1 is missing")


def dali():
    return DaliCpuExecutor(NORMALIZE, num_threads=1)


def choose(packed, ways, **options):
    return choose_executor(
        packed, PIPELINE, packed.select("train"), make=lambda name: ways[name](), **OPTIONS | options
    )


@pytest.mark.parametrize(("gpu", "cpu", "best"), [
    (dali, lambda: Slow(NORMALIZE), "gpu"),
    (lambda: Slow(NORMALIZE), dali, "cpu"),
    (lambda: ReferenceExecutor(NORMALIZE), lambda: Slow(NORMALIZE), "gpu"),
])  # fmt: skip
def test_the_faster_one_is_taken_and_told(packed, gpu, cpu, best):
    ways = {"gpu": gpu, "cpu": cpu}
    executor, note = choose(packed, ways)
    assert type(executor) is type(ways[best]())
    assert note.startswith(f'decode = "{best}", as measured on 8 samples: gpu ')
    assert note.count("clips/s") == 2


def test_one_that_does_not_work_is_not_taken(packed):
    executor, note = choose(packed, {"gpu": lambda: Broken(NORMALIZE), "cpu": lambda: Slow(NORMALIZE)})
    assert isinstance(executor, Slow)
    assert "gpu does not work" in note


def test_where_none_works_it_is_an_error(packed):
    with pytest.raises(RuntimeError, match="libnvcuvid"):
        choose(packed, dict.fromkeys(("gpu", "cpu"), lambda: Broken(NORMALIZE)))


@pytest.mark.parametrize("options", [{"decode": "cpu"}, {"decode": "gpu"}, {"can_choose": False}])
def test_nothing_is_measured_where_there_is_no_choice(packed, options):
    made = []
    executor, note = choose_executor(
        packed,
        PIPELINE,
        packed.select("train"),
        make=lambda name: made.append(name) or Broken(NORMALIZE),
        **OPTIONS | options,
    )
    assert isinstance(executor, Broken)
    assert note == ""
    assert made == [options.get("decode", "auto")]


def test_samples_that_do_not_decode_are_left_out(packed, monkeypatch):
    original = ReferenceExecutor.prepare

    def prepare(self, item):
        if item.record.key.endswith("3"):
            raise DecodeError("damaged")
        return original(self, item)

    monkeypatch.setattr(ReferenceExecutor, "prepare", prepare)
    _, note = choose(packed, dict.fromkeys(("gpu", "cpu"), lambda: ReferenceExecutor(NORMALIZE)))
    assert "on 7 samples" in note


def test_nothing_to_measure_takes_the_first():
    choice = choose_decoder({"gpu": dali, "cpu": lambda: Slow(NORMALIZE)}, [], batch_size=2, num_threads=1)
    assert choice.name == "gpu"


def test_rounds_end_when_time_is_up(packed):
    """The clock goes on by 4 seconds each time it is read."""
    times = iter(np.arange(0, 1000, 4.0))
    calls = []

    class Counted(ReferenceExecutor):
        def assemble(self, items, prepared):
            calls.append(len(items))
            return super().assemble(items, prepared)

    record, _ = packed.row(0)
    data = next(read_samples(packed, np.array([0])))[2]
    items = [WorkItem(record, make_plan(record, PIPELINE, sample_rng(0, 0, 0)), data)] * 4
    ways = {"gpu": lambda: Counted(NORMALIZE), "cpu": lambda: ReferenceExecutor(NORMALIZE)}
    choice = choose_decoder(ways, items, batch_size=4, num_threads=1, clock=lambda: next(times))
    assert calls == [4, 4]  # one to warm up, one round
    assert choice.rates == {"gpu": 1.0, "cpu": 1.0}


def test_on_a_machine_without_a_gpu_a_loader_measures_nothing(packed):
    loader = build_loader(packed, PIPELINE, split="train", batch_size=4, training=True)
    assert loader.decode_note == ""
    assert not loader.take_decoded_on_cpu()


@pytest.mark.parametrize("name", ["dali", "reference"])
def test_asking_for_a_gpu_that_is_not_there_is_an_error(name):
    with pytest.raises(ConfigError, match="decode = 'gpu' needs DALI on a CUDA device"):
        make_executor(NORMALIZE, name, "gpu", device="cpu")


def test_clips_do_not_depend_on_the_choice(packed):
    clips = []
    for decode in ("auto", "cpu"):
        loader = build_loader(packed, PIPELINE, split="train", batch_size=4, training=True, decode=decode)
        clips.append(torch.cat([batch.clips for batch in loader]))
    assert (clips[0] == clips[1]).all()


class Refusing(ReferenceExecutor):
    """A device whose graph refuses a whole batch for one sample, as NVDEC does."""

    def prepare(self, item):
        self.num_decoded_on_cpu["too old a chip"] += 1
        return super().prepare(item)

    def assemble(self, items, prepared):
        if any(item.record.key == "000001" for item in items):
            raise DecodeError("sample 000001: does not decode")
        return super().assemble(items, prepared)


def test_a_sample_that_only_the_graph_refuses_is_left_out_alone(packed):
    ways = {"gpu": lambda: Refusing(NORMALIZE), "cpu": lambda: Slow(NORMALIZE)}
    executor, note = choose(packed, ways)
    assert isinstance(executor, Refusing)
    assert "on 7 samples" in note


def test_what_was_measured_is_not_counted(packed):
    executor, _ = choose(packed, {"gpu": lambda: Refusing(NORMALIZE), "cpu": lambda: Slow(NORMALIZE)})
    assert not executor.num_decoded_on_cpu
