import pytest

from vidflow.dataset import PackedDataset
from vidflow.engine.labels import check_labels
from vidflow.errors import DataError


@pytest.fixture
def make(make_packed, tmp_path):
    def build(*labels: tuple[int, ...], multi_label: bool = False) -> PackedDataset:
        return PackedDataset.open(make_packed(tmp_path / "set", {"train": list(labels)}, multi_label=multi_label))

    return build


def check(dataset: PackedDataset, num_classes: int) -> None:
    check_labels(dataset, dataset.select("train"), split="train", num_classes=num_classes)


def test_labels_in_range_pass(make):
    check(make((0,), (2,)), 3)


def test_labels_from_one_are_refused_with_the_samples_and_a_hint(make):
    with pytest.raises(DataError) as error:
        check(make((1,), (2,), (3,)), 3)
    text = str(error.value)
    assert "labels lie in [1, 3], the model has 3 classes (0 to 2)" in text
    assert "1 samples do not fit, such as train/002.mp4 (labels [3])" in text
    assert "counted from 1" in text


def test_a_label_too_large_gets_no_such_hint(make):
    with pytest.raises(DataError) as error:
        check(make((0,), (7,)), 3)
    assert "counted from 1" not in str(error.value)


def test_a_negative_label_is_refused(make):
    with pytest.raises(DataError, match=r"labels lie in \[-1, 0\]"):
        check(make((0,), (-1,)), 3)


@pytest.mark.parametrize("labels", [(), (0, 1)])
def test_a_single_label_set_needs_one_label_each(make, labels):
    with pytest.raises(DataError, match=r"1 samples do not have exactly one label, such as train/001.mp4"):
        check(make((0,), labels), 3)


def test_a_multi_label_set_may_have_any_number(make):
    check(make((), (0, 2), (1,), multi_label=True), 3)


def test_a_multi_label_set_is_checked_too(make):
    with pytest.raises(DataError, match=r"train/001.mp4 \(labels \[0, 5\]\)"):
        check(make((), (0, 5), multi_label=True), 3)
