"""The loader: right frames, true length, exact order and exact continuation, on real shards."""

import os
import shutil
import threading
import time

import psutil
import pytest
import torch

from vidflow.config.pipeline import (
    CenterCrop,
    ClipPipeline,
    ClipSampling,
    ColorJitter,
    FullFrame,
    Normalize,
    RandomResizedCrop,
    SegmentSampling,
    TenCrop,
)
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError, DecodeError
from vidflow.pipelines.epoch import Window
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.plan import make_plan, sample_rng

IDENTITY = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
WHOLE = ClipPipeline(
    sampling=ClipSampling(length=5, interval=3), short_side=None, crop=FullFrame(), size=(96, 128), normalize=IDENTITY
)
AUGMENTED = ClipPipeline(
    sampling=SegmentSampling(num_segments=4, random=True),
    crop=RandomResizedCrop(),
    size=(56, 64),
    flip=0.5,
    color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=30),
)


def loader(packed, pipeline=AUGMENTED, **options):
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2} | options
    return build_loader(packed, pipeline, **options)


def ids(batches):
    return [name for batch in batches for name in batch.ids]


@pytest.mark.parametrize("executor", ["dali", "reference"])
def test_frames_are_the_planned_ones(packed, read_numbers, executor):
    count = 0
    for batch in loader(packed, WHOLE, split="val", training=False, executor=executor):
        assert batch.clips.shape[1:] == (1, 3, 5, 96, 128)
        for index, clip in zip(batch.indices.tolist(), batch.clips[:, 0], strict=True):
            record = packed.record(index)
            first = 1000 * int(record.id.split()[1].split(".")[0])
            frames = clip.permute(1, 2, 3, 0).round().clamp(0, 255).to(torch.uint8).numpy()  # [C,T,H,W] -> [T,H,W,C]
            expected = make_plan(record, WHOLE, sample_rng(0, 0, index)).frames
            assert read_numbers(frames) == [first + n for n in expected]
            count += 1
    assert count == 5


@pytest.mark.parametrize(
    "pipeline",
    [
        AUGMENTED,
        WHOLE,
        ClipPipeline(
            sampling=ClipSampling(length=4, interval=2, num_clips=3), crop=TenCrop(), size=(48, 48), short_side=56
        ),
        ClipPipeline(sampling=SegmentSampling(num_segments=3, twice=True), crop=CenterCrop(), size=(64, 64)),
    ],
    ids=["augmented", "whole", "3 clips x 10 crops", "twice"],
)
def test_dali_and_reference_agree_within_two_grey_levels(packed, pipeline):
    pipeline = pipeline.model_copy(update={"normalize": IDENTITY})
    both = [list(loader(packed, pipeline, executor=name)) for name in ("dali", "reference")]
    assert len(both[0]) == len(both[1]) == 4
    for ours, oracle in zip(*both, strict=True):
        assert ours.ids == oracle.ids
        assert torch.equal(ours.labels, oracle.labels)
        assert ours.clips.shape == oracle.clips.shape
        assert (ours.clips - oracle.clips).abs().max() <= 2


def test_labels_and_ids_belong_together(packed):
    for batch in loader(packed):
        assert [f"class{label}" for label in batch.labels.tolist()] == [name.split("/")[1] for name in batch.ids]


def test_the_length_is_true_and_an_epoch_has_no_repeats(packed):
    train = loader(packed, batch_size=4)
    batches = list(train)
    assert len(batches) == len(train) == 4
    assert train.num_samples == 16
    assert len(set(ids(batches))) == 16
    assert not any(batch.padding.any() for batch in batches)


def test_epochs_differ_and_the_same_seed_gives_the_same_clips(packed):
    first, second = loader(packed), loader(packed, num_threads=1)
    epochs = [list(first), list(first)]
    again = [list(second), list(second)]
    assert ids(epochs[0]) != ids(epochs[1])
    for batches, repeated in zip(epochs, again, strict=True):
        assert ids(batches) == ids(repeated)
        assert all(torch.equal(a.clips, b.clips) for a, b in zip(batches, repeated, strict=True))
    assert ids(loader(packed, seed=1)) != ids(epochs[0])


def test_a_sample_looks_the_same_in_any_batch_and_on_any_rank(packed):
    def by_id(**options):
        return {
            name: clip for batch in loader(packed, **options) for name, clip in zip(batch.ids, batch.clips, strict=True)
        }

    one, other = by_id(batch_size=4), by_id(batch_size=3, rank=1, world_size=2)
    shared = one.keys() & other.keys()
    assert len(shared) >= 6
    assert all(torch.equal(one[name], other[name]) for name in shared)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_an_epoch_equally_without_overlap(packed, world_size):
    ranks = [loader(packed, batch_size=2, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [ids(rank) for rank in ranks]
    assert len({len(names) for names in seen}) == 1
    everything = [name for names in seen for name in names]
    assert len(everything) == len(set(everything)) == ranks[0].num_samples
    assert 19 - len(everything) < 2 * world_size


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_evaluation_sees_each_sample_once_with_equal_batches_on_all_ranks(packed, world_size, batch_size):
    options = {"split": "val", "training": False, "batch_size": batch_size, "world_size": world_size}
    ranks = [list(loader(packed, WHOLE, rank=rank, **options)) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    real = [
        i
        for batches in ranks
        for batch in batches
        for i, pad in zip(batch.indices, batch.padding, strict=True)
        if not pad
    ]
    assert sorted(int(i) for i in real) == packed.select("val").tolist()


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_resuming_after_any_batch_gives_the_rest_and_the_next_epoch(packed, after):
    whole = loader(packed)
    expected = list(whole) + list(whole)
    broken = loader(packed)
    iterator = iter(broken)
    for _ in range(after):
        next(iterator)
    state = broken.state_dict()
    iterator.close()
    resumed = loader(packed)
    resumed.load_state_dict(state)
    rest = list(resumed) + list(resumed)
    assert ids(rest) == ids(expected[after:])
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(rest, expected[after:], strict=True))


def test_the_size_of_an_epoch_does_not_shrink_by_a_resume_with_other_ranks(packed):
    broken = loader(packed, batch_size=2, world_size=2)
    iterator = iter(broken)
    next(iterator)
    next(iterator)
    iterator.close()
    resumed = loader(packed, batch_size=3)
    resumed.load_state_dict(broken.state_dict())
    assert len(resumed) == 3
    assert resumed.num_samples == 2 * 2 * 2 + 3 * 3


def test_resuming_decodes_nothing_that_was_skipped(packed, monkeypatch):
    from vidflow.pipelines import work

    decoded = []
    original = work.show_frames
    monkeypatch.setattr(
        work, "show_frames", lambda data, *args, **kw: decoded.append(len(data)) or original(data, *args, **kw)
    )
    resumed = loader(packed)
    resumed.load_state_dict(resumed.state_dict() | {"num_batches": 3})
    assert len(list(resumed)) == 1
    assert len(decoded) == 4


def test_resuming_on_another_number_of_ranks_loses_and_repeats_nothing(packed):
    seen, state = [], {}
    for rank in range(2):
        one = loader(packed, batch_size=2, rank=rank, world_size=2)
        iterator = iter(one)
        seen += ids([next(iterator) for _ in range(2)])
        state = one.state_dict()
        iterator.close()
    resumed = loader(packed, batch_size=3)
    resumed.load_state_dict(state)
    seen += ids(resumed)
    assert len(seen) == len(set(seen))
    assert 19 - len(seen) < 3
    assert len(ids(resumed)) == 18  # the next epoch is whole again


def test_a_position_of_other_data_is_refused(packed):
    state = loader(packed).state_dict()
    with pytest.raises(DataError, match="other shards, another split, filter"):
        loader(packed, where="label < 2").load_state_dict(state)
    with pytest.raises(DataError, match="seed"):
        loader(packed, seed=5).load_state_dict(state)


def test_where_selects_by_the_manifest(packed):
    names = ids(loader(packed, where="label == 1 and num_frames > 20", batch_size=1))
    expected = {
        r.id for r in map(packed.record, packed.select("train")) if r.labels == (1,) and r.video.num_frames > 20
    }
    assert set(names) == expected


def test_too_few_samples_for_the_ranks_are_refused_with_numbers(packed):
    with pytest.raises(DataError, match=r"19 samples give no full batch of 8 on each of 3 processes; .* at most 6"):
        loader(packed, batch_size=8, world_size=3)


def test_one_shard_and_more_ranks_than_shards_work(packed):
    options = {"where": "shard == 'train-000000.tar'", "batch_size": 1, "world_size": 3}
    seen = [ids(loader(packed, rank=rank, **options)) for rank in range(3)]
    assert [len(names) for names in seen] == [2, 2, 2]
    assert len({name for names in seen for name in names}) == 6


def test_leaving_early_leaves_no_thread_behind(packed):
    before = threading.active_count()
    for _ in range(3):
        for _batch in loader(packed, batch_size=1):
            break
    assert threading.active_count() <= before


def test_a_damaged_sample_stops_the_loader_with_its_name(packed_root, tmp_path):
    root = shutil.copytree(packed_root, tmp_path / "shards")
    dataset = PackedDataset.open(root)
    index = int(dataset.select("train")[2])
    record, location = dataset.row(index)
    with (root / location.shard).open("r+b") as file:
        file.seek(location.data_offset)
        file.write(bytes(location.data_length))
    with pytest.raises(DecodeError, match=rf"sample {record.key} \({record.id}\)"):
        list(loader(dataset))
    assert not [t for t in threading.enumerate() if t.name.startswith("vidflow")]


def test_a_slow_consumer_finds_only_a_few_batches_ready(packed, monkeypatch):
    from vidflow.pipelines import work

    decoded = []
    original = work.show_frames
    monkeypatch.setattr(work, "show_frames", lambda data, *args, **kw: decoded.append(1) or original(data, *args, **kw))
    monkeypatch.setattr("vidflow.pipelines.feeding.DECODED_BYTES", 1)
    iterator = iter(loader(packed, batch_size=1, limit=19))
    next(iterator)
    time.sleep(1.0)
    assert len(decoded) <= 6
    iterator.close()


def test_memory_stays_flat_over_epochs(packed):
    train = loader(packed, batch_size=4, window=Window(num_samples=4))
    process = psutil.Process(os.getpid())
    sizes = []
    for _ in range(12):
        for _batch in train:
            pass
        sizes.append(process.memory_info().rss)
    assert max(sizes[2:]) < sizes[1] * 1.05


def test_multi_label_sets_give_zeros_and_ones(packed):
    info = packed.info.model_copy(update={"multi_label": True})
    batch = next(iter(loader(PackedDataset(packed.storage, info))))
    assert batch.labels.shape == (4, 3)
    assert batch.labels.dtype == torch.float32
    assert batch.labels.sum(1).tolist() == [1.0] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pipeline", [AUGMENTED, WHOLE], ids=["augmented", "whole"])
def test_gpu_and_cpu_agree_within_four_grey_levels(packed, pipeline):
    pipeline = pipeline.model_copy(update={"normalize": IDENTITY})
    for ours, oracle in zip(loader(packed, pipeline, device="cuda"), loader(packed, pipeline), strict=True):
        assert ours.ids == oracle.ids
        assert (ours.clips.cpu() - oracle.clips).abs().max() <= 4
