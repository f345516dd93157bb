"""A damaged sample ends a pass by its name, or leaves a row of zeros and changes nothing else."""

import shutil

import pytest
import torch
from damage import damage_sample

from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop, SegmentSampling
from vidflow.dataset import PackedDataset
from vidflow.errors import DecodeError
from vidflow.pipelines.loader import build_loader

PIPELINE = ClipPipeline(
    sampling=SegmentSampling(num_segments=3, random=True), crop=RandomResizedCrop(), size=(32, 40), flip=0.5
)


def loader(root, **options):
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2, "executor": "reference"} | options
    return build_loader(PackedDataset.open(root), PIPELINE, **options)


@pytest.fixture
def damaged(packed_root, tmp_path):
    """The clips with two damaged ones, and their positions."""
    root = shutil.copytree(packed_root, tmp_path / "shards")
    indices = [int(i) for i in PackedDataset.open(root).select("train")[[3, 11]]]
    for index in indices:
        damage_sample(root, index)
    return root, indices


@pytest.mark.parametrize("executor", ["reference", "dali"])
def test_other_rows_and_all_sizes_are_those_of_the_sound_data(damaged, packed_root, executor):
    root, bad = damaged
    ours = list(loader(root, on_bad_sample="skip", executor=executor))
    sound = list(loader(packed_root, executor=executor))
    assert len(ours) == len(sound)
    lost = []
    for batch, whole in zip(ours, sound, strict=True):
        assert batch.ids == whole.ids
        assert batch.clips.shape == whole.clips.shape
        assert torch.equal(batch.labels, whole.labels)
        assert torch.equal(batch.indices, whole.indices)
        kept = ~batch.missed
        assert torch.equal(batch.clips[kept], whole.clips[kept])
        assert not batch.clips[batch.missed].any()
        lost += batch.indices[batch.missed].tolist()
    seen = {int(i) for batch in sound for i in batch.indices}
    assert sorted(lost) == sorted(set(bad) & seen)


def test_a_skipped_sample_tells_its_key_id_and_reason(damaged):
    root, bad = damaged
    skipped = {s.key: s for batch in loader(root, batch_size=1, on_bad_sample="skip") for s in batch.skipped}
    records = [PackedDataset.open(root).record(index) for index in bad]
    assert sorted(skipped) == sorted(record.key for record in records)
    for record in records:
        sample = skipped[record.key]
        assert sample.id == record.id
        assert sample.reason.startswith(f"sample {record.key} ({record.id}): ")


def test_by_default_it_ends_the_pass_with_its_name(damaged):
    with pytest.raises(DecodeError, match=r"sample \d+ \(train/class"):
        list(loader(damaged[0]))


def test_a_batch_of_nothing_but_damage_has_the_shape_of_the_others(damaged):
    batches = list(loader(damaged[0], batch_size=1, on_bad_sample="skip"))
    assert {tuple(batch.clips.shape) for batch in batches} == {(1, 1, 3, 3, 32, 40)}
    empty = next(batch for batch in batches if batch.skipped).without_skipped()
    assert len(empty) == 1
    assert empty.padding.tolist() == [True]


def test_training_rows_without_the_skipped_ones_stay_together(damaged):
    batch = next(b for b in loader(damaged[0], on_bad_sample="skip") if b.skipped)
    kept = batch.without_skipped()
    rows = [row for row in range(4) if row not in {s.row for s in batch.skipped}]
    assert kept.ids == [batch.ids[row] for row in rows]
    assert torch.equal(kept.clips, batch.clips[rows])
    assert torch.equal(kept.labels, batch.labels[rows])
    assert not kept.skipped


@pytest.mark.parametrize("after", [1, 2, 3])
def test_resuming_around_damage_is_exact(damaged, after):
    root, _ = damaged
    whole = list(loader(root, on_bad_sample="skip"))
    broken = loader(root, on_bad_sample="skip")
    iterator = iter(broken)
    for _ in range(after):
        next(iterator)
    state = broken.state_dict()
    iterator.close()
    resumed = loader(root, on_bad_sample="skip")
    resumed.load_state_dict(state)
    for ours, expected in zip(list(resumed), whole[after:], strict=True):
        assert ours.ids == expected.ids
        assert ours.skipped == expected.skipped
        assert torch.equal(ours.clips, expected.clips)


def test_ranks_keep_equal_numbers_of_batches(damaged):
    ranks = [list(loader(damaged[0], batch_size=2, rank=r, world_size=3, on_bad_sample="skip")) for r in range(3)]
    assert len({len(batches) for batches in ranks}) == 1
    assert {len(batch) for batches in ranks for batch in batches} == {2}


def test_a_graph_that_refuses_a_batch_loses_only_the_sample_at_fault(packed_root, monkeypatch):
    one = loader(packed_root, on_bad_sample="skip")
    whole = list(loader(packed_root))
    original = one.executor.assemble
    culprit = whole[1].ids[2]

    def refusing(items, prepared):
        if any(item.record.id == culprit for item in items):
            raise DecodeError(f"the graph failed on {[item.record.id for item in items]}")
        return original(items, prepared)

    monkeypatch.setattr(one.executor, "assemble", refusing)
    batches = list(one)
    assert [[s.id for s in batch.skipped] for batch in batches] == [[], [culprit], [], []]
    assert torch.equal(batches[1].clips[[0, 1, 3]], whole[1].clips[[0, 1, 3]])
