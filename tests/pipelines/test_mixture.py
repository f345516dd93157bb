"""Several data sets as one: the right samples under the right labels, drawn in the right shares, exactly resumable."""

import numpy as np
import pytest
import torch

from vidflow.config.pipeline import ClipPipeline, RandomResizedCrop, SegmentSampling
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.pipelines.draws import Group
from vidflow.pipelines.loader import make_loader
from vidflow.pipelines.mixture import Source, common_classes, join
from vidflow.pipelines.turns import TurnLoader

PIPELINE = ClipPipeline(
    sampling=SegmentSampling(num_segments=2, random=True), crop=RandomResizedCrop(), size=(32, 32), flip=0.5
)


@pytest.fixture(scope="module")
def other_root(numbered_video, shard_clips, tmp_path_factory):
    """Nine training clips whose classes are partly those of the first set, and partly called otherwise."""
    source = tmp_path_factory.mktemp("other")
    for i in range(9):
        name = ("class2", "new", "CLASS 0")[i % 3]
        numbered_video(source / "train" / name / f"clip {i}.mp4", num_frames=15 + i, first_number=500 + 20 * i)
    numbered_video(source / "val" / "new" / "clip.mp4", num_frames=12, first_number=7)
    out = tmp_path_factory.mktemp("other packed") / "shards"
    shard_clips(source, out, "--max-count", "4")
    return out


@pytest.fixture
def sources(packed, other_root):
    other = PackedDataset.open(other_root)
    return [Source(packed, "train"), Source(other, "train", label_map={"CLASS 0": "class0"})]


def mixed(sources, **options):
    """A loader over the joined set."""
    dataset, chosen = join(sources, common_classes(sources))
    options = {"batch_size": 4, "training": True, "executor": "reference", "num_threads": 2, "selection": ()} | options
    return make_loader(dataset, PIPELINE, np.concatenate(chosen), **options)


def ids(batches):
    return [name for batch in batches for name in batch.ids]


def true_name(id_):
    name = id_.split("/")[1]
    return {"CLASS 0": "class0"}.get(name, name)


def test_classes_are_those_of_all_sources_in_order_of_appearance(sources):
    assert common_classes(sources) == ("class0", "class1", "class2", "new")


def test_every_sample_comes_once_with_its_common_label_and_its_own_pixels(sources, packed):
    batches = list(mixed(sources, batch_size=1))
    classes = common_classes(sources)
    assert len(ids(batches)) == len({int(batch.indices[0]) for batch in batches}) == 28
    for batch in batches:
        assert classes[int(batch.labels[0])] == true_name(batch.ids[0])
    alone = make_loader(
        packed, PIPELINE, packed.select("train"), batch_size=1, training=True, executor="reference", selection=()
    )
    pixels = {batch.ids[0]: batch.clips for batch in alone}
    shared = [batch for batch in batches if int(batch.indices[0]) < len(packed)]
    assert len(shared) == 19
    assert all(torch.equal(batch.clips, pixels[batch.ids[0]]) for batch in shared)


def test_batches_mix_the_sources(sources, packed):
    first = [sum(int(i) < len(packed) for i in batch.indices) for batch in mixed(sources, batch_size=7)]
    assert all(0 < count < 7 for count in first)


def test_a_condition_is_about_the_sources_own_labels_and_splits(sources, packed):
    narrow = [Source(packed, "val"), Source(sources[1].dataset, "train", "label == 1", sources[1].label_map)]
    names = ids(mixed(narrow, batch_size=1))
    own = sources[1].dataset.info.classes
    assert sorted(names) == sorted(
        [packed.record(i).id for i in packed.select("val").tolist()]
        + [f"train/{own[1]}/clip {i}.mp4" for i in range(9) if ("class2", "new", "CLASS 0")[i % 3] == own[1]]
    )


def test_repeated_samples_come_with_other_plans_and_not_twice_in_a_row(sources):
    groups = [Group(np.arange(19), 19), Group(np.arange(19, 28), 27)]
    batches = list(mixed(sources, batch_size=1, groups=groups))
    names = ids(batches)
    assert len(names) == 46
    repeated = [batch.clips for batch in batches if batch.ids[0] == "train/new/clip 1.mp4"]
    assert len(repeated) == 3
    assert not any(torch.equal(a, b) for i, a in enumerate(repeated) for b in repeated[:i])


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 4), (2, 3), (5, 2)])
def test_quotas_hold_for_all_ranks_together(sources, world_size, batch_size):
    groups = [Group(np.arange(19), 10), Group(np.arange(19, 28), 30)]
    drawn = []
    for rank in range(world_size):
        drawn += ids(mixed(sources, groups=groups, rank=rank, world_size=world_size, batch_size=batch_size))
    assert 40 - len(drawn) < world_size * batch_size
    other = [f"train/{('class2', 'new', 'CLASS 0')[i % 3]}/clip {i}.mp4" for i in range(9)]
    counts = [drawn.count(name) for name in other]
    assert sum(counts) <= 30
    assert max(counts) <= 4


def test_a_mixed_epoch_resumes_exactly_also_with_other_ranks(sources):
    groups = [Group(np.arange(19), 10), Group(np.arange(19, 28), 30)]
    whole = mixed(sources, groups=groups)
    expected = list(whole) + list(whole)
    broken = mixed(sources, groups=groups)
    iterator = iter(broken)
    head = [next(iterator) for _ in range(3)]
    state = broken.state_dict()
    iterator.close()
    resumed = mixed(sources, groups=groups)
    resumed.load_state_dict(state)
    rest = list(resumed) + list(resumed)
    assert ids(rest) == ids(expected[3:])
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(rest, expected[3:], strict=True))
    two = []
    for rank in range(2):
        one = mixed(sources, groups=groups, rank=rank, world_size=2)
        one.load_state_dict(state)
        two += list(one)
    entries = sorted(ids(head) + ids(two))
    everything = sorted(ids(mixed(sources, groups=groups, batch_size=1)))
    left = list(everything)
    for name in entries:
        left.remove(name)
    assert len(left) < 8


def test_a_position_of_other_shares_is_refused(sources):
    state = mixed(sources).state_dict()
    with pytest.raises(DataError, match="other shards, another split"):
        mixed(sources, groups=[Group(np.arange(28), 56)]).load_state_dict(state)


def test_classes_that_the_common_list_lacks_are_refused_by_name(sources):
    with pytest.raises(DataError, match=r"its classes 'new' are not in the common list; rename them with label_map"):
        join(sources, ("class0", "class1", "class2"))
    narrow = [sources[0], Source(sources[1].dataset, "train", "label != 2", sources[1].label_map)]
    joined, chosen = join(narrow, ("class2", "class1", "class0"))
    assert len(chosen[1]) == 6
    assert {true_name(joined.record(int(i)).id) for i in chosen[1]} <= {"class0", "class2"}


def test_a_label_map_of_unknown_classes_is_refused(sources):
    wrong = Source(sources[1].dataset, "train", label_map={"CLASS O": "class0"})
    with pytest.raises(DataError, match="label_map names 'CLASS O', not among its 3 classes"):
        join([wrong], ("class0",))


def test_an_empty_source_is_refused(sources):
    with pytest.raises(DataError, match="has no sample with where"):
        join([sources[0], Source(sources[1].dataset, "train", "duration > 1000")], common_classes(sources))


def test_a_damaged_shard_of_a_mixture_is_named_by_its_own_address(sources, other_root, tmp_path):
    import shutil

    root = shutil.copytree(other_root, tmp_path / "copy")
    name = PackedDataset.open(root).info.shards[0].name
    with (root / name).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(Exception, match=str(root / name)):
        list(mixed([sources[0], Source(PackedDataset.open(root), "train", label_map={"CLASS 0": "class0"})]))


class TestTurns:
    @pytest.fixture
    def make(self, sources):
        dataset, chosen = join(sources, common_classes(sources))

        def build(**options):
            share = {"rank": 0, "world_size": 1} | options
            return TurnLoader(
                [
                    make_loader(
                        dataset, PIPELINE, indices, name=name, batch_size=size, training=True, executor="reference",
                        num_threads=1, selection=(name,), **share,
                    )
                    for indices, name, size in zip(chosen, ("main", "more"), (4, 3), strict=True)
                ]
            )  # fmt: skip

        return build

    def test_batches_come_in_turn_and_tell_their_source(self, make):
        turns = make()
        batches = list(turns)
        assert len(batches) == len(turns) == 8
        assert [batch.source for batch in batches] == ["main", "more"] * 4
        assert [len(batch) for batch in batches] == [4, 3] * 4
        assert turns.num_samples == 4 * 4 + 4 * 3

    def test_the_second_goes_through_epochs_of_its_own(self, make):
        turns = make()
        names = ids([batch for _ in range(3) for batch in turns if batch.source == "more"])
        assert len(names) == 36
        for begin in range(0, 36, 9):
            assert len(set(names[begin : begin + 9])) == 9
        assert names[:9] != names[9:18]

    @pytest.mark.parametrize("after", [0, 1, 2, 5, 8, 11, 16])
    def test_resuming_is_exact(self, make, after):
        whole = make()
        expected = [batch for _ in range(3) for batch in whole]
        broken = make()
        done = 0
        while done < after:
            iterator = iter(broken)
            for _ in iterator:
                done += 1
                if done == after:
                    break
            if broken.position == len(broken):
                next(iterator, None)
            iterator.close()
        state = broken.state_dict()
        resumed = make()
        resumed.load_state_dict(state)
        rest = [batch for _ in range(4) for batch in resumed][: len(expected) - after]
        assert ids(rest) == ids(expected[after:])
        assert all(torch.equal(a.clips, b.clips) for a, b in zip(rest, expected[after:], strict=True))

    def test_the_start_of_an_epoch_is_that_of_an_unbroken_run(self, make):
        whole = make()
        epochs = [list(whole) for _ in range(3)]
        jumped = make()
        jumped.set_epoch(2)
        assert ids(jumped) == ids(epochs[2])

    def test_position_counts_batches(self, make):
        turns = make()
        seen = []
        for _ in turns:
            seen.append(turns.position)
        assert seen == list(range(1, 9))
        assert (turns.position, turns.epoch) == (0, 1)

    def test_another_number_of_sources_is_refused(self, make):
        with pytest.raises(DataError, match="is of 1 sources that take turns, the config has 2"):
            make().load_state_dict(make().loaders[0].state_dict())
        with pytest.raises(ValueError, match="two loaders or more, not 1"):
            TurnLoader(make().loaders[:1])

    def test_turns_go_on_with_other_ranks_and_repeat_nothing(self, make):
        seen, states = [], []
        for rank in range(2):
            one = make(rank=rank, world_size=2)
            iterator = iter(one)
            seen += [next(iterator) for _ in range(2)]
            states.append(one.state_dict())
            iterator.close()
        assert states[0] == states[1]
        resumed = make()
        resumed.load_state_dict(states[0])
        assert resumed.num_samples == 4 * (4 + 3)  # two of each on two ranks, and two more
        seen += list(resumed)
        for source, count in (("main", 19), ("more", 9)):
            names = ids([batch for batch in seen if batch.source == source])
            assert len(set(names[:count])) == len(names[:count])
