"""Late fusion: what is averaged, how samples find each other, and which files are refused."""

import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from vidflow.cli.fuse import spread_weights
from vidflow.cli.main import main
from vidflow.errors import ConfigError, DataError
from vidflow.evaluation.fusing import align, as_probabilities, fuse
from vidflow.evaluation.score_files import ScoreFile, metrics_of, read_score_file, write_score_file

A = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.5, 0.3]], np.float32)
B = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], np.float32)
LABELS = ((0,), (1,), (2,))
IDS = ("x/one.mp4", "x/two.mp4", "y/three.mp4")


def scores_of(values: np.ndarray, **changes: object) -> ScoreFile:
    given = {"name": "a", "scores": values, "labels": LABELS, "ids": IDS} | changes
    return ScoreFile(**given)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """A Parquet score file of ours."""

    def make(name: str, values: np.ndarray, **changes: object) -> Path:
        path = tmp_path / name
        write_score_file(path, scores_of(values, **changes))
        return path

    return make


def write_pickle(path: Path, values: Sequence[object], labels: Sequence[object] = (0, 1, 2)) -> Path:
    """As MMAction2 writes it: torch tensors in dictionaries."""
    entries = [
        {"pred_score": torch.as_tensor(row), "gt_label": torch.as_tensor(label).reshape(-1), "img_shape": (1, 2)}
        for row, label in zip(values, labels, strict=True)
    ]
    path.write_bytes(pickle.dumps(entries))
    return path


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["fuse", *map(str, words)])
    return int(end.value.code or 0)


# -- what is averaged ------------------------------------------------------------------------------------------------


def test_fused_scores_are_the_mean_by_weights():
    found = fuse([scores_of(A), scores_of(B)], [3, 1]).scores
    np.testing.assert_allclose(found, 0.75 * A + 0.25 * B, rtol=1e-6)


def test_only_the_ratio_of_the_weights_matters():
    np.testing.assert_allclose(
        fuse([scores_of(A), scores_of(B)], [0.2, 0.1]).scores, fuse([scores_of(A), scores_of(B)], [2, 1]).scores
    )


def test_a_weight_of_zero_leaves_a_file_out():
    np.testing.assert_array_equal(fuse([scores_of(A), scores_of(B)], [1, 0]).scores, A)


def test_the_geometric_mean_is_the_softmax_of_the_mean_of_logits():
    logits = [np.random.default_rng(seed).normal(size=(3, 4)) for seed in (0, 1)]
    files = [as_probabilities(scores_of(values.astype(np.float32))) for values in logits]
    mean = np.exp((logits[0] + logits[1]) / 2)
    expected = mean / mean.sum(1, keepdims=True)
    np.testing.assert_allclose(fuse(files, [1, 1], geometric=True).scores, expected, rtol=1e-5)


def test_a_class_that_one_model_excludes_still_has_a_finite_geometric_mean():
    found = fuse([scores_of(np.eye(3, dtype=np.float32)), scores_of(B)], [1, 1], geometric=True).scores
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_softmax_turns_logits_into_probabilities():
    logits = np.array([[1000.0, 999.0], [-5.0, -5.0]], np.float32)
    found = as_probabilities(scores_of(logits, labels=((0,), (1,)), ids=("a", "b"))).scores
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], [0.5, 0.5]], rtol=1e-6)


def test_two_weak_models_can_be_right_together():
    # A is wrong about the second and third, B about the first; their mean is wrong about none.
    assert [metrics_of(scores_of(values))["top1"] for values in (A, B)] == pytest.approx([1 / 3, 2 / 3])
    assert metrics_of(fuse([scores_of(A), scores_of(B)], [2, 1]))["top1"] == pytest.approx(1)


def test_a_sample_that_one_file_missed_is_missed():
    missing = A.copy()
    missing[1] = np.nan
    for geometric in (False, True):
        fused = fuse([scores_of(missing), scores_of(B)], [1, 1], geometric=geometric)
        assert fused.missed.tolist() == [False, True, False]
        assert metrics_of(fused)["num_missed"] == 1


def test_scores_of_multi_label_sets_are_counted_by_map():
    # Class 0: positives at ranks 1 and 3; class 1: its positive is first; class 2 has none.
    values = np.array([[0.9, 0.1, 0.0], [0.5, 0.8, 0.0], [0.4, 0.2, 0.0]], np.float32)
    file = scores_of(values, labels=((0,), (1,), (0,)), multi_label=True)
    assert metrics_of(file) == pytest.approx({"mAP": ((1 + 2 / 3) / 2 + 1) / 2, "classes_without_positives": 1})


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(ConfigError, match="--weights"):
        fuse([scores_of(A), scores_of(B)], weights)


def test_negative_scores_have_no_geometric_mean():
    with pytest.raises(DataError, match=r"b: has negative scores.*give --softmax"):
        fuse([scores_of(A), scores_of(A - 1, name="b")], [1, 1], geometric=True)


def test_softmax_of_multi_label_scores_is_refused():
    with pytest.raises(ConfigError, match="a may have several classes"):
        as_probabilities(scores_of(A, multi_label=True))


# -- which rows are the same sample ----------------------------------------------------------------------------------


def test_samples_are_matched_by_id_in_the_order_of_the_first_file():
    other = scores_of(B[::-1], ids=IDS[::-1], labels=LABELS[::-1])
    first, second = align([scores_of(A), other])
    assert first.ids == second.ids == IDS
    np.testing.assert_array_equal(second.scores, B)
    assert second.labels == LABELS


def test_the_stem_matches_streams_of_other_files():
    sound = scores_of(B[::-1], ids=("y/three.wav", "x/two.wav", "x/one.wav"), labels=LABELS[::-1])
    _, found = align([scores_of(A), sound], match="stem")
    np.testing.assert_array_equal(found.scores, B)
    with pytest.raises(DataError, match=r"no sample in common.*--match stem"):
        align([scores_of(A), sound])


def test_a_stem_that_two_samples_share_is_refused():
    file = scores_of(A, ids=("x/one.mp4", "x/one.avi", "y/three.mp4"))
    with pytest.raises(DataError, match="several samples called 'x/one'"):
        align([file, scores_of(B)], match="stem")


def test_an_id_that_has_no_name_is_its_own_stem():
    files = [scores_of(A, ids=("/", ".", "a.mp4")), scores_of(B, ids=("/", ".", "a.wav"))]
    assert len(align(files, match="stem")[1].scores) == 3


def test_samples_that_one_file_lacks_are_named():
    shorter = scores_of(B[:2], ids=IDS[:2], labels=LABELS[:2], name="b")
    with pytest.raises(DataError, match=r"b: lacks 1 of 3 samples of a, such as 'y/three.mp4'; --common"):
        align([scores_of(A), shorter])
    with pytest.raises(DataError, match=r"b: lacks 1 of 3"):
        align([shorter, scores_of(A)])
    assert [file.ids for file in align([scores_of(A), shorter], common=True)] == [IDS[:2], IDS[:2]]


def test_other_labels_of_a_sample_are_refused():
    other = scores_of(B, labels=((0,), (2,), (2,)), name="b")
    with pytest.raises(DataError, match=r"b: 1 of 3 samples.*'x/two.mp4' with \[2\] and \[1\]"):
        align([scores_of(A), other])


def test_other_classes_are_refused():
    with pytest.raises(DataError, match="b: has scores of 2 classes, a of 3"):
        align([scores_of(A), scores_of(B[:, :2], name="b")])
    named = [scores_of(A, classes=("p", "q", "r")), scores_of(B, classes=("p", "r", "q"), name="b")]
    with pytest.raises(DataError, match="b: class 1 is 'r', in a it is 'q'"):
        align(named)


def test_classes_are_compared_among_all_files_that_tell_them():
    files = [
        scores_of(A, ids=None, name="p"),
        scores_of(A, classes=("p", "q", "r")),
        scores_of(B, classes=("p", "r", "q"), name="b"),
    ]
    with pytest.raises(DataError, match="b: class 1 is 'r', in a it is 'q'"):
        align(files, match="order")


def test_names_of_samples_and_classes_come_from_the_first_file_that_has_such():
    files = [
        scores_of(A, ids=None),
        scores_of(B, name="b"),
        scores_of(B, ids=("1", "2", "3"), classes=("p", "q", "r"), name="c"),
    ]
    fused = fuse(align(files, match="order"), [1, 1, 1])
    assert (fused.ids, fused.classes) == (IDS, ("p", "q", "r"))


def test_files_without_ids_are_matched_by_row_and_need_equally_many():
    plain = [scores_of(values, ids=None, name=name) for name, values in (("a", A), ("b", B))]
    assert [file.name for file in align(plain)] == ["a", "b"]
    shorter = scores_of(B[:2], ids=None, labels=LABELS[:2], name="b")
    with pytest.raises(DataError, match="a has 3, b has 2"):
        align([plain[0], shorter])


def test_a_file_without_ids_beside_one_with_them_needs_a_word():
    files = [scores_of(A), scores_of(B, ids=None, name="b")]
    with pytest.raises(ConfigError, match=r"b: names no samples.*--match order"):
        align(files)
    assert align(files, match="order")[1].name == "b"


def test_labels_may_come_from_one_of_the_files():
    first, second = align([scores_of(A, labels=None), scores_of(B)])
    assert first.labels == second.labels == LABELS
    with pytest.raises(DataError, match="no file tells labels"):
        align([scores_of(A, labels=None), scores_of(B, labels=None)])


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_score_file_comes_back_as_it_was_written(write):
    values = A.copy()
    values[1] = np.nan
    found = read_score_file(write("a.parquet", values, classes=("p", "q", "r")))
    np.testing.assert_array_equal(found.scores, values)
    assert (found.ids, found.labels, found.classes, found.multi_label) == (IDS, LABELS, ("p", "q", "r"), False)
    assert found.missed.tolist() == [False, True, False]


def test_a_file_without_metadata_is_taken_as_it_looks(tmp_path, write):
    table = pq.read_table(write("a.parquet", A, labels=((0,), (), (1, 2)), multi_label=True))
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "b.parquet")
    found = read_score_file(tmp_path / "b.parquet")
    assert found.multi_label
    assert found.labels == ((0,), (), (1, 2))


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (IDS, pa.array([0, 1, 2])),
        (IDS, pa.array([0, 1, 2], pa.uint8())),
        (pa.array(IDS, pa.large_string()), pa.array([[0], [1], [2]], pa.large_list(pa.int64()))),
        (pa.array(IDS).dictionary_encode(), pa.array([[0], [1], [2]], pa.list_(pa.int16(), 1))),
    ],
)
def test_tables_of_other_programs_are_read(tmp_path, ids, labels):
    pq.write_table(pa.table({"id": ids, "labels": labels, "scores": list(A)}), tmp_path / "a.parquet")
    found = read_score_file(tmp_path / "a.parquet")
    assert (found.ids, found.labels, found.multi_label) == (IDS, LABELS, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": [1, 2, 3]}, "its column id holds int64; write the samples' names"),
        ({"id": pa.nulls(3)}, "its column id holds null"),
        ({"id": ["a", None, "c"]}, r"row 1 has no id \(None\)"),
        ({"id": ["a", "b", ""]}, r"row 2 has no id \(''\)"),
        ({"labels": [0.0, 1.0, None]}, "its column labels holds double; write each sample's class"),
        ({"labels": [[0.0], [1.0], [0.5]]}, "its column labels holds list<.*double>"),
        ({"labels": ["x", "y", "z"]}, "its column labels holds string"),
        ({"labels": [["x"], ["y"], ["z"]]}, "its column labels holds list<.*string>"),
        ({"labels": [True, False, True]}, "its column labels holds bool"),
        ({"labels": pa.nulls(3)}, "its column labels holds null"),
        ({"labels": [[0], None, [2]]}, "'b' has the labels None"),
        ({"labels": [[0], [1, None], [2]]}, r"'b' has the labels \[1, None\]"),
        ({"labels": [0, None, 2]}, "'b' has the labels None"),
        ({"labels": [[0], [1], [2, 2]]}, r"'c' has the labels \[2, 2\]; each class may be there once"),
    ],
)
def test_tables_with_odd_names_or_labels_are_refused(tmp_path, changes, message):
    columns = {"id": ["a", "b", "c"], "labels": [[0], [1], [2]], "scores": list(A)} | changes
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: {message}"):
        read_score_file(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (b"[1]", "should be an object"),
        (b"\xff", "Invalid JSON"),
        (b'{"classes": 3}', "classes: "),
        (b'{"classes": ["p", 2, "r"]}', "classes: 1: "),
        (b'{"multi_label": "yes"}', "multi_label: "),
        (b'{"classes": ["p"]}', "1 class names for 3 scores"),
    ],
)
def test_odd_metadata_are_refused(tmp_path, write, metadata, message):
    table = pq.read_table(write("a.parquet", A)).replace_schema_metadata({b"vidflow": metadata})
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=rf"b\.parquet: .*{message}.*dump the scores again"):
        read_score_file(tmp_path / "b.parquet")


def test_a_pickle_of_mmaction2_is_read(tmp_path):
    found = read_score_file(write_pickle(tmp_path / "a.pkl", A))
    np.testing.assert_array_equal(found.scores, A)
    assert (found.ids, found.labels, found.multi_label) == (None, LABELS, False)


def test_a_pickle_of_an_older_mmaction2_is_read(tmp_path):
    entries = [{"pred_scores": {"item": torch.tensor(row)}, "gt_labels": {"item": torch.tensor([2])}} for row in A]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(entries))
    assert read_score_file(tmp_path / "a.pkl").labels == ((2,),) * 3
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(list(A)))
    found = read_score_file(tmp_path / "b.pkl")
    np.testing.assert_array_equal(found.scores, A)
    assert found.labels is None


def test_a_multi_label_pickle_has_zeros_and_ones(tmp_path):
    truths = [[1.0, 0, 0], [0.0, 1, 1], [0.0, 0, 0]]
    found = read_score_file(write_pickle(tmp_path / "a.pkl", A, truths))
    assert found.multi_label
    assert found.labels == ((0,), (1, 2), ())


def test_zeros_and_ones_may_be_whole_numbers(tmp_path):
    for name, values, truths in (
        ("a.pkl", A, [[1, 0, 0], [0, 1, 1], [0, 0, 0]]),
        ("b.pkl", A[:, :2], [[1, 0], [0, 1], [1, 0]]),
        ("c.pkl", A[:, :2], [[True, False], [False, True], [True, True]]),
    ):
        found = read_score_file(write_pickle(tmp_path / name, values, truths))
        assert found.multi_label
        assert found.labels == tuple(tuple(np.flatnonzero(truth).tolist()) for truth in truths)


def test_lists_of_classes_are_read_where_no_zeros_and_ones_can_be_meant(tmp_path):
    found = read_score_file(write_pickle(tmp_path / "a.pkl", A, [[1, 2], [0], [0.0, 1.0]]))
    assert found.multi_label
    assert found.labels == ((1, 2), (0,), (0, 1))


def test_the_only_class_of_a_pickle_is_a_whole_number(tmp_path):
    found = read_score_file(write_pickle(tmp_path / "a.pkl", A[:, :1], [0, 0, 0]))
    assert (found.labels, found.multi_label) == (((0,),) * 3, False)


class Touches:
    """Its unpickling would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([{"pred_score": Touches(tmp_path / "marker")}]))
    with pytest.raises(DataError, match="nothing was loaded"):
        read_score_file(tmp_path / "a.pkl")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "holds a dict"),
        ([], "holds a list"),
        ([{"gt_label": 1}], "entry 0 has no pred_score"),
        ([{"pred_scores": {"action": A[0]}, "gt_label": 0}], "but for action"),
        ([{"pred_score": A[0]}], "entry 0 has no gt_label"),
        ([A[0], A[0][:2]], r"scores of shape \[2\], \[3\]"),
        ([A, A], r"scores of shape \[3, 3\]"),
        (["text"], "its scores are no numbers"),
        ([{"pred_score": A[0], "gt_label": 3}], "row 0 has the label 3, there are 3 classes"),
        ([{"pred_score": A[0], "gt_label": -1}], "row 0 has the label -1"),
        ([{"pred_score": A[0], "gt_label": None}], "entry 0 has the gt_label None; it must be a class"),
        ([{"pred_score": A[0], "gt_label": "x"}], "entry 0 has the gt_label x"),
        ([{"pred_score": A[0], "gt_label": [0, [1]]}], r"entry 0 has the gt_label \[0, \[1\]\]"),
        ([{"pred_score": A[0], "gt_label": torch.ones(1, requires_grad=True)}], r"entry 0 has the gt_label tensor"),
        ([{"pred_score": torch.ones(2, requires_grad=True), "gt_label": 1}], r"its scores are no numbers"),
        ([{"pred_score": A[0], "gt_label": np.array([1.7])}], r"entry 0 has the gt_label \[1.7\]"),
        ([{"pred_score": A[0], "gt_label": np.array([np.nan])}], r"entry 0 has the gt_label \[nan\]"),
        ([{"pred_score": A[0], "gt_label": [0.2, 0.8, 0.0]}], r"entry 0 has the gt_label \[0.2, 0.8, 0.0\]"),
        ([{"pred_score": A[0], "gt_label": [True, False]}], r"entry 0 has the gt_label \[True, False\]"),
        ([{"pred_score": A[0], "gt_label": [1, 1]}], r"row 0 has the labels \[1, 1\]; each class may be there once"),
        (
            [{"pred_score": A[0, :2], "gt_label": [1]}, {"pred_score": A[1, :2], "gt_label": [1, 0]}],
            r"entry 1 has the gt_label \[1, 0\], zeros and ones or classes",
        ),
        ([{"pred_score": np.array([0.5, np.nan]), "gt_label": 0}], "row 0 are partly not finite"),
    ],
)
def test_odd_pickles_are_refused(tmp_path, content, message):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=rf"a\.pkl: .*{message}"):
        read_score_file(tmp_path / "a.pkl")


def test_a_file_that_is_no_score_file_is_refused(tmp_path):
    for name in ("none.parquet", "none.pkl"):
        with pytest.raises(DataError, match=r"(?i)no such file"):
            read_score_file(tmp_path / name)
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="no readable Parquet file"):
        read_score_file(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="has no column labels, scores"):
        read_score_file(tmp_path / "other.parquet")


def test_a_sample_that_is_there_twice_is_refused(write):
    with pytest.raises(DataError, match=r"has 'x/one.mp4' more than once"):
        read_score_file(write("a.parquet", A, ids=("x/one.mp4", "x/two.mp4", "x/one.mp4")))


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a", "b", "--weights", "1", "2"], ["a", "b", "--weights", "1", "--weights", "2"]),
        (["--weights", "1", "2e-1", "a", "b"], ["--weights", "1", "--weights", "2e-1", "a", "b"]),
        (["--weights", "1", "--weights", "2", "a"], ["--weights", "1", "--weights", "2", "a"]),
        (["--weights=1", "a", "3"], ["--weights=1", "a", "3"]),
        (["--weights=1", "0.5", "a"], ["--weights=1", "--weights", "0.5", "a"]),
        (["--weights=1", "--weights=2", "a", "3"], ["--weights=1", "--weights=2", "a", "3"]),
        (["--weights", "1", "a,b"], ["--weights", "1", "a,b"]),
        (["a", "--weights"], ["a", "--weights"]),
        (["--weights", "1", "--", "2"], ["--weights", "1", "--", "2"]),
    ],
)
def test_weights_may_follow_their_option_in_a_row(words, expected):
    assert spread_weights(words) == expected


def test_the_command_prints_each_file_and_the_fused_scores(write, tmp_path, capsys):
    files = write("a.parquet", A), write("b.parquet", B)
    assert command(*files, "--weights", 2, 1, "--json", "--out", tmp_path / "deep/fused.parquet") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["num_samples"] == 3
    assert [entry["weight"] for entry in values["files"]] == [2, 1]
    assert [entry["metrics"]["top1"] for entry in values["files"]] == pytest.approx([1 / 3, 2 / 3])
    assert values["metrics"]["top1"] == pytest.approx(1)
    assert command(tmp_path / "deep/fused.parquet") == 0
    assert "top1                       1.0000" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["fused.parquet"]


def test_the_command_counts_what_it_leaves_out(write, capsys):
    files = write("a.parquet", A), write("b.parquet", B[:2], ids=IDS[:2], labels=LABELS[:2])
    assert command(*files) == 3
    assert command(*files, "--common") == 0
    shown = capsys.readouterr()
    assert "fused, 2 samples" in shown.out
    assert "a.parquet: 1 samples are left out" in shown.err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--weights", "1", "2"], 2, "2 for 1 files"),
        (["--match", "name"], 2, "--match name: there is id, stem and order"),
        (["--out", "fused.csv"], 2, "let the name end in .parquet"),
        (["--weights", "-1"], 2, "--weights -1: each must be a number from 0"),
        (["--weights", "b"], 2, "--weights b: no number"),
        (["--weights=b"], 2, "--weights b: no number"),
        (["--weights="], 2, "--weights : no number"),
        (["--weights", "1,1"], 2, "--weights 1,1: no number; write one for each file, with spaces between"),
        (["--weights=1,1"], 2, "--weights 1,1: no number"),
        (["--weights", "1,", "1"], 2, "--weights 1,: no number"),
        (["--weights", "1", "0,5"], 2, "--weights 0,5: no number"),
        (["missing.parquet"], 3, "missing.parquet: no such file"),
    ],
)
def test_the_command_refuses_wrong_options(write, words, status, message, capsys):
    assert command(write("a.parquet", A), *words) == status
    assert message in capsys.readouterr().err


@pytest.mark.skipif("VIDFLOW_MEDIA" not in os.environ, reason="needs a folder of real files in VIDFLOW_MEDIA")
def test_joint_and_bone_of_mmaction2s_demo_give_the_published_accuracy(capsys):
    folder = Path(os.environ["VIDFLOW_MEDIA"]) / "videos/mmaction2_demo"
    assert command(folder / "joint.pkl", folder / "bone.pkl", "--weights", 1, 1, "--json") == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert round(metrics["top1"], 4) == 0.9333
    assert round(metrics["top5"], 4) == 0.9833
    assert round(metrics["mean_class_accuracy"], 4) == 0.9180
