"""Annotation lists as a source: every way to write a line, labels, and errors with file and line."""

from pathlib import Path

import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.shards.sources.annotations import named_file, read_annotations
from vidflow.shards.sources.classes import read_class_names
from vidflow.shards.sources.lines import Columns


@pytest.fixture
def read(tmp_path):
    """``read(text, ...)`` reads a list of files that are made to exist; the split is train."""

    def run(
        text: str | bytes,
        *files: str,
        name: str = "list.txt",
        split: str | None = "train",
        ratio: float | None = None,
        **options,
    ):
        for file in files:
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_annotations([f"{split}={path}" if split else str(path)], split=ratio, **options)

    return run


def pairs(source) -> list[tuple[str, tuple[int, ...]]]:
    return [(item.id, item.labels) for item in source.items]


@pytest.mark.parametrize(
    "line",
    [
        "a b.mp4 1",
        "a b.mp4  1",
        "a b.mp4\t1",
        "a b.mp4,1",
        "a b.mp4, 1",
        '"a b.mp4" 1',
        '"a b.mp4",1',
        "  a b.mp4 1  ",
        "a b.mp4;1",
    ],
)
def test_all_ways_to_part_path_and_label(read, line):
    assert pairs(read(f"x.mp4 0\n{line}\n", "x.mp4", "a b.mp4")) == [("x.mp4", (0,)), ("a b.mp4", (1,))]


def test_byte_order_mark_line_ends_and_blank_lines(read):
    assert pairs(read(b"\xef\xbb\xbfa.mp4 0\r\n\r\n   \r\nb.mp4 1\r\n", "a.mp4", "b.mp4")) == [
        ("a.mp4", (0,)),
        ("b.mp4", (1,)),
    ]


@pytest.mark.parametrize(
    "name",
    ["drinking (31).mp4", "v1.5 a.mp4", "a,b.mp4", "a {1..3}::b.mp4", "日本 x.mp4", "clip 7", "x.MP4", 'q"x.mp4'],
)
def test_odd_names(read, name):
    assert pairs(read(f"{name} 0\n", name)) == [(name, (0,))]


def test_a_path_in_quotes_may_hold_quotes(read):
    assert pairs(read('"a ""b"".mp4" 0\n', 'a "b".mp4')) == [('a "b".mp4', (0,))]


@pytest.mark.parametrize("line", ['v0.mp4,"{}"', 'v0.mp4 "{}"', 'v0.mp4\t"{}"', '"v0.mp4" "{}"', 'v0.mp4, "{}" '])
@pytest.mark.parametrize(("quoted", "name"), [("a, b", "a, b"), ('say ""a""', 'say "a"'), ("run", "run")])
def test_a_label_in_quotes_is_what_a_table_makes_of_it(read, line, quoted, name):
    source = read(f"{line.format(quoted)}\n", "v0.mp4")
    assert (source.classes, pairs(source)) == ((name,), [("v0.mp4", (0,))])
    assert read(f'path,label\nv0.mp4,"{quoted}"\n').classes == (name,)


@pytest.mark.parametrize(
    ("line", "path", "name"),
    [
        ('v 0 "a, b"', "v 0", "a, b"),
        ('v 0 a"b"', "v 0", 'a"b"'),
        ('v0.mp4 "a" b', "v0.mp4", '"a" b'),
        ('v0.mp4 "a', "v0.mp4", '"a'),
    ],
)
def test_quotes_that_hold_no_whole_label_belong_to_it(read, line, path, name):
    source = read(f"{line}\n", path)
    assert (source.classes, pairs(source)) == ((name,), [(path, (0,))])


def test_several_labels_in_quotes(read):
    source = read('a.mp4,"run, jump"\n', "a.mp4", multi_label=True)
    assert (source.classes, pairs(source)) == (("jump", "run"), [("a.mp4", (1, 0))])


@pytest.mark.parametrize("label", ['""', '" "'])
def test_quotes_with_nothing_in_them_are_no_label(read, label):
    with pytest.raises(DataError, match=r"list\.txt:1:\d+: no label after"):
        read(f"a.mp4,{label}\n", "a.mp4")


def test_a_name_that_is_not_utf8(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4 0\n")
    (tmp_path / "caf\udce9.mp4").write_bytes(b"")
    source = read_annotations([f"train={tmp_path / 'list.txt'}"])
    assert source.items[0].id == "caf\\udce9.mp4"
    assert Path(source.items[0].path).exists()


@pytest.mark.parametrize("text", ["a.mp4,0,3\n", "a.mp4 0 3\n", "a.mp4\t0\t3\n", "a.mp4 0,3\n", "a.mp4\t0 3\n"])
def test_several_labels(read, text):
    source = read(text, "a.mp4", multi_label=True)
    assert source.multi_label
    assert pairs(source) == [("a.mp4", (0, 3))]


def test_a_multi_label_line_may_have_no_label(read):
    assert pairs(read("a.mp4\nb c.mp4 1\n", "a.mp4", "b c.mp4", multi_label=True)) == [("a.mp4", ()), ("b c.mp4", (1,))]


def test_several_labels_need_the_option(read):
    with pytest.raises(DataError, match=r"list\.txt:1:7: several labels \(0 3\); give --multi-label"):
        read("a.mp4 0 3\n", "a.mp4")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4", "no label"),
        ("a.mp4 -1", r"label -1 lies outside \[0, 0\]"),
        ("a.mp4 1.0", "label '1.0' is no whole number"),
        ("a.mp4 run", "label 'run' is no whole number"),
        ("a.mp4,", "no label"),
        ("a.mp4\t", "no label"),
        ("a.mp4 1e3", "no whole number"),
        (f"a.mp4 {'9' * 5000}", "no whole number"),
    ],
)
def test_bad_lines_are_refused_with_file_and_line(read, line, message):
    with pytest.raises(DataError, match=rf"list\.txt:2:\d+: .*{message}"):
        read(f"b.mp4 0\n{line}\n", "a.mp4", "b.mp4")


def test_all_bad_lines_are_listed_at_once(read):
    with pytest.raises(DataError, match=r"(?s)^12 labels.*:1:.*:10:.*and 2 more"):
        read("".join(f"{i}.mp4 -1\n" for i in range(12)) + "a.mp4 0\n", "a.mp4")


@pytest.mark.parametrize("label", [1011, 2_000_000, 10**12])
def test_one_label_far_beyond_the_others_is_refused_with_its_line(read, label):
    with pytest.raises(DataError, match=rf"list\.txt:2:7: label {label} makes {label + 1} classes.*1 .*--num-classes"):
        read(f"\nb.mp4 {label}\n", "b.mp4")


def test_sparse_labels_are_taken_where_they_are_many_or_their_number_is_given(read):
    assert len(read("a.mp4 0\nb.mp4 1000\n", "a.mp4", "b.mp4").classes) == 1001
    names = [f"{i}.mp4" for i in range(200)]
    assert len(read("".join(f"{name} {15 * i}\n" for i, name in enumerate(names)), *names).classes) == 2986
    assert len(read("a.mp4 5000\n", "a.mp4", num_classes=6000).classes) == 6000


def test_labels_may_be_names(read):
    source = read("a.mp4 run fast\nb.mp4 jump\n", "a.mp4", "b.mp4")
    assert source.classes == ("jump", "run fast")
    assert pairs(source) == [("a.mp4", (1,)), ("b.mp4", (0,))]


def test_given_classes_decide_the_indices_of_names_and_bound_numbers(read):
    source = read("a.mp4 run fast\nb.mp4 0\n", "a.mp4", "b.mp4", classes=("walk", "run fast"))
    assert pairs(source) == [("a.mp4", (1,)), ("b.mp4", (0,))]


def test_an_unknown_class_gets_the_nearest_name(read):
    with pytest.raises(DataError, match=r"no class 'wallk'; did you mean 'walk'\?"):
        read("a.mp4 wallk\n", "a.mp4", classes=("walk", "run"))


def test_labels_from_one_are_refused_with_the_remedy(read):
    with pytest.raises(
        DataError, match=r"labels run from 1 to 3, there are 3 classes\); the list counts from 1: give --first-label 1"
    ):
        read("a.mp4 1\nb.mp4 2\nc.mp4 3\n", "a.mp4", "b.mp4", "c.mp4", num_classes=3)


def test_labels_from_one_without_a_class_count_are_warned_of(read):
    source = read("a.mp4 1\nb.mp4 2\n", "a.mp4", "b.mp4")
    assert source.classes == ("0", "1", "2")
    assert any("--first-label 1" in warning for warning in source.warnings)


def test_first_label_one_shifts(read):
    source = read("a.mp4 1\nb.mp4 2\n", "a.mp4", "b.mp4", first_label=1)
    assert (source.classes, pairs(source)) == (("0", "1"), [("a.mp4", (0,)), ("b.mp4", (1,))])


def test_first_label_one_refuses_zero(read):
    with pytest.raises(DataError, match=r"label 0 lies outside \[1, 2\]"):
        read("a.mp4 0\nb.mp4 2\n", "a.mp4", "b.mp4", first_label=1)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_csv_with_a_header(read, delimiter):
    text = "id,Video_Path,label,split,group\n7,a b.mp4,run,train,g1\n8,b.mp4,jump,val,\n".replace(",", delimiter)
    source = read(text, "a b.mp4", "b.mp4", name="list.csv", split=None)
    assert source.classes == ("jump", "run")
    assert [(i.id, i.labels, i.split, i.group) for i in source.items] == [
        ("a b.mp4", (1,), "train", "g1"),
        ("b.mp4", (0,), "val", None),
    ]


def test_csv_cells_in_quotes_hold_commas(read):
    source = read('path,label\n"a, b.mp4","run, fast"\n', "a, b.mp4", name="list.csv")
    assert (source.classes, pairs(source)) == (("run, fast",), [("a, b.mp4", (0,))])


def test_csv_columns_by_option(read):
    columns = Columns(path="where", label="what")
    assert pairs(read("what,where,label\n1,a.mp4,9\n", "a.mp4", name="list.csv", columns=columns)) == [("a.mp4", (1,))]


def test_a_csv_column_that_is_missing_is_named(read):
    with pytest.raises(DataError, match="no column 'part'"):
        read("path,label\na.mp4,0\n", "a.mp4", split=None, columns=Columns(split="part"))


def test_a_list_without_the_named_columns_is_refused(read):
    with pytest.raises(DataError, match="no header"):
        read("a.mp4 0\n", "a.mp4", columns=Columns(path="where"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4", "1 cells, the header has 2"),
        ("a.mp4,", "no label"),
        (",0", "no path"),
        ('"a.mp4,0', "not CSV"),
        ("a.mp4,0,1", "3 cells"),
    ],
)
def test_bad_csv_lines_are_refused_with_file_and_line(read, line, message):
    with pytest.raises(DataError, match=rf"list\.csv:3: {message}|list\.csv:3.*\n.*{message}"):
        read(f"path,label\nb.mp4,0\n{line}\n", "a.mp4", "b.mp4", name="list.csv")


def test_multi_label_csv_cells(read):
    source = read("path,labels\na.mp4,run|jump\nb.mp4,\n", "a.mp4", "b.mp4", name="list.csv", multi_label=True)
    assert (source.classes, pairs(source)) == (("jump", "run"), [("a.mp4", (1, 0)), ("b.mp4", ())])


def test_missing_files_are_listed_up_front(read):
    with pytest.raises(DataError, match=r"(?s)^2 files of the list are missing.*list\.txt:2.*gone\.mp4.*list\.txt:3"):
        read("a.mp4 0\ngone.mp4 0\nlost.mp4 0\n", "a.mp4")


def test_a_path_too_long_for_a_file_is_missing(read):
    with pytest.raises(DataError, match=r"1 files of the list are missing.*\n.*list\.txt:1"):
        read(f"{'a' * 300}.mp4 0\n")
    assert len(read(f"{'a' * 300}.mp4 0\n", allow_missing=True).items) == 1
    assert named_file(f"train={'a' * 300}") == ("train", Path("a" * 300))


@pytest.mark.parametrize("text", ["a.mp4 0\n".encode("utf-16"), b"\na.mp4\0 0\n", b"\nPK\3\4\0"])
def test_a_list_with_nul_bytes_is_refused(read, text):
    with pytest.raises(DataError, match=r"list\.txt:[12]: holds NUL bytes; save it as UTF-8 text"):
        read(text, allow_missing=True)


def test_missing_files_may_be_left_to_packing(read):
    assert len(read("a.mp4 0\ngone.mp4 0\n", "a.mp4", allow_missing=True).items) == 2


def test_paths_are_relative_to_the_root_or_to_the_list(read, tmp_path):
    source = read("sub/a.mp4 0\n", "sub/a.mp4")
    assert source.items[0].path == str(tmp_path / "sub" / "a.mp4")
    source = read("a.mp4 0\n", root=tmp_path / "sub")
    assert source.items[0].path == str(tmp_path / "sub" / "a.mp4")


def test_an_exact_repeat_counts_once(read):
    source = read("a.mp4 0\nb.mp4 1\n./a.mp4 0\n", "a.mp4", "b.mp4")
    assert len(source.items) == 2
    assert source.skipped == {"line that repeats another": 1}


def test_a_file_with_two_labels_is_refused(read):
    with pytest.raises(DataError, match=r"list\.txt:2.*a\.mp4 was at .*list\.txt:1"):
        read("a.mp4 0\na.mp4 1\n", "a.mp4")


def test_a_file_in_two_splits_is_refused(read, tmp_path):
    read("a.mp4 0\n", "a.mp4", name="train.txt")
    (tmp_path / "val.txt").write_text("a.mp4 0\n")
    with pytest.raises(DataError, match="in another split"):
        read_annotations([f"train={tmp_path / 'train.txt'}", f"val={tmp_path / 'val.txt'}"])


def test_two_files_of_one_path_are_refused(read, tmp_path):
    """A sample is known by its path, and these could not be told apart."""
    read("1.mp4 0\n", "x/1.mp4", name="x/list.txt")
    read("1.mp4 0\n", "y/1.mp4", name="y/list.txt")
    lists = [f"train={tmp_path / 'x' / 'list.txt'}", f"val={tmp_path / 'y' / 'list.txt'}"]
    message = r"1 paths are those of two files.* --src:\n.*y/list\.txt:1:7: 1\.mp4 is .*y/1\.mp4, at .*x/list\.txt:1:7"
    with pytest.raises(DataError, match=message):
        read_annotations(lists)
    for name in "xy":
        (tmp_path / name / "list.txt").write_text(f"{name}/1.mp4 0\n")
    assert [item.id for item in read_annotations(lists, root=tmp_path).items] == ["x/1.mp4", "y/1.mp4"]


def test_one_list_is_split_by_ratio(read):
    names = [f"{i}.mp4" for i in range(20)]
    source = read("".join(f"{name} 0\n" for name in names), *names, split=None, ratio=0.75)
    assert [item.split for item in source.items].count("val") == 5


def test_a_list_without_any_split_is_refused(read):
    with pytest.raises(ConfigError, match="no split"):
        read("a.mp4 0\n", "a.mp4", split=None)


def test_a_split_name_that_cannot_name_a_file_is_refused(read):
    with pytest.raises(DataError, match="cannot name a split"):
        read("path,label,split\na.mp4,0,{1..3}\n", "a.mp4", split=None)


def test_splits_that_differ_in_case_alone_are_refused(read):
    message = r"list\.txt:3: split 'TRAIN' differs from 'Train' \(.*list\.txt:2\) in case alone"
    with pytest.raises(DataError, match=message):
        read("path,label,split\na.mp4,0,Train\nb.mp4,0,TRAIN\n", "a.mp4", "b.mp4", split=None)


def test_class_names_from_a_file(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfrun fast\r\njump\r\n\r\n")
    assert read_class_names(tmp_path / "classes.txt") == ("run fast", "jump")


def test_a_class_named_twice_is_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"classes\.txt:3: class 'a' was on line 1"):
        read_class_names(tmp_path / "classes.txt")


def test_an_empty_list_is_refused(read):
    with pytest.raises(DataError, match="no lines"):
        read("\n\n")
