"""Videos with skeletons through the loader: frames and heatmaps show the same place, and train RGBPose-Conv3D."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vidflow.config.heatmap import Heatmap
from vidflow.config.pipeline import CenterCrop, ClipPipeline, Normalize, RandomResizedCrop
from vidflow.config.rgb_pose import RGBPosePipeline
from vidflow.config.sampling import BinSampling, ClipSampling, SegmentSampling
from vidflow.config.skeleton import CompactCrop, SkeletonPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, DecodeError
from vidflow.models import build_model
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.rgb_pose_inputs import RGBPoseMaker, clip_plan
from vidflow.schema import SampleRecord, SkeletonInfo
from vidflow.shards.pose.archive import SkeletonArchive, write_archive

FRAMES, HEIGHT, WIDTH = 8, 120, 160
GREY = Normalize(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))


def spot(number: int, frame: int) -> tuple[int, int]:
    """Where the white square of a video lies in a frame."""
    return 40 + 9 * frame, 30 + 5 * frame + 10 * (number % 3)


def write_video(path: Path, number: int) -> None:
    """A white square of 9 x 9 pixels that wanders over black."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "4", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, 25)
        for frame in range(FRAMES):
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            x, y = spot(number, frame)
            pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> tuple[Path, Path]:
    """8 training and 3 test videos in 2 classes; keypoint 9 lies on the square, the others around it."""
    videos, skeletons = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("skeletons")
    offsets = np.random.default_rng(0).uniform(-24, 24, (17, 2))
    offsets[9] = 0.5  # the middle of the middle pixel
    for number in range(11):
        name = f"{'train' if number < 8 else 'test'}/{'ab'[number % 2]}/{number:02d}"
        for root in (videos, skeletons):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(videos / f"{name}.mp4", number)
        centers = np.array([spot(number, frame) for frame in range(FRAMES)], np.float32)
        keypoints = (centers[None, :, None] + offsets).astype(np.float32)  # [1, T, 17, 2]
        scores = np.full((1, FRAMES, 17), 0.9, np.float32)
        write_archive(
            skeletons / f"{name}.npz",
            SkeletonArchive(keypoints, scores, np.arange(FRAMES) / 25.0, (WIDTH, HEIGHT), "coco"),
        )
    return videos, skeletons


@pytest.fixture(scope="module")
def root(sources, tmp_path_factory, shard_clips) -> str:
    out = tmp_path_factory.mktemp("rgb-pose") / "shards"
    return shard_clips(sources[0], out, "--skeletons", str(sources[1]), "--max-count", "4").storage.root


def pipeline(**changes) -> RGBPosePipeline:
    values = {
        "sampling": ClipSampling(length=4, interval=2),
        "pose_sampling": ClipSampling(length=FRAMES),
        "short_side": None,
        "size": (96, 96),
        "normalize": GREY,
        "heatmap": Heatmap(sigma=1.0),
    } | changes
    return RGBPosePipeline(**values)


def loader(root, pipeline, **changes):
    settings = {"split": "test", "batch_size": 3, "training": False, "num_threads": 1} | changes
    return build_loader(PackedDataset.open(root), pipeline, **settings)


def assert_same_place(batch, *, keypoint: int = 9, shown: float = 0.0) -> None:
    """Where the square is in the frames, keypoint 9 (or 10, mirrored) is in the heatmaps.

    Args:
        shown: grey level of what is not the picture.
    """
    clips, maps = batch.clips[:, 0, 0].double(), batch.inputs["heatmaps"][:, 0, keypoint].double()  # [B, T, H, W]
    places = []
    for pictures, step in (((clips > 0.75) * clips, 1), (maps[:, ::2] ** 2, 4)):
        rows, columns = (torch.arange(side, dtype=torch.float64) for side in pictures.shape[-2:])
        total = pictures.sum(dim=(2, 3))
        assert (total > 0).all()
        x, y = (pictures.sum(dim=2) * columns).sum(-1) / total, (pictures.sum(dim=3) * rows).sum(-1) / total
        # A pixel's number is its left edge in frames; in heatmaps it is its centre.
        places.append(torch.stack([x, y], dim=-1) * step + (0.5 if step == 1 else 0))
    assert (places[0] - places[1]).abs().max() < 1.5
    assert shown == 0 or (clips[:, :, 0] - shown).abs().min() < 0.02


@pytest.mark.parametrize("executor", ["auto", "reference"])
@pytest.mark.parametrize(
    "changes",
    [
        {"compact": None},
        {"compact": CompactCrop(ratio=1.0)},
        {"compact": CompactCrop(ratio=1.0, leave_picture=False)},
        {"compact": None, "short_side": 112, "crop": CenterCrop()},
    ],
    ids=["picture", "box", "box inside", "centre"],
)
def test_frames_and_heatmaps_show_the_same_place(root, executor, changes):
    (batch,) = loader(root, pipeline(**changes), executor=executor)
    assert batch.clips.shape == (3, 1, 3, 4, 96, 96)
    assert batch.inputs["heatmaps"].shape == (3, 1, 17, 8, 24, 24)
    assert_same_place(batch)


def test_a_box_that_leaves_the_picture_shows_grey_there(root):
    far = CompactCrop(ratio=1.0, padding=1.5)
    (batch,) = loader(root, pipeline(compact=far))
    assert_same_place(batch, shown=128 / 255)


def test_mirrored_rows_swap_the_sides_in_both_inputs(root):
    plain, mirrored = (next(iter(loader(root, pipeline(flip=chance)))) for chance in (0.0, 1.0))
    assert_same_place(mirrored, keypoint=10)
    torch.testing.assert_close(mirrored.clips, plain.clips.flip(-1), rtol=0, atol=2 / 255)


def test_videos_that_were_made_smaller_keep_their_skeletons_in_place(sources, tmp_path, shard_clips):
    out = tmp_path / "small"
    shard_clips(sources[0], out, "--skeletons", str(sources[1]), "--profile", "train", "--short-side", "60")
    record, _ = PackedDataset.open(out).row(0)
    assert (record.video.width, record.skeleton.width) == (80, 160)
    (batch,) = loader(str(out), pipeline())
    assert_same_place(batch)


def test_training_steps_lower_the_loss_of_both_streams(root):
    torch.manual_seed(0)
    random = pipeline(
        sampling=BinSampling(length=2, random=True),
        pose_sampling=BinSampling(length=8, random=True),
        crop=RandomResizedCrop(area=(0.56, 1.0)),
        flip=0.5,
        size=32,
    )
    model = build_model("rgbposeconv3d-tiny", num_classes=2, dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    sums = []
    for epoch in range(3):
        run = loader(root, random, split="train", batch_size=4, training=True)
        run.set_epoch(epoch)
        for batch in run:
            losses = model.loss(batch)
            assert set(losses) == {"rgb_loss", "pose_loss"}
            loss = sum(losses.values())
            sums.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert len(sums) == 6
    assert np.mean(sums[-2:]) < np.mean(sums[:2])


def test_the_same_seed_gives_the_same_batches_after_a_resume(root):
    random = pipeline(sampling=BinSampling(length=2, random=True), flip=0.5, crop=RandomResizedCrop(area=(0.5, 1.0)))
    settings = {"split": "train", "batch_size": 3, "training": True}
    whole = list(loader(root, random, **settings | {"num_threads": 3}))
    first = loader(root, random, **settings)
    iterator = iter(first)
    next(iterator)
    state = first.state_dict()
    iterator.close()
    resumed = loader(root, random, **settings)
    resumed.load_state_dict(state)
    (left,) = resumed
    assert left.ids == whole[1].ids
    for name in ("clips", "heatmaps"):
        assert torch.equal(left.inputs[name], whole[1].inputs[name])


def test_clips_of_such_videos_need_no_skeletons(root):
    plain = ClipPipeline(sampling=SegmentSampling(num_segments=4), size=(32, 32), short_side=None)
    (batch,) = loader(root, plain)
    assert batch.clips.shape == (3, 1, 3, 4, 32, 32)


def test_a_skeleton_pipeline_reads_the_skeletons_alone(root):
    plain = SkeletonPipeline(sampling=ClipSampling(length=FRAMES), num_people=1, normalize=None)
    (batch,) = loader(root, plain)
    assert batch.inputs["skeletons"].shape == (3, 1, 1, FRAMES, 17, 3)
    number = int(Path(batch.ids[0]).stem)
    expected = torch.tensor([spot(number, frame) for frame in range(FRAMES)]) + 0.5
    torch.testing.assert_close(batch.inputs["skeletons"][0, 0, 0, :, 9, :2], expected)


@pytest.mark.parametrize("part", ["keypoint.npy", "mp4"])
def test_a_damaged_sample_is_skipped_and_counted_where_it_is_asked(root, tmp_path, part):
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in Path(root).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    dataset = PackedDataset.open(copy)
    record, location = dataset.row(int(dataset.select("test")[1]))
    data = bytearray((copy / location.shard).read_bytes())
    start = location.data_offset
    if part != "mp4":
        start = data.index(b"\x93NUMPY", location.offset)
        data[start : start + 6] = b"\0" * 6
    else:
        data[start : start + location.data_length] = b"\0" * location.data_length
    (copy / location.shard).write_bytes(data)
    with pytest.raises(DecodeError, match=rf"sample {record.key} \({record.id}\)"):
        list(loader(copy, pipeline(), checksums=False))
    (batch,) = loader(copy, pipeline(), checksums=False, on_bad_sample="skip")
    (whole,) = loader(root, pipeline())
    assert [sample.row for sample in batch.skipped] == [1]
    for name in ("clips", "heatmaps"):
        assert not batch.inputs[name][1].any()
        assert torch.equal(batch.inputs[name][[0, 2]], whole.inputs[name][[0, 2]])


def test_videos_without_skeletons_are_named(packed):
    with pytest.raises(DataError, match=r"of kind video without skeletons; .* packed with --skeletons"):
        next(iter(loader(packed.storage.root, pipeline(), split="val")))


def test_other_kinds_of_samples_are_refused(sources, tmp_path, shard_clips):
    shard_clips(sources[1], tmp_path / "s", "--kind", "skeleton")
    with pytest.raises(DataError, match="kind skeleton, an rgb_pose pipeline reads video and frames"):
        loader(tmp_path / "s", pipeline())


@pytest.mark.parametrize(
    ("info", "changes", "message"),
    [
        ({"num_coords": 3}, {}, "has three coordinates"),
        ({"layout": "custom", "num_keypoints": 5}, {"flip": 0.5}, "need to know its bones; give layout"),
        ({}, {"layout": "openpose"}, "has 17 keypoints, layout 'openpose' has 18"),
        ({"layout": "msr20", "num_keypoints": 20}, {"layout": "kinect20"}, "is packed with layout 'msr20'"),
        ({}, {"heatmap": Heatmap(kind="limbs", limbs=((0, 17),))}, "keypoint 17 does not exist"),
        ({}, {"sampling": BinSampling(length=4, num_clips=2)}, "sampling gives 2 clips and pose_sampling 1"),
    ],
)
def test_skeletons_that_do_not_fit_the_pipeline_are_named(root, info, changes, message):
    record, _ = PackedDataset.open(root).row(0)
    values = {**record.skeleton.model_dump(), **info}
    made = SampleRecord.model_validate({**record.model_dump(), "skeleton": SkeletonInfo.model_validate(values)})
    with pytest.raises(DataError, match=rf"sample {record.key} \({record.id}\): .*{message}"):
        RGBPoseMaker(pipeline(**changes), executor=None).item(made, b"", [np.random.default_rng(0)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (98, 96)}, r"size \[98, 96\] must be positive multiples of stride \(4\)"),
        ({"heatmap": Heatmap(twice=True)}, "heatmap.twice: is not for rgb_pose"),
        ({"mixing": {"mixup": 0.2}}, "mixing: is not for rgb_pose"),
        ({"sampling": ClipSampling(length=4, target_fps=8)}, "target_fps is not for rgb_pose"),
        ({"normalize": Normalize(mean=(0.0,), std=(1.0,))}, "rgb needs 3 values, not 1"),
        ({"layout": "cocoa"}, "did you mean 'coco'"),
        ({"layout": {"num_keypoints": 2, "edges": [[1, 0]]}, "flip": 0.5}, "flip: layout does not say which keypoints"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        pipeline(**changes)


def test_a_plan_of_a_box_inside_the_picture_has_no_warp():
    frames = np.zeros((2, 3), np.int64)
    inside = clip_plan(frames, np.array([1.0, 2.0, 30.0, 40.0]), (48, 64), (8, 8), mirror=True)
    outside = clip_plan(frames, np.array([-1.0, 2.0, 30.0, 40.0]), (48, 64), (8, 8), mirror=False)
    assert inside.effects.warp is None
    assert inside.boxes.tolist() == [[1, 2, 30, 40]] * 2
    assert inside.mirror.all()
    corners = outside.effects.warp @ np.array([[0, 0, 1], [64, 48, 1]]).T
    np.testing.assert_allclose(corners.T, [[-1, 2], [30, 40]])
