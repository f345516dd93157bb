"""Packed frame folders and flow through the loader: right pictures, both executors, repeats, and refusals."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vidflow.config.augmentation import RandomErasing
from vidflow.config.pipeline import ClipPipeline, FullFrame, Normalize, RandomResizedCrop
from vidflow.config.sampling import ClipSampling, SegmentSampling, UntrimmedSampling
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, DecodeError
from vidflow.pipelines.loader import build_loader

HEIGHT, WIDTH = 48, 64
RGB = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
FLOW = Normalize(mean=(0.0, 0.0), std=(1.0, 1.0))


def grey(sample: int, number: int) -> int:
    """Brightness of a picture, which tells the sample and the picture."""
    return 20 + 40 * sample + 3 * number


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> PackedDataset:
    """Four training and two validation samples of 6 to 11 frames with flow, packed with the command."""
    root = tmp_path_factory.mktemp("pictures")
    for split, samples in (("train", range(4)), ("val", range(4, 6))):
        for sample in samples:
            folder = root / "source" / split / f"class{sample % 2}" / f"clip{sample}"
            folder.mkdir(parents=True)
            for number in range(6 + sample):
                _write(folder / f"img_{number:05d}.jpg", grey(sample, number))
            for step in range(5 + sample):
                _write(folder / f"x_{step:05d}.jpg", grey(sample, step))
                _write(folder / f"y_{step:05d}.jpg", 200)
    command = [sys.executable, "-m", "vidflow", "shard", "--src", str(root / "source"), "--out", str(root / "out")]
    done = subprocess.run(
        [*command, "--kind", "frames", "--quiet"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return PackedDataset.open(root / "out")


def _write(path: Path, value: int) -> None:
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH), value, np.uint8))


def clip_number(name: str) -> int:
    return int(name.rpartition("clip")[2])


def loader(dataset, pipeline, **options):
    values = {"split": "train", "batch_size": 2, "training": True, "num_threads": 2}
    return build_loader(dataset, pipeline, **(values | options))


@pytest.mark.parametrize("executor", ["dali", "reference"])
def test_the_planned_pictures_come_out(pictures, executor):
    pipeline = ClipPipeline(
        sampling=ClipSampling(length=4, interval=2), short_side=None, crop=FullFrame(), size=(HEIGHT, WIDTH),
        normalize=RGB,
    )  # fmt: skip
    count = 0
    for batch in loader(pictures, pipeline, split="val", training=False, executor=executor):
        for name, clip in zip(batch.ids, batch.clips[:, 0], strict=True):
            sample = clip_number(name)
            first = (6 + sample - 7) // 2
            levels = clip.mean(dim=(0, 2, 3)).tolist()  # [C, T, H, W] -> [T]
            assert levels == pytest.approx([grey(sample, first + 2 * t) for t in range(4)], abs=1)
            count += 1
    assert count == 2


@pytest.mark.parametrize("executor", ["dali", "reference"])
def test_flow_trains_with_its_channels(pictures, executor):
    pipeline = ClipPipeline(
        modality="flow", flow_length=3, sampling=SegmentSampling(num_segments=2, random=True), normalize=FLOW,
        crop=RandomResizedCrop(), short_side=40, size=32, flip=0.5,
    )  # fmt: skip
    batches = list(loader(pictures, pipeline, executor=executor))
    assert [list(batch.clips.shape) for batch in batches] == [[2, 1, 6, 2, 32, 32]] * 2
    mirrored = 0
    for batch in batches:
        assert (batch.clips[:, :, 1::2] - 200).abs().max() <= 1
        for name, views in zip(batch.ids, batch.clips[:, 0, ::2, :, 0, 0], strict=True):
            steps = views.diff(dim=0).round()  # from step to step 3 levels up, or down where motion is mirrored
            assert steps.unique().tolist() in ([3], [-3])
            mirrored += int(steps.unique() == -3)
            level = (255 - views if steps[0, 0] < 0 else views)[0]
            sample = clip_number(name)
            assert all((value - grey(sample, 0)) % 3 in (0, 1, 2) for value in level.round().tolist())
            assert (level >= grey(sample, 0) - 1).all()
            assert (level <= grey(sample, 3 + sample) + 1).all()


def test_repeats_are_neighbouring_rows_with_plans_of_their_own(pictures):
    pipeline = ClipPipeline(
        sampling=SegmentSampling(num_segments=2, random=True), crop=RandomResizedCrop(), short_side=40, size=32,
        flip=0.5, normalize=RGB, repeats=3, erasing=RandomErasing(probability=1),
    )  # fmt: skip
    once = {
        name: clip
        for batch in loader(pictures, pipeline.model_copy(update={"repeats": 1}))
        for name, clip in zip(batch.ids, batch.clips, strict=True)
    }
    seen = []
    for batch in loader(pictures, pipeline):
        assert batch.clips.shape[0] == len(batch) == len(batch.labels) == len(batch.indices) == 6
        assert batch.ids == [name for name in batch.ids[::3] for _ in range(3)]
        for row in (0, 3):
            assert torch.equal(
                batch.clips[row], once[batch.ids[row]]
            )  # the first plan is that of a run without repeats
            assert not torch.equal(batch.clips[row], batch.clips[row + 1])
        seen += batch.ids[::3]
    assert len(set(seen)) == 4
    evaluated = list(loader(pictures, pipeline, training=False))
    assert [len(batch) for batch in evaluated] == [2, 2]  # evaluation shows each sample once


def test_the_filling_of_short_clips_is_told(pictures):
    pipeline = ClipPipeline(sampling=ClipSampling(length=9, num_clips=2), crop=FullFrame(), size=16)
    for batch in loader(pictures, pipeline, training=False):
        for name, padding in zip(batch.ids, batch.inputs["frame_padding"], strict=True):
            present = 6 + clip_number(name)
            assert padding.tolist() == [[t >= present for t in range(9)]] * 2


def test_flow_is_not_read_from_videos(packed):
    with pytest.raises(DataError, match="holds samples of kind video, a clip pipeline of flow reads frames; select"):
        loader(packed, ClipPipeline(modality="flow"))


def test_untrimmed_samples_come_one_by_one(pictures):
    pipeline = ClipPipeline(sampling=UntrimmedSampling(length=2, clip_interval=4), crop=FullFrame(), size=16)
    with pytest.raises(DataError, match=r"which 2 samples of a batch cannot share; set data\.batch_size_eval = 1"):
        loader(pictures, pipeline, training=False)
    views = {name: len(batch.clips[0]) for batch in loader(pictures, pipeline, training=False, batch_size=1)
             for name in batch.ids}  # fmt: skip
    assert {clip_number(name): count for name, count in views.items()} == {0: 1, 1: 2, 2: 2, 3: 2}


def test_a_damaged_picture_ends_the_pass_by_name(pictures, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(pictures.storage.root, root)
    shard = next(root.glob("train-*.tar"))
    data = bytearray(shard.read_bytes())
    place = data.index(b"\xff\xd8\xff")
    data[place : place + 64] = bytes(64)  # the start of the first picture
    shard.write_bytes(data)
    pipeline = ClipPipeline(sampling=ClipSampling(length=6), crop=FullFrame(), size=16)
    with pytest.raises(DecodeError, match=r"rgb\.00001\.jpg: does not decode"):
        list(loader(PackedDataset.open(root), pipeline, training=False))
