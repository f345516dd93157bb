"""What an epoch is does not depend on how it is read: ranks, threads, executors, storages, faults and interruptions."""

import hashlib
import json
import random
from collections import Counter

import numpy as np
import pytest
import torch

from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop, SegmentSampling
from vidflow.dataset import PackedDataset
from vidflow.pipelines.epoch import Stage, Window, plan_training, remaining
from vidflow.pipelines.loader import build_loader
from vidflow.storage.cached import cached

PIPELINE = ClipPipeline(
    sampling=SegmentSampling(num_segments=2, random=True), crop=RandomResizedCrop(), size=(16, 16), flip=0.5
)


@pytest.fixture(scope="session")
def many_root(numbered_video, shard_clips, tmp_path_factory):
    """132 tiny training clips in three shards."""
    source = tmp_path_factory.mktemp("many")
    for i in range(132):
        numbered_video(source / "train" / f"class{i % 3}" / f"{i}.mp4", num_frames=4 + i % 3, height=64, width=96)
    out = tmp_path_factory.mktemp("many packed") / "shards"
    shard_clips(source, out, "--max-count", "44")
    return out


@pytest.fixture
def many(many_root):
    return PackedDataset.open(many_root)


def loader(dataset, **options):
    options = {"split": "train", "batch_size": 4, "training": True, "num_threads": 2, "executor": "reference"} | options
    return build_loader(dataset, PIPELINE, **options)


def ids(batches):
    return [name for batch in batches for name in batch.ids]


def digest(batch):
    """What a batch is: its ids, labels and pixels."""
    return batch.ids, batch.labels.tolist(), hashlib.sha256(batch.clips.numpy().tobytes()).hexdigest()


def files(root):
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_sixty_four_ranks_over_three_shards_neither_hang_nor_repeat(many):
    assert len(many.info.shards) == 3
    sets = []
    for world_size, batch_size in ((64, 2), (64, 1), (16, 4), (2, 8), (1, 32)):
        ranks = [
            ids(loader(many, limit=128, rank=rank, world_size=world_size, batch_size=batch_size, num_threads=1))
            for rank in range(world_size)
        ]
        assert len({len(names) for names in ranks}) == 1
        everything = [name for names in ranks for name in names]
        assert len(everything) == len(set(everything)) == 128
        sets.append(frozenset(everything))
    assert len(set(sets)) == 1


def test_threads_and_storages_give_the_same_batches(packed_root, packed, s3, file_server, tmp_path):
    expected = [digest(batch) for batch in loader(packed)]
    file_server.files |= {f"sets/{name}": data for name, data in files(packed_root).items()}
    on_s3, on_web = PackedDataset.open(s3.put(files(packed_root))), PackedDataset.open(f"{file_server.address}/sets")
    through = cached(on_s3, str(tmp_path / "cache"), limit_bytes=10**9)
    for dataset, threads in ((packed, 1), (packed, 5), (on_s3, 2), (on_web, 3), (through, 1), (through, 2)):
        assert [digest(batch) for batch in loader(dataset, num_threads=threads)] == expected


def test_executors_give_the_same_samples_and_labels(packed):
    ours, oracle = (list(loader(packed, executor=name)) for name in ("dali", "reference"))
    assert [batch.ids for batch in ours] == [batch.ids for batch in oracle]
    assert [batch.labels.tolist() for batch in ours] == [batch.labels.tolist() for batch in oracle]


@pytest.mark.parametrize("checksums", [False, True])
def test_a_server_with_failing_slow_and_cut_answers_gives_the_same_epoch(s3, packed, packed_root, checksums):
    root = s3.put(files(packed_root))
    proxy = s3.through_proxy(rate=0.1, seed=4)
    proxy.kinds = ("status", "slow", "cut", "end", "late reset")
    expected, ours = loader(packed), loader(PackedDataset.open(root), checksums=checksums)
    epochs = 0
    while epochs < 2 or proxy.num_faults < 4:
        assert [digest(batch) for batch in ours] == [digest(batch) for batch in expected]
        epochs += 1
        assert epochs < 30


def test_two_resumes_with_other_world_sizes_lose_and_repeat_nothing(many):
    seen, state = [], None
    for world_size, batch_size, count in ((3, 4, 4), (2, 5, 3), (5, 3, None)):
        states = []
        for rank in range(world_size):
            one = loader(many, rank=rank, world_size=world_size, batch_size=batch_size)
            if state is not None:
                one.load_state_dict(state)
            iterator = iter(one)
            taken = list(iterator) if count is None else [next(iterator) for _ in range(count)]
            seen += ids(taken)
            states.append(json.dumps(one.state_dict()))
            iterator.close()
        assert len(set(states)) == 1
        state = json.loads(states[0])
    assert len(seen) == len(set(seen))
    assert 132 - len(seen) < 15
    assert state["epoch"] == 1


@pytest.mark.slow
def test_two_hundred_random_kills_give_the_uninterrupted_sequence(many):
    whole = loader(many)
    expected = [digest(batch) for _ in range(13) for batch in whole]
    chance, seen, state, kills = random.Random(5), [], None, 0
    while len(seen) < len(expected):
        # Nothing of the killed loader is used again but what a checkpoint holds.
        one = loader(many, num_threads=chance.choice([1, 2]))
        if state is not None:
            one.load_state_dict(json.loads(state))
        left = chance.choice([0, 1, 1, 2, 2, 3, 4]) if kills < 200 else len(expected)
        iterator = iter(one)
        for batch in iterator:
            seen.append(digest(batch))
            left -= 1
            if left <= 0:
                break
        state = json.dumps(one.state_dict())
        iterator.close()
        kills += 1
        if json.loads(state)["num_batches"] == len(one):
            one.set_epoch(one.epoch + 1)
            state = json.dumps(one.state_dict())
    assert kills > 200
    assert seen[: len(expected)] == expected


def test_two_hundred_random_changes_of_world_and_batch_size_lose_and_repeat_nothing():
    chance = random.Random(0)
    shards = np.repeat(np.arange(5), [300, 40, 7, 500, 153])
    window = Window(num_samples=64)
    for trial in range(10):
        stages: tuple[Stage, ...] = ()
        seen: Counter[int] = Counter()
        share = {"seed": trial, "epoch": trial, "window": window}
        for _ in range(20):
            line, sizes = remaining(np.arange(1000), shards, np.full(1000, 10), stages, **share)
            world_size, batch_size = chance.randint(1, 9), chance.randint(1, 4)
            share_of = {"world_size": world_size, "batch_size": batch_size}
            plans = [plan_training(line, sizes, rank=rank, **share_of, **share) for rank in range(world_size)]
            count = min(chance.randint(0, 6), len(plans[0].order) // batch_size)
            for plan in plans:
                seen.update(plan.order[: count * batch_size].tolist())
            stages += (Stage(num_batches=count, **share_of),)
        line, sizes = remaining(np.arange(1000), shards, np.full(1000, 10), stages, **share)
        seen.update(plan_training(line, sizes, rank=0, world_size=1, batch_size=1, **share).order.tolist())
        assert sorted(seen) == list(range(1000))
        assert set(seen.values()) == {1}


def test_epochs_differ_in_order_and_in_pixels(packed):
    one = loader(packed, batch_size=1)
    epochs = [{batch.ids[0]: batch.clips for batch in one} for _ in range(2)]
    assert list(epochs[0]) != list(epochs[1])
    assert epochs[0].keys() == epochs[1].keys()
    same = [name for name in epochs[0] if torch.equal(epochs[0][name], epochs[1][name])]
    assert len(same) < 3


class TestRepeatedAugmentation:
    REPEATED = PIPELINE.model_copy(update={"repeats": 3})

    def make(self, packed, pipeline=REPEATED, **options):
        options = {"split": "train", "batch_size": 4, "training": True, "executor": "reference"} | options
        return build_loader(packed, pipeline, **options)

    @pytest.mark.parametrize("executor", ["reference", "dali"])
    def test_each_sample_has_its_plans_in_neighbouring_rows(self, packed, executor):
        ours = list(self.make(packed, executor=executor))
        single = list(self.make(packed, PIPELINE, executor=executor))
        assert len(ours) == len(single)
        for batch, alone in zip(ours, single, strict=True):
            assert batch.ids == [name for name in alone.ids for _ in range(3)]
            assert batch.clips.shape[0] == batch.labels.shape[0] == 12
            assert torch.equal(batch.labels, alone.labels.repeat_interleave(3))
            assert torch.equal(batch.clips[::3], alone.clips)
            assert not torch.equal(batch.clips[1::3], alone.clips)

    def test_the_video_is_decoded_once(self, packed, monkeypatch):
        from vidflow.pipelines import work

        calls = []
        original = work.decode_frames
        monkeypatch.setattr(work, "decode_frames", lambda *a, **kw: calls.append(1) or original(*a, **kw))
        assert len(list(self.make(packed))) == 4
        assert len(calls) == 16

    def test_evaluation_draws_one_plan(self, packed):
        batches = list(self.make(packed, split="val", training=False))
        assert ids(batches) == ids(self.make(packed, PIPELINE, split="val", training=False))

    def test_a_damaged_sample_loses_all_its_rows(self, packed_root, tmp_path):
        import shutil

        from damage import damage_sample

        root = shutil.copytree(packed_root, tmp_path / "shards")
        index = int(PackedDataset.open(root).select("train")[4])
        name = damage_sample(root, index)
        for batch in self.make(PackedDataset.open(root), on_bad_sample="skip"):
            assert batch.missed.tolist() == [row == name for row in batch.ids]
            assert len(batch.without_skipped()) == len(batch) - 3 * (name in batch.ids)
