"""Plans on real clips, from the folder that VIDFLOW_MEDIA names: frames by time, and both executors alike."""

import os
from pathlib import Path

import numpy as np
import pytest

from vidflow.config.augmentation import AugMix, ColorJitter, GaussianBlur, RandAugment, RandomErasing
from vidflow.config.pipeline import ClipPipeline, Normalize, RandomResizedCrop
from vidflow.config.sampling import ClipSampling, SegmentSampling
from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.pipelines.executor import make_executor
from vidflow.pipelines.frame_choice import choose_frames
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.work import WorkItem
from vidflow.schema import SampleRecord

MEDIA = os.environ.get("VIDFLOW_MEDIA")
pytestmark = pytest.mark.skipif(MEDIA is None, reason="VIDFLOW_MEDIA names no folder of real clips")


@pytest.fixture(scope="module")
def records() -> list[tuple[SampleRecord, Path]]:
    """Up to a dozen clips that decode, of one second or more."""
    found = []
    for path in sorted(Path(MEDIA or "").rglob("*.mp4")):
        if path.stat().st_size > 8 << 20:
            continue
        try:
            video = probe_video(path)
        except DecodeError:
            continue
        if video.duration >= 1 and video.num_frames >= 10:
            found.append((SampleRecord(key=str(len(found)), id=path.name, split="test", video=video), path))
        if len(found) == 12:
            break
    assert len(found) >= 3, f"{MEDIA} has too few MP4 clips"
    return found


def test_frames_at_a_target_rate_lie_its_ticks_apart_to_the_length_of_a_frame(records):
    sampling = ClipSampling(length=8, interval=2, target_fps=12.5, out_of_bound="repeat_last")
    for record, _ in records:
        choice = choose_frames(record, ClipPipeline(sampling=sampling), np.random.default_rng(0))
        seconds = np.append(record.video.seconds, record.video.duration)
        shown = seconds[choice.frames[0][~choice.padding[0]]]
        wanted = 2 / 12.5 * np.arange(len(shown))
        assert abs(shown - shown[0] - wanted).max() <= np.diff(seconds).max() + 1e-3, record.id


@pytest.mark.parametrize(
    "effects",
    [
        {"rand_augment": RandAugment(num_ops=4, magnitude=7)},
        {"aug_mix": AugMix()},
        {
            "color_jitter": ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=20, order="random"),
            "blur": GaussianBlur(),
            "erasing": RandomErasing(probability=1, mode="pixel"),
        },
    ],
    ids=lambda effects: next(iter(effects)),
)
def test_both_executors_show_the_same_pixels(records, effects):
    normalize = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    pipeline = ClipPipeline(
        sampling=SegmentSampling(num_segments=2, random=True), crop=RandomResizedCrop(), size=96, short_side=128,
        flip=0.5, normalize=normalize, **effects,
    )  # fmt: skip
    items = [
        WorkItem(record, make_plan(record, pipeline, sample_rng(0, 0, index)), path)
        for index, (record, path) in enumerate(records)
    ]
    dali, reference = (make_executor(normalize, name=name).run(items) for name in ("dali", "reference"))
    difference = (dali - reference).abs()
    assert difference.max() <= 3
    assert (difference > 1).float().mean() < 5e-3
