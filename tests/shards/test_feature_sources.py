"""Feature files of every format give the same array; what is no array of finite numbers is refused."""

import importlib.util
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError, MissingExtraError
from vidflow.members import FEATURE, feature_array, from_npy
from vidflow.pipelines.reading import read_members
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.feature_files import FeatureFile, read_feature_file
from vidflow.shards.sources.items import SourceItem
from vidflow.shards.unpacking import unpack

VALUES = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def write(path: Path, values: np.ndarray = VALUES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez_compressed(path, values)
    elif path.suffix == ".csv":
        header = ",".join(f"f{i}" for i in range(values.shape[1]))
        np.savetxt(path, values, fmt="%.9g", delimiter=",", header=header, comments="")
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(values), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".pt"])
def test_every_format_gives_the_same_array(tmp_path, suffix):
    contents = FeatureFile(duration=10.0).read(str(write(tmp_path / f"a{suffix}")), conceal=False)
    (member,) = contents.members
    np.testing.assert_array_equal(from_npy(member.data, ""), VALUES)
    info = contents.info
    assert (info.num_steps, info.num_features, info.seconds_per_step, info.duration) == (5, 8, 2.0, 10.0)


def test_a_csv_without_a_header_keeps_its_first_row(tmp_path):
    path = tmp_path / "a.csv"
    np.savetxt(path, VALUES, fmt="%.9g", delimiter=",")
    np.testing.assert_array_equal(read_feature_file(path), VALUES)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_type_is_kept(tmp_path, dtype):
    contents = FeatureFile().read(str(write(tmp_path / "a.npy", VALUES.astype(dtype))), conceal=False)
    assert from_npy(contents.members[0].data, "").dtype == dtype


def test_float64_becomes_float32(tmp_path):
    contents = FeatureFile().read(str(write(tmp_path / "a.npy", VALUES.astype(np.float64))), conceal=False)
    np.testing.assert_array_equal(from_npy(contents.members[0].data, ""), VALUES)


def test_channels_first_files_are_transposed_when_told(tmp_path):
    contents = FeatureFile(transpose=True).read(str(write(tmp_path / "a.npy", VALUES.T)), conceal=False)
    np.testing.assert_array_equal(from_npy(contents.members[0].data, ""), VALUES)


@pytest.mark.parametrize("save", [np.savez, lambda path, **arrays: torch.save(dict(arrays), path)])
def test_of_several_arrays_one_must_be_named(tmp_path, save):
    path = tmp_path / ("a.npz" if save is np.savez else "a.pt")
    save(path, rgb=torch.from_numpy(VALUES) if path.suffix == ".pt" else VALUES, flow=VALUES)
    with pytest.raises(DataError, match="several arrays, give --array: rgb, flow"):
        read_feature_file(path)
    with pytest.raises(DataError, match="no array 'x', give --array: rgb, flow"):
        read_feature_file(path, "x")
    np.testing.assert_array_equal(read_feature_file(path, "rgb"), VALUES)


def test_mat_files_need_scipy_and_say_so(tmp_path):
    path = tmp_path / "a.mat"
    if importlib.util.find_spec("scipy") is None:
        path.write_bytes(b"")
        with pytest.raises(MissingExtraError, match=r"pip install 'vidflow\[mat\]'"):
            read_feature_file(path)
    else:
        from scipy.io import savemat

        savemat(path, {"feature": VALUES})
        np.testing.assert_array_equal(read_feature_file(path), VALUES)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.npy", b"", "no readable .npy"),
        ("a.npy", b"\x93NUMPY\x01\x00", "no readable .npy"),
        ("a.npz", b"PK\x03\x04 cut", "no readable .npz"),
        ("a.csv", b"f0,f1\n", "no rows of numbers"),
        ("a.csv", b"", "no rows of numbers"),
        ("a.csv", b"f0,f1\n1,2\n1\n", "not a table of numbers"),
        ("a.csv", "größe,f1\n1,2\n".encode("latin-1"), r"a\.csv: not UTF-8 .*; save it as UTF-8"),
        ("a.csv", "f0,f1\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("a.pt", b"nonsense", "not a readable pickle"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_feature_file(tmp_path / name)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_with_a_damaged_byte_is_refused(tmp_path, save):
    """At each place where zipfile, zlib and NumPy fail in their own ways."""
    path = tmp_path / "a.npz"
    save(path, VALUES)
    whole = path.read_bytes()
    refused = []
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            read_feature_file(path)
        except DataError as error:
            refused.append(str(error).partition("cannot be read ")[2])
    assert any("Bad CRC-32" in message for message in refused)


def test_a_damaged_archive_of_all_samples_is_refused(archive):
    data = bytearray(archive.read_bytes())
    data[200] ^= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"all\.npz: array 'feature' cannot be read \(Bad CRC-32"):
        read_source("feature", KindOptions(src=archive))


def test_a_mat_file_with_a_damaged_byte_is_refused(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    path = tmp_path / "a.mat"
    scipy_io.savemat(path, {"feature": VALUES}, do_compression=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.mat: no readable \.mat file"):
        read_feature_file(path)


def test_keys_of_a_torch_file_may_be_numbers(tmp_path):
    torch.save({0: torch.from_numpy(VALUES)}, tmp_path / "a.pt")
    np.testing.assert_array_equal(read_feature_file(tmp_path / "a.pt"), VALUES)
    torch.save({0: torch.zeros(1), 1: torch.from_numpy(VALUES)}, tmp_path / "a.pt")
    np.testing.assert_array_equal(read_feature_file(tmp_path / "a.pt", "1"), VALUES)


def test_a_cut_npy_is_refused(tmp_path):
    path = write(tmp_path / "a.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"no readable \.npy"):
        read_feature_file(path)


def test_arrays_of_objects_are_refused_and_run_nothing(tmp_path):
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    np.save(tmp_path / "a.npy", np.array([Evil()], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.array([Evil()], object))
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npy", "a.npz", "a.pt"):
        with pytest.raises(DataError):
            read_feature_file(tmp_path / name)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 3), np.nan, np.float32), "6 of 6 values are not finite, first step 0, feature 0"),
        (np.zeros((0, 3), np.float32), "numbers .T, C. are needed"),
        (np.zeros((1, 2, 3), np.float32), "numbers .T, C. are needed"),
        (np.array([["a"]]), "not of numbers"),
        (np.array([[1e39]]), "1 of 1 values are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_arrays_that_are_no_features_are_refused(tmp_path, values, message):
    with pytest.raises(DataError, match=message):
        FeatureFile().read(str(write(tmp_path / "a.npy", values)), conceal=False)


def test_a_link_above_the_class_gives_no_features_another_label(tmp_path):
    for name in ("a/1", "a/2", "b/1", "b/2"):
        write(tmp_path / "source" / f"{name}.npy")
    (tmp_path / "source" / "a" / "up").symlink_to(tmp_path / "source")
    source = read_source("feature", KindOptions(src=tmp_path / "source", split=0.5))
    assert [(item.id, item.labels) for item in source.items] == [
        ("a/1.npy", (0,)), ("a/2.npy", (0,)), ("b/1.npy", (1,)), ("b/2.npy", (1,))
    ]  # fmt: skip
    assert source.skipped == {"link to a folder above it": 1}


@pytest.fixture
def videos(tmp_path):
    """``videos(json, names)``: options for feature files of these names and a JSON of segments."""

    def make(content: object, names=("v_one.npy", "two.npy"), split_name: str = "", **options) -> KindOptions:
        for name in names:
            write(tmp_path / "features" / name)
        (tmp_path / "segments.json").write_text(json.dumps(content))
        given = f"{split_name}={tmp_path / 'segments.json'}" if split_name else str(tmp_path / "segments.json")
        return KindOptions(src=tmp_path / "features", segments=(given,), **options)

    return make


def entry(*segments, subset: str | None = "training", duration: float = 10.0) -> dict[str, object]:
    notes = [{"segment": [start, end], "label": label} for start, end, label in segments]
    return {"duration": duration, "annotations": notes} | ({} if subset is None else {"subset": subset})


def test_segments_of_a_database_are_packed(videos, packed, tmp_path):
    database = {"one": entry((1, 2.5, "run"), (3, 4, "jump"), (5, 6, "run")), "two": entry(subset="validation")}
    report = packed(read_source("feature", videos({"version": "1.3", "database": database})))
    assert (report.info.task, report.info.classes, report.info.multi_label) == ("localization", ("jump", "run"), True)
    dataset = PackedDataset.open(tmp_path / "out")
    found = {record.id: (record, members) for _, record, members in read_members(dataset, np.arange(2))}
    record, members = found["v_one.npy"]
    assert record.split == "train"
    assert [(s.start, s.end, s.label) for s in record.segments] == [(1, 2.5, 1), (3, 4, 0), (5, 6, 1)]
    assert sorted(record.labels) == [0, 1]
    np.testing.assert_array_equal(feature_array(record, members), VALUES)
    negative = found["two.npy"][0]
    assert (negative.split, negative.segments, negative.labels) == ("val", (), ())


def test_segments_without_subsets_take_the_file_s_split(videos):
    content = {"v_one": {"duration_second": 9.5, "annotations": []}, "two": entry((1, 2, "a"), subset=None)}
    source = read_source("feature", videos(content, split_name="train"))
    assert [(item.id, item.split, item.reader.duration) for item in source.items] == [
        ("v_one.npy", "train", 9.5),
        ("two.npy", "train", 10.0),
    ]
    with pytest.raises(ConfigError, match="v_one has no subset"):
        read_source("feature", videos(content))


def test_segments_beyond_the_end_are_cut_and_empty_ones_left_out_and_all_counted(videos):
    one = entry((1, 99, "a"), (12, 13, "a"), (4, 4, "a"))
    source = read_source("feature", videos({"one": one, "two": entry((0, 10, "a"))}))
    assert [(s.start, s.end) for s in source.items[0].annotations.segments] == [(1, 10)]
    assert [warning.partition(": ")[2] for warning in source.warnings] == [
        "1 segments reach beyond their video's end, and were cut there",
        "1 segments begin after their video's end, and were left out",
        "1 segments end where they start, and were left out",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"one": entry((3, 2, "a"))}, r"one: segment \[3, 2\] must end after its start"),
        ({"one": entry((-1, 3, "a"))}, "must end after its start"),
        ({"one": {"annotations": []}}, "one: duration is None, seconds are needed"),
        ({"one": entry() | {"annotations": [{"segment": [1]}]}}, "needs segment"),
        ([1], "no table of videos"),
        ({"none": entry((1, 2, "a"))}, "videos have no feature file .*\n.*none"),
        ({"one": entry((1, 2, "a")), "v_one": entry()}, "v_one was in .* already"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(videos, content, message):
    with pytest.raises(DataError, match=message):
        read_source("feature", videos(content))


def test_missing_features_are_counted_when_allowed(videos):
    source = read_source("feature", videos({"one": entry((1, 2, "a")), "none": entry()}, allow_missing=True))
    assert source.skipped == {"video without a feature file": 1, "feature file that no annotation names": 1}


@pytest.fixture
def archive(tmp_path) -> Path:
    path = tmp_path / "all.npz"
    np.savez(
        path,
        feature=np.stack([VALUES + i for i in range(4)]).astype(np.float16),
        label=np.array(["b", "a", "b", "a"]),
        subset=np.array(["train", "train", "test", "test"]),
        video=np.array([f"v{i}" for i in range(4)]),
    )
    return path


def test_an_archive_of_all_samples_is_packed_row_by_row(archive, packed, read_back, tmp_path):
    packed(read_source("feature", KindOptions(src=archive)))
    samples = {sample["json"]["id"]: sample for sample in read_back(tmp_path / "out")}
    assert {name: (s["json"]["split"], s["json"]["labels"]) for name, s in samples.items()} == {
        "v0": ("train", [1]),
        "v1": ("train", [0]),
        "v2": ("test", [1]),
        "v3": ("test", [0]),
    }
    for i in range(4):
        found = from_npy(samples[f"v{i}"]["fields"][FEATURE], "")
        np.testing.assert_array_equal(found, (VALUES + i).astype(np.float16))


def test_an_archive_whose_arrays_do_not_fit_is_refused(archive, tmp_path):
    with pytest.raises(ConfigError, match="has splits, leave --split out"):
        read_source("feature", KindOptions(src=archive, split=0.5))
    np.savez(tmp_path / "bad.npz", feature=VALUES[None], label=np.array([0, 1]), split=np.array(["train"]))
    with pytest.raises(DataError, match="feature has 1 rows, but label has 2"):
        read_source("feature", KindOptions(src=tmp_path / "bad.npz"))
    np.savez(tmp_path / "none.npz", feature=VALUES[None])
    with pytest.raises(DataError, match="needs arrays feature and label, it has feature"):
        read_source("feature", KindOptions(src=tmp_path / "none.npz"))


def test_unpacked_features_pack_again_to_the_same_bytes(videos, packed, tmp_path):
    """Their durations and ids, too; segments are not in the list that is unpacked."""
    source = read_source("feature", videos({"a": entry((1, 2, "run"))}, ["v_a.npy"]))
    plain = write(tmp_path / "plain" / "b.npy")
    items = (*source.items, SourceItem(str(plain), "deep/b.npy", "val", (), reader=FeatureFile()))
    items = tuple(replace(item, annotations=None) for item in items)
    packed(replace(source, items=items), "first")
    first = PackedDataset.open(tmp_path / "first")
    unpack(first, tmp_path / "files", np.arange(len(first)))
    assert (tmp_path / "files" / "deep" / "b.npy").read_bytes() == plain.read_bytes()
    options = KindOptions(
        annotations=[str(tmp_path / "files" / "annotations.csv")], classes=source.classes, multi_label=True
    )
    again = read_source("feature", options)
    packed(replace(again, name=first.info.name, task=first.info.task), "again")
    second = PackedDataset.open(tmp_path / "again")
    assert [shard.sha256 for shard in second.info.shards] == [shard.sha256 for shard in first.info.shards]


def test_features_with_steps_of_their_own_keep_them(tmp_path):
    path = str(write(tmp_path / "a.npy"))
    info = FeatureFile(duration=10.0, seconds_per_step=0.25).read(path, conceal=False).info
    assert (info.duration, info.seconds_per_step) == (10.0, 0.25)
