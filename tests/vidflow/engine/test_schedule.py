import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.engine.schedule import Schedule, optimizer_steps, scaled_lr

CASES = {
    case["what"]: case for case in json.loads((Path(__file__).parents[2] / "data/parity/ops/optim.json").read_text())
}
BOTH_BY_STEP = {"by": "step"}
# What the reference's chains of schedulers are in our words.
OURS: dict[str, dict] = {
    "schedule MultiStep": {"kind": "multi_step", "milestones": (6, 10)},
    "schedule warmup by epoch + MultiStep": {"kind": "multi_step", "milestones": (6, 10), "warmup_epochs": 5},
    "schedule warmup converted to iterations + MultiStep": {
        "kind": "multi_step",
        "milestones": (6, 10),
        "warmup_epochs": 5,
        "warmup_by": "step",
    },
    "schedule MultiStep converted": {"kind": "multi_step", "milestones": (18, 30), "by": "step"},
    "schedule milestone inside the warmup": {
        "kind": "multi_step",
        "milestones": (3, 8),
        "warmup_epochs": 5,
        "warmup_by": "step",
    },
    "schedule Cosine eta_min": {"kind": "cosine", "min_factor": 0.01},
    "schedule Cosine eta_min converted": {"kind": "cosine", "min_factor": 0.01, "by": "step"},
    "schedule SlowFast style: warmup and cosine overlap": {"kind": "cosine", "warmup_epochs": 4, "warmup_by": "step"},
    "schedule SlowFast style, cosine converted too": {"kind": "cosine", "warmup_epochs": 4, "by": "step"},
    "schedule cosine from 3 to 12 with T_max 9": {
        "kind": "cosine",
        "warmup_epochs": 3,
        "by": "step",
        "after_warmup": True,
        "min_factor": 0.01,
        "warmup_start_factor": 0.01,
    },
    "schedule eta_min_ratio": {
        "kind": "cosine",
        "warmup_epochs": 2,
        "by": "step",
        "after_warmup": True,
        "min_factor": 1 / 600,
        "warmup_start_factor": 1 / 600,
    },
    "schedule fractional warmup end 2.5 (Swin)": {"kind": "cosine", "warmup_epochs": 2.5, "warmup_by": "step"},
    "schedule two groups keep their ratio": {"kind": "multi_step", "milestones": (6, 10)},
}


@pytest.mark.parametrize("what", OURS)
def test_rates_are_those_of_the_reference(what):
    inputs, outputs = CASES[what]["inputs"], CASES[what]["outputs"]
    per_epoch = inputs["iters_per_epoch"]
    schedule = Schedule(epochs=inputs["epochs"], steps_per_epoch=per_epoch, **OURS[what])
    rates = [
        inputs["base_lr"] * schedule.factor(epoch=step // per_epoch, step=step)
        for step in range(inputs["epochs"] * per_epoch)
    ]
    assert rates[::per_epoch] == pytest.approx(outputs["lr_first_iter_of_each_epoch"], rel=1e-6)
    assert rates[: len(outputs["lr_first_iters"])] == pytest.approx(outputs["lr_first_iters"], rel=1e-6)
    assert rates[-1] == pytest.approx(outputs["last_lr"], rel=1e-6)
    assert sum(rates) == pytest.approx(outputs["sum_lr"], rel=1e-6)
    if "lr_every" in outputs:
        assert rates[:: outputs["iters_every"]] == pytest.approx(outputs["lr_every"], rel=1e-6)


def test_every_schedule_of_the_reference_file_is_tried():
    assert {what for what in CASES if what.startswith("schedule")} == OURS.keys() | {"schedule constant"}


def test_a_warmup_of_one_step_is_that_step_at_the_start_factor():
    schedule = Schedule(kind="constant", epochs=1, steps_per_epoch=5, warmup_steps=1)
    assert [schedule.factor(epoch=0, step=step) for step in range(3)] == [0.1, 1.0, 1.0]


def test_warmup_steps_rise_by_step_under_a_schedule_by_epoch():
    schedule = Schedule(
        kind="multi_step", milestones=(1,), epochs=2, steps_per_epoch=3, warmup_steps=4, warmup_start_factor=0.25
    )
    rates = [schedule.factor(epoch=step // 3, step=step) for step in range(6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 0.1, 0.1, 0.1])


def test_a_cosine_ends_at_its_minimum():
    schedule = Schedule(kind="cosine", by="step", epochs=2, steps_per_epoch=4, min_factor=0.2)
    assert schedule.factor(epoch=2, step=8) == pytest.approx(0.2)
    assert schedule.factor(epoch=1, step=4) == pytest.approx(0.6)
    assert schedule.factor(epoch=3, step=99) == pytest.approx(0.2)


def test_a_warmup_as_long_as_the_cosine_leaves_its_minimum():
    schedule = Schedule(kind="cosine", epochs=2, steps_per_epoch=4, min_factor=0.2, warmup_epochs=2, after_warmup=True)
    assert math.isclose(schedule.factor(epoch=2, step=8), 0.2)


@pytest.mark.parametrize("what", [what for what in CASES if what.startswith("auto_scale_lr") and "enable=True" in what])
def test_scaled_rates_are_those_of_the_reference(what):
    inputs, expected = CASES[what]["inputs"], CASES[what]["outputs"]["lrs"]
    sizes = {
        "batch_size": inputs["batch_size"],
        "num_processes": inputs["world_size"],
        "base_batch": inputs["base_batch_size"],
    }
    assert [scaled_lr(lr, accumulate=1, **sizes) for lr in inputs["lrs"]] == pytest.approx(expected)


def test_accumulated_batches_count_in_the_total_batch():
    assert scaled_lr(0.1, batch_size=8, num_processes=2, accumulate=4, base_batch=64) == pytest.approx(0.1)


@pytest.mark.parametrize(("batches", "accumulate", "steps"), [(7, 3, 3), (6, 3, 2), (1, 8, 1), (5, 1, 5)])
def test_an_epoch_steps_once_per_started_window(batches, accumulate, steps):
    assert optimizer_steps(batches, accumulate) == steps


@pytest.mark.parametrize("max_norm", [1, 40])
def test_gradients_are_clipped_by_their_common_norm(max_norm):
    from vidflow.engine.processes import accelerate_session

    case = CASES[f"clip_grad {{'max_norm': {max_norm}, 'norm_type': 2}}"]
    grads = [
        np.random.default_rng(zlib.crc32(g["u"].encode())).random(g["shape"], dtype=np.float32) * 2 - 1
        for g in case["inputs"]["grads"]
    ]
    parameters = [torch.nn.Parameter(torch.zeros(g.shape)) for g in grads] + [torch.nn.Parameter(torch.zeros(2))]
    for parameter, grad in zip(parameters, grads, strict=False):
        parameter.grad = torch.from_numpy(grad * np.float32(5))
    with accelerate_session() as accelerator:
        norm = accelerator.clip_grad_norm_(parameters, max_norm)
    assert float(norm) == pytest.approx(case["outputs"]["total_l2_before"], rel=1e-6)
    for name, parameter in zip(("g1", "g2"), parameters, strict=False):
        torch.testing.assert_close(parameter.grad, torch.tensor(case["outputs"][name]), rtol=1e-5, atol=1e-6)
    assert parameters[2].grad is None
