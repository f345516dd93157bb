"""Samples of single pictures and of optical flow through both executors."""

import numpy as np
import pytest
import torch
from pictures import frames_sample, jpeg

from vidflow.config.pipeline import CenterCrop, ClipPipeline, FullFrame, Normalize, ThreeCrop
from vidflow.config.sampling import ClipSampling, SegmentSampling
from vidflow.errors import DataError, DecodeError
from vidflow.pipelines.executor import make_executor
from vidflow.pipelines.plan import make_plan, make_plans, sample_rng
from vidflow.pipelines.work import WorkItem

RGB = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
PLAIN_FLOW = Normalize(mean=(0.0, 0.0), std=(1.0, 1.0))
EXECUTORS = ["dali", "reference"]


def flow_pipeline(**options) -> ClipPipeline:
    values = {"sampling": SegmentSampling(num_segments=3), "short_side": None, "crop": FullFrame(), "size": (60, 80)}
    return ClipPipeline(modality="flow", normalize=PLAIN_FLOW, **(values | options))


def run(pipeline, sample, name, *, index=0):
    record, members = sample
    plan = make_plan(record, pipeline, sample_rng(0, 0, index))
    views = make_executor(pipeline.normalize, name=name).run([WorkItem(record, plan, members)])
    return plan, views


@pytest.mark.parametrize("name", EXECUTORS)
def test_pictures_come_out_as_they_were_stored(name):
    pipeline = ClipPipeline(
        sampling=SegmentSampling(num_segments=4), short_side=None, crop=FullFrame(), size=(60, 80), normalize=RGB
    )
    record, members = frames_sample(12)
    plan, views = run(pipeline, (record, members), name)
    assert plan.frames.tolist() == [1, 4, 7, 10]
    from vidflow.members import frame_arrays

    expected = torch.from_numpy(frame_arrays(record, members, plan.frames.tolist()))  # [T, H, W, 3]
    assert torch.equal(views[0, 0].permute(1, 2, 3, 0), expected.float())


def test_only_the_pictures_of_the_plan_are_decoded():
    pipeline = ClipPipeline(sampling=SegmentSampling(num_segments=4), crop=CenterCrop(), size=32, short_side=40)
    record, members = frames_sample(12)
    broken = {
        name: data if name[4:9] in ("00002", "00005", "00008", "00011") else b"" for name, data in members.items()
    }
    run(pipeline, (record, broken), "dali")


@pytest.mark.parametrize("name", EXECUTORS)
def test_flow_is_stacked_step_by_step_and_keeps_its_values_through_the_resize(name):
    sample = frames_sample(12, num_flow=11)
    plan, views = run(flow_pipeline(flow_length=4, size=(30, 44)), sample, name)
    assert plan.frames.tolist() == [1, 4, 6]  # of 8 places where 4 steps begin
    assert views.shape == (1, 1, 8, 3, 30, 44)
    for t, first in enumerate([1, 4, 6]):
        for step in range(4):
            assert (views[0, 0, 2 * step, t] - 10 * (first + step)).abs().max() <= 1
            assert (views[0, 0, 2 * step + 1, t] - 200).abs().max() <= 1


@pytest.mark.parametrize("name", EXECUTORS)
def test_mirrored_flow_goes_the_other_way(name):
    sample = frames_sample(12, num_flow=11)
    _, plain = run(flow_pipeline(flow_length=2), sample, name)
    _, mirrored = run(flow_pipeline(flow_length=2, flip=1.0), sample, name)
    flipped = plain.flip(-1)
    flipped[:, :, ::2] = 255 - flipped[:, :, ::2]  # x of each step
    assert (mirrored - flipped).abs().max() <= 1
    assert (mirrored[:, :, 1::2] - 200).abs().max() <= 1


def test_no_motion_is_about_zero_with_the_normalisation_of_flow_mirrored_or_not():
    record, members = frames_sample(4, num_flow=3)
    members |= {name: jpeg(np.full((60, 80), 128, np.uint8)) for name in members if name.startswith("flow")}
    for flip in (0.0, 1.0):
        pipeline = ClipPipeline(modality="flow", sampling=SegmentSampling(num_segments=2), size=32, flip=flip)
        _, views = run(pipeline, (record, members), "dali")
        assert views.abs().max() <= 1 / 128


@pytest.mark.parametrize("pipeline", [
    flow_pipeline(flow_length=3, crop=ThreeCrop(), size=(24, 24), short_side=31, flip=1.0),
    flow_pipeline(sampling=ClipSampling(length=4, num_clips=2), crop=CenterCrop(), size=(40, 50), short_side=45),
])  # fmt: skip
def test_both_executors_agree_on_flow_that_is_no_flat_field(pipeline):
    record, members = frames_sample(12, num_flow=11)
    rng = np.random.default_rng(0)
    for name in members:
        if name.startswith("flow"):
            members[name] = jpeg(rng.integers(0, 256, (60, 80), dtype=np.uint8))
    (_, dali), (_, reference) = (run(pipeline, (record, members), name) for name in EXECUTORS)
    assert dali.shape == reference.shape
    assert (dali - reference).abs().max() <= 1


def test_a_sample_with_fewer_steps_than_the_stack_repeats_the_last_one():
    _, views = run(flow_pipeline(flow_length=5, sampling=SegmentSampling(num_segments=1)), frames_sample(3, num_flow=2),
                   "reference")  # fmt: skip
    assert views[0, 0, ::2, 0].mean(dim=(1, 2)).round().tolist() == [0, 10, 10, 10, 10]


def test_flow_of_a_sample_without_flow_is_refused():
    with pytest.raises(DataError, match=r"sample 000003 \(walk/clip 3\): has no flow pictures"):
        run(flow_pipeline(), frames_sample(5), "reference")


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_missing_or_damaged_picture_is_named(name):
    pipeline = ClipPipeline(sampling=SegmentSampling(num_segments=12), size=32)
    record, members = frames_sample(12)
    with pytest.raises(DecodeError, match=r"sample 000003 \(walk/clip 3\), rgb\.00007\.jpg: does not decode"):
        run(pipeline, (record, members | {"rgb.00007.jpg": b"\xff\xd8\xff"}), name)
    del members["rgb.00007.jpg"]
    with pytest.raises(DecodeError, match=r"has no member rgb\.00007\.jpg"):
        run(pipeline, (record, members), name)


def test_bytes_in_place_of_members_are_refused():
    record, _ = frames_sample(3)
    plan = make_plan(record, ClipPipeline(), sample_rng(0, 0, 0))
    with pytest.raises(ValueError, match="needs its members"):
        make_executor(RGB, name="reference").run([WorkItem(record, plan, b"")])


@pytest.mark.parametrize("name", EXECUTORS)
def test_several_plans_of_a_sample_give_the_rows_that_they_give_alone(name):
    pipeline = ClipPipeline(
        sampling=SegmentSampling(num_segments=3, random=True), size=32, short_side=40, flip=0.5, normalize=RGB,
        crop={"kind": "random"}, repeats=3, rand_augment={"num_ops": 3, "probability": 0.7},
    )  # fmt: skip
    record, members = frames_sample(12)
    plans = make_plans(record, pipeline, seed=1, epoch=2, index=3)
    assert plans[0].to_dict() == make_plan(record, pipeline, sample_rng(1, 2, 3)).to_dict()
    assert len({str(plan.to_dict()) for plan in plans}) == 3
    executor = make_executor(RGB, name=name)
    together = executor.run([WorkItem(record, plans[0], members, plans[1:])] * 2)
    alone = torch.cat([executor.run([WorkItem(record, plan, members)]) for plan in plans])
    assert torch.equal(together, torch.cat([alone, alone]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": "flow", "color_jitter": {"hue": 10}}, "color_jitter: not for modality = 'flow'"),
        ({"modality": "flow", "grayscale": 0.2, "blur": {}}, "grayscale, blur: not for"),
        ({"flow_length": 5}, "flow_length = 5 is for modality = 'flow'"),
        ({"modality": "flow", "normalize": {}}, "flow needs 2 values, not 3"),
        ({"normalize": {"mean": [1.0, 2.0], "std": [1.0, 1.0]}}, "rgb needs 3 values, not 2"),
        ({"normalize": {"mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0]}}, "mean has 3 values, std 2"),
        ({"normalize": {"mean": [1.0, 2.0, 3.0], "std": [1.0, 0.0, 1.0]}}, "std must be positive"),
        ({"short_side": [320, 256]}, r"0 < low <= high, not \[320, 256\]"),
        ({"short_side": 0}, "must be positive"),
        ({"rand_augment": {}, "aug_mix": {}}, "rand_augment or aug_mix, not both"),
        ({"mixing": {}}, "give mixup, cutmix or both"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClipPipeline(**options)
