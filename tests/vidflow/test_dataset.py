"""A packed data set opens, gives its rows and splits, and names what is wrong with one that is not whole."""

import json

import pyarrow.parquet as pq
import pytest

from vidflow import manifest
from vidflow.dataset import DatasetInfo, PackedDataset
from vidflow.errors import DataError, StorageError


def _change(packed, **values):
    path = packed / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_rows_are_read_by_position(packed, make_row):
    dataset = PackedDataset.open(packed)
    assert len(dataset) == 8
    assert [dataset.row(index) for index in range(8)] == [make_row(index) for index in range(8)]
    assert dataset.record(5).id == "class 1/clip.5.mp4"


def test_a_path_may_be_a_string_or_an_address(packed):
    assert len(PackedDataset.open(str(packed))) == len(PackedDataset.open(f"file://{packed}")) == 8


def test_columns_are_arrays(packed):
    dataset = PackedDataset.open(packed)
    assert dataset.column("label").tolist() == [0, 1] * 4
    assert dataset.column("id").tolist()[0] == "class 0/clip.0.mp4"


def test_info_comes_back_from_json(packed):
    info = PackedDataset.open(packed).info
    assert DatasetInfo.model_validate_json(info.model_dump_json()) == info
    assert info.classes == ("even", "odd")


def test_a_split_selects_ascending_positions(packed):
    dataset = PackedDataset.open(packed)
    assert dataset.select("train").tolist() == [0, 1, 2, 4, 5, 6]
    assert dataset.select("val").tolist() == [3, 7]
    assert dataset.select("train").dtype == "int64"


def test_a_filter_works_inside_its_split(packed):
    assert PackedDataset.open(packed).select("train", "duration > 2 and label == 0").tolist() == [2, 4, 6]


def test_an_unknown_split_names_those_that_are_there(packed):
    with pytest.raises(DataError, match="no split 'test'; it has train, val"):
        PackedDataset.open(packed).select("test")


def test_a_filter_that_leaves_nothing_is_refused(packed):
    with pytest.raises(DataError, match="split 'val' has no sample with where = 'duration > 99'"):
        PackedDataset.open(packed).select("val", "duration > 99")


def test_a_position_outside_is_an_index_error(packed):
    with pytest.raises(IndexError):
        PackedDataset.open(packed).row(8)


def test_a_missing_data_set_tells_how_to_pack_one(tmp_path):
    with pytest.raises(
        DataError, match=r"dataset\.json: no such file; pack a data set first: vidflow shard --src DIR --out "
    ):
        PackedDataset.open(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_a_broken_dataset_json_is_named(packed, content):
    (packed / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset\.json: not JSON .*pack the data set again"):
        PackedDataset.open(packed)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"schema_version": 99}'])
def test_another_schema_version_is_refused(packed, content):
    (packed / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json: schema version (None|99), this vidflow reads 1"):
        PackedDataset.open(packed)


@pytest.mark.parametrize("values", [{"classes": 3}, {"colour": "red"}, {"splits": {"train": {"num_samples": 1}}}])
def test_wrong_fields_are_named_in_one_line(packed, values):
    _change(packed, **values)
    with pytest.raises(DataError, match=next(iter(values))) as caught:
        PackedDataset.open(packed)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_does_not_fit_its_dataset_json_is_refused(packed):
    table = pq.read_table(packed / manifest.FILE_NAME)
    pq.write_table(table.slice(0, 7), packed / manifest.FILE_NAME)
    with pytest.raises(DataError, match=r"manifest\.parquet: 7 rows, but dataset\.json counts 8 samples"):
        len(PackedDataset.open(packed))


def test_a_missing_manifest_is_named(packed):
    (packed / manifest.FILE_NAME).unlink()
    with pytest.raises(StorageError, match=r"manifest\.parquet: No such file"):
        len(PackedDataset.open(packed))
