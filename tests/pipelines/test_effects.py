"""Effects of a plan: both executors alike, labels along with the pixels, and erasing."""

import json

import cv2
import numpy as np
import pytest
import torch
from pictures import frames_sample, scene

from vidflow.config.augmentation import AugMix, GaussianBlur, RandAugment, RandomErasing
from vidflow.config.pipeline import CenterCrop, ClipPipeline, FullFrame, Normalize, RandomResizedCrop, ThreeCrop
from vidflow.config.sampling import ClipSampling, SegmentSampling
from vidflow.pipelines.effects import Effects, change_frames, draw_effects
from vidflow.pipelines.erasing import Erasure, draw_erasures, erase
from vidflow.pipelines.executor import make_executor
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.pixel_ops import FILL
from vidflow.pipelines.plan import Plan, make_plan, sample_rng
from vidflow.pipelines.reference import blurred, resample, resample_warped, view_matrix
from vidflow.pipelines.work import WorkItem

RAW = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SEGMENTS = SegmentSampling(num_segments=2, random=True)
PIPELINES = {
    "rand augment": ClipPipeline(
        sampling=SEGMENTS, crop=RandomResizedCrop(), size=(40, 48), flip=0.5, normalize=RAW,
        rand_augment=RandAugment(num_ops=4, magnitude=7),
    ),
    "timm, three crops": ClipPipeline(
        sampling=ClipSampling(length=2, num_clips=2), crop=ThreeCrop(), size=(48, 48), normalize=RAW,
        rand_augment=RandAugment(num_ops=3, ranges="timm", probability=1),
    ),
    "aug mix": ClipPipeline(sampling=SEGMENTS, crop=RandomResizedCrop(), size=40, normalize=RAW, aug_mix=AugMix()),
    "blur": ClipPipeline(sampling=SEGMENTS, size=40, short_side=48, flip=0.5, normalize=RAW, blur=GaussianBlur()),
    "all": ClipPipeline(
        sampling=SEGMENTS, short_side=(48, 64), crop={"kind": "random"}, size=40, flip=0.5, normalize=RAW,
        grayscale=0.3, color_jitter={"brightness": 0.3, "contrast": 0.3, "order": "random", "probability": 0.5},
        blur=GaussianBlur(probability=0.5), rand_augment=RandAugment(), erasing=RandomErasing(probability=0.7),
    ),
}  # fmt: skip


def items(pipeline, count=12):
    record, members = frames_sample(8, height=64, width=80)
    return [WorkItem(record, make_plan(record, pipeline, sample_rng(5, 0, i)), members) for i in range(count)]


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
def test_both_executors_show_the_same_views(pipeline):
    work = items(pipeline)
    dali, reference = (make_executor(RAW, name=name).run(work) for name in ("dali", "reference"))
    assert dali.shape == reference.shape
    difference = (dali - reference).abs()
    # A level of the resampling may become two by colours; matrices are float32 in DALI, so edges may move a little.
    assert (difference > 2).float().mean() < 2e-3
    assert difference.max() <= 8


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
def test_a_plan_with_effects_survives_json(pipeline):
    for item in items(pipeline):
        again = Plan.from_dict(json.loads(json.dumps(item.plan.to_dict())))
        assert again.to_dict() == item.plan.to_dict()
        assert item.plan.describe() == again.describe()


def test_a_kind_of_effect_does_not_change_the_draws_of_another():
    everything = PIPELINES["all"]
    for index in range(10):
        record, _ = frames_sample(8)
        whole = make_plan(record, everything, sample_rng(0, 0, index)).to_dict()
        for name, places in (("blur", ["blur_sigma"]), ("rand_augment", ["ops", "warp"]), ("erasing", ["erasures"])):
            part = make_plan(record, everything.model_copy(update={name: None}), sample_rng(0, 0, index)).to_dict()
            for place in places:
                part["effects"][place] = whole["effects"][place]
            assert part == whole


def test_the_short_side_is_drawn_from_its_whole_range():
    pipeline = ClipPipeline(short_side=(50, 53), crop=CenterCrop(), size=40, sampling=SEGMENTS)
    record, _ = frames_sample(8, height=50, width=50)
    widths = {round(float(np.diff(make_plan(record, pipeline, sample_rng(0, 0, i)).boxes[0, ::2])[0]), 2)
              for i in range(100)}  # fmt: skip
    assert widths == {round(40 * 50 / side, 2) for side in (50, 51, 52, 53)}


def warped_plan(ops, box=(10, 5, 70, 45), size=(40, 60), mirror=False) -> Plan:
    from vidflow.pipelines.pixel_ops import geometric_matrix

    return Plan(
        frames=np.array([0]),
        num_clips=1,
        view_clips=np.array([0]),
        boxes=np.array([box], np.float32),
        mirror=np.array([mirror]),
        size=size,
        effects=Effects(ops=ops, warp=geometric_matrix(ops, 60, 80)),
    )


def test_a_warp_that_moves_nothing_is_the_plain_resampling():
    frame = scene(60, 80, 1)[None]
    plan = warped_plan((("rotate", 0.0),))
    warped, plain = resample_warped(frame, view_matrix(plan, 0), plan.size), resample(frame, plan.boxes[0], plan.size)
    np.testing.assert_allclose(warped, plain, atol=1e-3)


@pytest.mark.parametrize("mirror", [False, True])
def test_points_and_boxes_move_with_the_warped_pixels(mirror):
    frame = np.zeros((1, 60, 80, 3), np.uint8)
    frame[0, 28:33, 30:37] = 255  # its middle is at (33.5, 30.5)
    plan = warped_plan((("rotate", 25.0), ("shear_x", 0.2), ("translate_y", 0.1)), mirror=mirror)
    pixels = resample_warped(frame, view_matrix(plan, 0), plan.size)[0, ..., 0]
    pixels = pixels[:, ::-1] if mirror else pixels
    bright = (pixels > 200).nonzero()
    middle = [bright[1].mean() + 0.5, bright[0].mean() + 0.5]
    np.testing.assert_allclose(plan.move_points(np.array([33.5, 30.5]), 0), middle, atol=0.6)
    x1, y1, x2, y2 = plan.move_boxes(np.array([[30, 28, 37, 33]]), 0)[0]
    assert x1 <= bright[1].min() + 0.5
    assert x2 >= bright[1].max() + 0.5
    assert y1 <= bright[0].min() + 0.5
    assert y2 >= bright[0].max() + 0.5
    assert (x2 - x1) < 16


def test_what_lies_outside_a_warped_frame_is_grey():
    frame = np.zeros((1, 60, 80, 3), np.uint8)
    plan = warped_plan((("translate_x", 0.45),), box=(0, 0, 80, 60), size=(60, 80))
    pixels = resample_warped(frame, view_matrix(plan, 0), plan.size)
    assert (pixels[:, :, :36] == FILL).all()
    assert (pixels[:, :, 37:] == 0).all()


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.4])
def test_the_blur_is_opencvs(sigma):
    frame = np.random.default_rng(0).integers(0, 256, (2, 23, 31, 3)).astype(np.float32)
    width = 2 * int(np.ceil(3 * sigma)) + 1
    expected = np.stack([cv2.GaussianBlur(f, (width, width), sigma) for f in frame])
    np.testing.assert_allclose(blurred(frame, sigma), expected, atol=2e-3)


def test_a_blur_that_is_wider_than_the_picture_still_has_its_size():
    assert blurred(np.ones((1, 2, 1, 3), np.float32), 3.0).shape == (1, 2, 1, 3)
    np.testing.assert_allclose(blurred(np.ones((1, 2, 1, 3), np.float32), 3.0), 1, atol=1e-5)


def test_aug_mix_is_the_weighted_mean_of_its_chains():
    before = np.stack([scene(40, 50, i) for i in range(2)])
    effects = Effects(mix_weights=(0.5, 0.25, 0.25), mix_chains=((("invert", 0.0),), (("brightness", 0.0),)))
    expected = 0.5 * before + 0.25 * (255.0 - before)
    np.testing.assert_allclose(change_frames(before, effects), expected, atol=0.51)
    assert np.array_equal(change_frames(before, Effects()), before)


def test_only_what_changes_decoded_frames_needs_the_host():
    assert not Effects(ops=(("rotate", 3.0),), blur_sigma=1.0, erasures=(Erasure((0, 0, 1, 1)),)).on_host
    assert Effects(ops=(("rotate", 3.0), ("invert", 0.0))).on_host
    assert Effects(mix_weights=(0.5, 0.5), mix_chains=((("rotate", 3.0),),)).on_host


def test_no_effect_is_drawn_where_none_is_asked_for():
    drawn = draw_effects(ClipPipeline(crop=FullFrame()), 10, 10, np.random.SeedSequence(0))
    assert drawn.to_dict() == Effects().to_dict()


# -- erasing -----------------------------------------------------------------------------------------------------------


def test_erased_boxes_have_their_area_and_lie_inside():
    rng = np.random.default_rng(0)
    erasing = RandomErasing(probability=1, area=(0.02, 0.3), aspect=(0.5, 2))
    areas = []
    for _ in range(500):
        for erasure in draw_erasures(erasing, (60, 80), rng):
            x1, y1, x2, y2 = erasure.box
            assert 0 <= x1 < x2 <= 80
            assert 0 <= y1 < y2 <= 60
            assert 0.4 < (y2 - y1) / (x2 - x1) < 2.5
            areas.append((x2 - x1) * (y2 - y1) / 4800)
    assert len(areas) == 500
    assert min(areas) < 0.03
    assert 0.28 < max(areas) < 0.32


def test_erasing_has_its_probability_and_its_count():
    rng = np.random.default_rng(0)
    counts = [len(draw_erasures(RandomErasing(max_count=3), (60, 80), rng)) for _ in range(2000)]
    assert abs(sum(map(bool, counts)) - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)
    assert set(counts) == {0, 1, 2, 3}


def test_paint_is_the_mean_one_colour_or_noise_in_all_frames_and_views():
    normalize = Normalize()
    views = torch.full((3, 2, 3, 2, 10, 12), 9.0)
    constant = Erasure((2, 1, 5, 4))
    color = Erasure((0, 0, 12, 1), (255.0, 0.0, 51.0))
    noise = Erasure((3, 3, 9, 9), noise=7)
    erase(views, [(constant,), (color,), (noise,)], normalize)
    assert (views[0, ..., 1:4, 2:5] == 0).all()
    assert (views[0] == 9).sum() == 2 * 3 * 2 * (120 - 9)
    expected = (np.array([255, 0, 51]) - normalize.mean) / normalize.std
    np.testing.assert_allclose(views[1, :, :, :, 0].numpy()[0, :, 1, 5], expected, rtol=1e-5)
    patch = views[2, ..., 3:9, 3:9]
    assert (patch == patch[:1, :, :1]).all()  # the same in all views and frames
    assert patch[0, :, 0].flatten().unique().numel() > 90
    again = torch.full((1, 2, 3, 2, 10, 12), 0.0)
    erase(again, [(noise,)], normalize)
    assert torch.equal(again[0, ..., 3:9, 3:9], patch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomErasing(area=(0.5, 0.2)), r"0 < low <= high <= 1, not \[0\.5, 0\.2\]"),
        (lambda: RandomErasing(area=(0.5, 1.2)), "high <= 1"),
        (lambda: RandomErasing(mode="white"), "'const', 'rand' or 'pixel'"),
        (lambda: GaussianBlur(sigma=(0.0, 1.0)), "0 < low"),
        (lambda: RandomErasing(aspect=(0.0, 1.0)), "0 < low"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- through the loader ------------------------------------------------------------------------------------------------

EVERYTHING = PIPELINES["all"].model_copy(update={"repeats": 2, "size": (40, 48)})


def batches(packed, **options):
    values = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2, "seed": 3}
    return build_loader(packed, EVERYTHING, **(values | options))


def test_videos_show_the_same_views_through_both_executors_and_any_number_of_threads(packed):
    dali, threads, reference = (
        list(batches(packed, executor=name, num_threads=count))
        for name, count in (("dali", 2), ("dali", 1), ("reference", 2))
    )
    assert len(dali) == 4
    for ours, same, oracle in zip(dali, threads, reference, strict=True):
        assert ours.ids == same.ids == oracle.ids
        assert torch.equal(ours.clips, same.clips)
        difference = (ours.clips - oracle.clips).abs()
        assert (difference > 2).float().mean() < 2e-3
        assert difference.max() <= 8


def test_a_resumed_epoch_with_repeats_and_effects_goes_on_with_the_same_views(packed):
    whole = list(batches(packed))
    first = batches(packed)
    running = iter(first)
    for _ in range(2):
        next(running)
    state = first.state_dict()
    running.close()
    resumed = batches(packed, num_threads=1)
    resumed.load_state_dict(state)
    for expected, batch in zip(whole[2:], list(resumed), strict=True):
        assert batch.ids == expected.ids
        assert torch.equal(batch.clips, expected.clips)
