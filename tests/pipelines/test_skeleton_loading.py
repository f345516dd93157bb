"""Packed skeletons through the loader: what graph and heatmap models get, and what happens to damaged samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skeleton_cases import array_of, assert_same, cases

from vidflow.config.heatmap import Heatmap
from vidflow.config.pipeline import FullFrame
from vidflow.config.sampling import BinSampling, ClipSampling
from vidflow.config.skeleton import BodyNormalize, CompactCrop, ScreenNormalize, SkeletonPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, DecodeError
from vidflow.members import KEYPOINT, to_npy
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.plan import sample_rng
from vidflow.pipelines.skeleton_inputs import SkeletonMaker
from vidflow.schema import SampleRecord, SkeletonInfo

RANDOM = SkeletonPipeline(
    sampling=BinSampling(length=6, random=True), normalize=ScreenNormalize(), features=("joint", "bone"), flip=0.5
)
EVEN = SkeletonPipeline(sampling=ClipSampling(length=8), scores=False)
"""Training and test without chance."""


def skeletons(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [M, T, 17, 2] and scores of a sample: 1 to 3 people, 5 to 11 frames; all numbers tell the sample."""
    people, frames = 1 + number % 3, 5 + number % 7
    rng = np.random.default_rng(number)
    keypoints = rng.uniform(10, 300, (people, frames, 17, 2)).astype(np.float32)
    keypoints[0, 0, 0] = number + 1
    return keypoints, rng.uniform(0.1, 1, (people, frames, 17)).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """14 training and 5 test samples in 3 classes, as .npz files in class folders."""
    root = tmp_path_factory.mktemp("skeletons")
    number = 0
    for split, count in (("train", 14), ("test", 5)):
        for i in range(count):
            path = root / split / f"class{i % 3}" / f"{number:02d}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            keypoints, scores = skeletons(number)
            np.savez(path, keypoint=keypoints, keypoint_score=scores, size=np.array([320, 240]))
            number += 1
    return root


@pytest.fixture(scope="module")
def skeleton_root(source, tmp_path_factory, shard_clips) -> Path:
    out = tmp_path_factory.mktemp("packed-skeletons") / "shards"
    shard_clips(source, out, "--kind", "skeleton", "--max-count", "5")
    return out


def loader(root, pipeline=RANDOM, **changes):
    settings = {"split": "train", "batch_size": 4, "training": True, "num_threads": 1} | changes
    return build_loader(PackedDataset.open(root), pipeline, **settings)


def test_batches_have_the_agreed_shapes_and_the_samples_labels(skeleton_root):
    batches = list(loader(skeleton_root, split="test", training=False))
    assert [tuple(batch.inputs["skeletons"].shape) for batch in batches] == [(4, 1, 2, 6, 17, 6), (1, 1, 2, 6, 17, 6)]
    assert all(set(batch.inputs) == {"skeletons"} for batch in batches)
    assert all(batch.inputs["skeletons"].dtype == torch.float32 for batch in batches)
    names = [Path(text).parts[-2] for batch in batches for text in batch.ids]
    labels = [int(label) for batch in batches for label in batch.labels]
    assert names == [f"class{label}" for label in labels]


def test_a_batch_holds_the_packed_keypoints(skeleton_root):
    for batch in loader(skeleton_root, EVEN, split="test", training=False):
        for text, views in zip(batch.ids, batch.inputs["skeletons"].numpy(), strict=True):
            keypoints, _ = skeletons(int(Path(text).stem))
            frames = np.arange(8) % keypoints.shape[1] if keypoints.shape[1] < 8 else np.arange(8)
            start = (keypoints.shape[1] - 8) // 2 if keypoints.shape[1] >= 8 else 0
            expected = keypoints[:, frames + start][:2]
            assert len(keypoints) > 2 or np.array_equal(views[0, : len(expected)], expected)
            assert (views[0, len(keypoints) :] == 0).all()


def test_the_same_seed_gives_the_same_batches_with_any_number_of_threads(skeleton_root):
    one, four = list(loader(skeleton_root)), list(loader(skeleton_root, num_threads=4))
    other = list(loader(skeleton_root, seed=1))
    for a, b in zip(one, four, strict=True):
        assert a.ids == b.ids
        assert torch.equal(a.inputs["skeletons"], b.inputs["skeletons"])
    assert [batch.ids for batch in one] != [batch.ids for batch in other]


def test_an_interrupted_epoch_goes_on_as_if_it_had_not_been(skeleton_root):
    whole = list(loader(skeleton_root))
    first = loader(skeleton_root)
    iterator = iter(first)
    next(iterator)
    state = first.state_dict()
    iterator.close()
    resumed = loader(skeleton_root)
    resumed.load_state_dict(state)
    for ours, expected in zip(list(resumed), whole[1:], strict=True):
        assert ours.ids == expected.ids
        assert torch.equal(ours.inputs["skeletons"], expected.inputs["skeletons"])


def test_ranks_share_the_samples(skeleton_root):
    ids = [
        {text for batch in loader(skeleton_root, batch_size=2, rank=rank, world_size=2) for text in batch.ids}
        for rank in range(2)
    ]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 12


def test_repeats_give_neighbouring_rows_of_one_sample_with_other_frames(skeleton_root):
    repeated = RANDOM.model_copy(update={"repeats": 2})
    batch = next(iter(loader(skeleton_root, repeated)))
    assert batch.ids[0::2] == batch.ids[1::2]
    rows = batch.inputs["skeletons"]
    assert rows.shape[0] == 8
    assert not torch.equal(rows[0::2], rows[1::2])


def test_mirrored_rows_change_listed_labels(skeleton_root):
    mirrored = RANDOM.model_copy(update={"flip": 1.0, "flip_labels": {0: 1, 1: 0}})
    for plain, swapped in zip(loader(skeleton_root), loader(skeleton_root, mirrored), strict=True):
        assert [{0: 1, 1: 0, 2: 2}[label] for label in plain.labels.tolist()] == swapped.labels.tolist()


HEATMAPS = SkeletonPipeline(
    sampling=BinSampling(length=4, num_clips=2),
    heatmap=Heatmap(kind="both"),
    compact=CompactCrop(ratio=1.0),
    short_side=None,
    crop=FullFrame(),
    size=(24, 20),
)


def test_heatmaps_are_clips_of_keypoints_and_limbs(skeleton_root):
    batch = next(iter(loader(skeleton_root, HEATMAPS, split="test", training=False)))
    assert set(batch.inputs) == {"clips"}
    assert batch.clips.shape == (4, 2, 34, 4, 24, 20)
    peaks = batch.clips[:, :, :17].amax(dim=(3, 4, 5))
    assert (peaks > 0.05).all()
    assert batch.clips.max() <= 1


def test_mirrored_views_of_a_test_follow_the_others(skeleton_root):
    twice = HEATMAPS.model_copy(update={"heatmap": Heatmap(twice=True)})
    batch = next(iter(loader(skeleton_root, twice, split="test", training=False)))
    assert batch.clips.shape == (4, 4, 17, 4, 24, 20)
    # The nose is nobody's other side.
    assert torch.equal(batch.clips[:, 2:, 0], batch.clips[:, :2, 0].flip(-1))
    assert torch.equal(batch.clips[:, 2:, 1], batch.clips[:, :2, 2].flip(-1))


@pytest.fixture
def damaged(skeleton_root, tmp_path) -> tuple[Path, str]:
    """A copy in which one training sample's keypoints are no array, and its id."""
    root = tmp_path / "damaged"
    root.mkdir()
    for path in skeleton_root.iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    dataset = PackedDataset.open(root)
    record, location = dataset.row(int(dataset.select("train")[3]))
    path = root / location.shard
    data = bytearray(path.read_bytes())
    data[location.data_offset : location.data_offset + 6] = b"\0" * 6
    path.write_bytes(data)
    return root, record.id


def test_a_damaged_sample_is_named(damaged):
    with pytest.raises(DecodeError, match=rf"{damaged[1]}.*keypoint\.npy: no readable \.npy array"):
        list(loader(damaged[0], checksums=False))


@pytest.mark.parametrize("pipeline", [RANDOM, HEATMAPS], ids=["graphs", "heatmaps"])
def test_a_damaged_sample_is_skipped_and_counted_where_it_is_asked(skeleton_root, damaged, pipeline):
    name = "skeletons" if pipeline is RANDOM else "clips"
    for ours, expected in zip(
        loader(damaged[0], pipeline, on_bad_sample="skip"), loader(skeleton_root, pipeline), strict=True
    ):
        bad = [sample.row for sample in ours.skipped]
        assert bad == [row for row, text in enumerate(ours.ids) if text == damaged[1]]
        assert (ours.inputs[name][bad] == 0).all()
        good = [row for row in range(len(ours)) if row not in bad]
        assert torch.equal(ours.inputs[name][good], expected.inputs[name][good])


def test_a_batch_of_nothing_but_damage_is_zeros(damaged):
    root, text = damaged
    (batch,) = loader(root, split="train", where=f"id == '{text}'", batch_size=1, on_bad_sample="skip")
    assert batch.skipped
    assert batch.inputs["skeletons"].shape == (1, 1, 2, 6, 17, 6)
    assert not batch.inputs["skeletons"].any()


def test_other_kinds_of_samples_are_refused(skeleton_root, packed):
    with pytest.raises(DataError, match="kind video, a skeleton pipeline reads skeleton"):
        loader(packed.storage.root)


def record(**changes) -> SampleRecord:
    info = {"layout": "coco", "num_people": 1, "num_frames": 4, "num_keypoints": 17, "num_coords": 2} | changes
    return SampleRecord(key="0", id="walk", split="train", kind="skeleton", labels=(0,), skeleton=SkeletonInfo(**info))


BODY = SkeletonPipeline(sampling=BinSampling(length=4), normalize=BodyNormalize())
KINECT = SkeletonPipeline(sampling=BinSampling(length=4), layout="kinect20", features=("bone",))


@pytest.mark.parametrize(
    ("pipeline", "changes", "message"),
    [
        (RANDOM, {"layout": "custom", "num_keypoints": 5}, "of which bone knows too little; give layout as a table"),
        (RANDOM.model_copy(update={"layout": "openpose"}), {}, "has 17 keypoints, layout 'openpose' has 18"),
        (
            KINECT,
            {"layout": "msr20", "num_keypoints": 20},
            "is packed with layout 'msr20', the pipeline's is 'kinect20'",
        ),
        (RANDOM, {"num_coords": 3}, "use 'body'"),
        (BODY, {}, "use 'screen'"),
        (HEATMAPS, {"num_coords": 3}, "heatmaps show two"),
        (BODY, {"num_coords": 3}, "center, spine, shoulders is not known of layout 'coco'"),
        (
            BODY.model_copy(update={"normalize": BodyNormalize(center=17, spine=(0, 1), shoulders=(6, 5))}),
            {"num_coords": 3},
            "normalize.center: keypoint 17 does not exist; there are 0 to 16",
        ),
    ],
)
def test_samples_that_do_not_fit_the_pipeline_are_named(pipeline, changes, message):
    maker, made = SkeletonMaker(pipeline), record(**changes)
    info = made.skeleton
    points = np.ones((info.num_people, info.num_frames, info.num_keypoints, info.num_coords), np.float32)
    with pytest.raises(DataError, match=rf"sample 0 \(walk\): .*{message}"):
        maker.prepare(maker.item(made, {KEYPOINT: to_npy(points)}, [sample_rng(0, 0, 0)]))


@pytest.mark.parametrize("case", cases("skeleton.json", "UniformSampleFrames + PoseDecode"), ids=lambda c: c["what"])
def test_sampled_keypoints_are_those_of_the_reference_where_people_come_and_go(case):
    values, expected = case["inputs"], case["outputs"]
    points = array_of(values["keypoint"], values["then"])
    sampling = BinSampling(length=values["clip_len"], num_clips=values["num_clips"], test_seed=values["seed"])
    maker = SkeletonMaker(SkeletonPipeline(sampling=sampling, scores=False))
    made = record(layout="custom", num_keypoints=3, num_people=2, num_frames=points.shape[1])
    item = maker.item(made, {KEYPOINT: to_npy(points)}, [sample_rng(0, 0, 0)])
    clips = maker.assemble([item], [maker.prepare(item)])["skeletons"][0].numpy()  # [V, M, T, K, C]
    assert_same(clips.swapaxes(0, 1).reshape(2, -1, 3, 2), expected["keypoint_digest"])


# There, frames may count from another number than 0.
PADDED = [case for case in cases("skeleton.json", "PadTo") if "start_index" not in case["inputs"]]


@pytest.mark.parametrize("case", PADDED, ids=lambda case: case["what"])
def test_short_samples_are_filled_up_as_in_the_reference(case):
    values = case["inputs"]
    points = array_of(values["keypoint"])
    pipeline = SkeletonPipeline(
        sampling=ClipSampling(length=values["length"]), fill=values["mode"], scores=False, num_people=1
    )
    maker = SkeletonMaker(pipeline)
    made = record(layout="custom", num_keypoints=2, num_frames=3)
    item = maker.item(made, {KEYPOINT: to_npy(points)}, [sample_rng(0, 0, 0)])
    assert_same(maker.prepare(item)[0][0], case["outputs"]["keypoint"])


@pytest.mark.parametrize("layout", ["kinect20", "custom"])
def test_a_layout_is_taken_from_samples_that_say_the_same_or_nothing(layout):
    maker, made = SkeletonMaker(KINECT), record(layout=layout, num_keypoints=20)
    item = maker.item(made, {KEYPOINT: to_npy(np.ones((1, 4, 20, 2), np.float32))}, [sample_rng(0, 0, 0)])
    assert maker.prepare(item)[0].shape == (1, 2, 4, 20, 3)


def test_a_layout_of_ones_own_makes_bones():
    own = RANDOM.model_copy(update={"layout": {"num_keypoints": 3, "edges": [[0, 1], [1, 2]]}, "flip": 0.0})
    made = record(layout="custom", num_keypoints=3, width=2, height=2)
    points = np.ones((1, 4, 3, 2), np.float32) * np.array([1, 2, 4], np.float32)[:, None]
    maker = SkeletonMaker(own)
    item = maker.item(made, {KEYPOINT: to_npy(points)}, [sample_rng(0, 0, 0)])
    values = maker.assemble([item], [maker.prepare(item)])["skeletons"]
    assert values[0, 0, 0, 0, :, 3].tolist() == [0, 1, 2]


def test_samples_of_two_layouts_cannot_share_a_batch():
    plain = SkeletonPipeline(sampling=BinSampling(length=4))
    maker, items, prepared = SkeletonMaker(plain), [], []
    for keypoints in (17, 5):
        made = record(num_keypoints=keypoints, layout="custom")
        data = {KEYPOINT: to_npy(np.ones((1, 4, keypoints, 2), np.float32))}
        items.append(maker.item(made, data, [sample_rng(0, 0, 0)]))
        prepared.append(maker.prepare(items[-1]))
    with pytest.raises(DataError, match="cannot share a batch"):
        maker.assemble(items, prepared)


def test_nobody_in_a_sample_gives_zeros_and_frames_that_fill_up_may_too():
    maker = SkeletonMaker(SkeletonPipeline(sampling=ClipSampling(length=6), fill="zero", scores=False, num_people=1))
    nobody = maker.item(record(), {KEYPOINT: to_npy(np.zeros((1, 4, 17, 2), np.float32))}, [sample_rng(0, 0, 0)])
    short = maker.item(record(), {KEYPOINT: to_npy(np.ones((1, 4, 17, 2), np.float32))}, [sample_rng(0, 0, 0)])
    values = maker.assemble([nobody, short], [maker.prepare(nobody), maker.prepare(short)])["skeletons"]
    assert (values[0] == 0).all()
    assert values[1, 0, 0, :, 0, 0].tolist() == [1, 1, 1, 1, 0, 0]


def test_numbers_that_are_none_do_not_reach_the_model():
    points = np.random.default_rng(0).uniform(1, 100, (1, 9, 25, 3)).astype(np.float32)
    points[0, 2, 3], points[0, 5] = np.nan, np.inf
    everything = SkeletonPipeline(
        sampling=BinSampling(length=6),
        normalize=BodyNormalize(),
        features=("joint", "bone", "joint_motion", "bone_motion"),
        rotate=(10, 10, 10),
        flip=1.0,
    )
    maker = SkeletonMaker(everything)
    made = record(layout="nturgb+d", num_keypoints=25, num_coords=3, num_frames=9)
    item = maker.item(made, {KEYPOINT: to_npy(points)}, [sample_rng(0, 0, 0)])
    values = maker.assemble([item], [maker.prepare(item)])["skeletons"]
    assert values.shape == (1, 1, 2, 6, 25, 12)
    assert values.isfinite().all()
    assert values.abs().max() > 1
