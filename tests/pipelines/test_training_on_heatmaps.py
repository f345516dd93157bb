"""From packed skeletons through the loader into PoseC3D: two classes that differ in which arm moves."""

import numpy as np
import pytest
import torch

from vidflow.config.heatmap import Heatmap
from vidflow.config.pipeline import FullFrame, RandomResizedCrop
from vidflow.config.sampling import BinSampling
from vidflow.config.skeleton import CompactCrop, SkeletonPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.models import build_model
from vidflow.pipelines.loader import build_loader
from vidflow.skeletons.layouts import LAYOUTS

LEFT_WRIST, RIGHT_WRIST = 9, 10


@pytest.fixture(scope="module")
def waving(tmp_path_factory, shard_clips):
    """12 people of 20 frames that stand still but for one wrist, the left one in class a, the right one in class b."""
    source, rng = tmp_path_factory.mktemp("waving"), np.random.default_rng(0)
    body = rng.uniform([60, 40], [260, 200], (17, 2))
    for number in range(12):
        keypoints = np.tile(body + rng.normal(size=2) * 5, (1, 20, 1, 1)).astype(np.float32)
        wrist = (LEFT_WRIST, RIGHT_WRIST)[number % 2]
        keypoints[0, :, wrist] += np.linspace(-40, 40, 20)[:, None]
        path = source / "train" / "ab"[number % 2] / f"{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, keypoint=keypoints, size=np.array([320, 240]))
    return shard_clips(source, tmp_path_factory.mktemp("packed-waving") / "shards", "--kind", "skeleton").storage.root


def pipeline(**heatmap):
    return SkeletonPipeline(
        sampling=BinSampling(length=4, random=True),
        compact=CompactCrop(ratio=1.0),
        short_side=24,
        crop=RandomResizedCrop(area=(0.56, 1.0)),
        size=(20, 20),
        heatmap=Heatmap(**heatmap),
    )


@pytest.mark.parametrize("kind", ["keypoints", "limbs"])
def test_training_steps_on_loaded_heatmaps_lower_the_loss(waving, kind):
    torch.manual_seed(0)
    loader = build_loader(
        PackedDataset.open(waving), pipeline(kind=kind), split="train", batch_size=6, training=True, num_threads=1
    )
    model = build_model("posec3d-tiny", num_classes=2, dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(3):
        for batch in loader:
            assert batch.clips.shape == (6, 1, 17, 4, 20, 20)
            loss = sum(model.loss(batch).values())
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert len(losses) == 6
    assert np.mean(losses[-2:]) < np.mean(losses[:2])


def test_limbs_come_in_the_order_that_is_asked_for(waving):
    limbs = ((5, 7), (7, 9), (6, 8), (8, 10))
    chosen = {"kind": "limbs", "limbs": limbs, "twice": True}
    options = {"split": "train", "batch_size": 4, "training": False, "num_threads": 1}
    dataset = PackedDataset.open(waving)
    (own, *_), (usual, *_) = (
        list(build_loader(dataset, pipeline(**heatmap), **options)) for heatmap in (chosen, {"kind": "limbs"})
    )
    places = [LAYOUTS["coco"].limbs.index(limb) for limb in limbs]
    assert own.clips.shape == (4, 2, 4, 4, 20, 20)
    assert torch.equal(own.clips[:, :1], usual.clips[:, :, places])
    # In the mirror a left limb is where the right one was.
    assert torch.equal(own.clips[:, 1], own.clips[:, 0][:, [2, 3, 0, 1]].flip(-1))


@pytest.mark.parametrize("kind", ["keypoints", "limbs"])
def test_a_batch_of_mirrored_people_is_drawn(waving, kind):
    """Keypoints that have changed sides lie in memory in another order."""
    plain, mirrored = (
        next(iter(build_loader(
            PackedDataset.open(waving),
            SkeletonPipeline(
                sampling=BinSampling(length=4), short_side=24, crop=FullFrame(), size=(20, 20), num_people=1, flip=flip,
                heatmap=Heatmap(kind=kind),
            ),
            split="train", batch_size=1, training=True, num_threads=1, seed=4,
        )))
        for flip in (0.0, 1.0)
    )  # fmt: skip
    layout = LAYOUTS["coco"]
    order = list(layout.mirrored if kind == "keypoints" else layout.mirrored_limbs)
    centres = [
        (batch.clips.sum(-2) * torch.arange(20)).sum(-1) / batch.clips.sum((-2, -1)) for batch in (plain, mirrored)
    ]  # [B, V, C, T]
    assert plain.ids == mirrored.ids
    torch.testing.assert_close(centres[1], 20 - centres[0][:, :, order], atol=1, rtol=0)


@pytest.mark.parametrize(
    ("limbs", "message"),
    [
        (((5, 7), (7, 17)), "heatmap.limbs: limbs: keypoint 17 does not exist"),
        (((5, 7), (7, 9), (6, 8)), r"heatmap.limbs: \[7, 9\] is \[8, 10\] in the mirror"),
    ],
)
def test_limbs_that_the_skeleton_does_not_have_are_refused(waving, limbs, message):
    loader = build_loader(
        PackedDataset.open(waving),
        pipeline(kind="limbs", limbs=limbs, twice=True),
        split="train",
        batch_size=4,
        training=False,
        num_threads=1,
    )
    with pytest.raises(DataError, match=message):
        next(iter(loader))


def test_limbs_of_a_pipeline_of_keypoints_are_refused():
    with pytest.raises(ValueError, match="kind = 'keypoints' draws none"):
        Heatmap(limbs=((0, 1),))
