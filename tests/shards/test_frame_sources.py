"""Frame folders are packed whole: names and first number are found, gaps and odd pictures are reported by number."""

import os

import cv2
import numpy as np
import pytest

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError, DecodeError
from vidflow.members import flow_arrays, frame_arrays
from vidflow.pipelines.reading import read_members
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.frame_folders import FrameFolder


def picture(number: int, height: int = 12, width: int = 16) -> np.ndarray:
    """Plain grey of a brightness that tells the number."""
    return np.full((height, width, 3), 20 * number + 10, np.uint8)


@pytest.fixture
def frames(tmp_path):
    """``frames("clip", range(5), "img_{:05d}.jpg")`` writes a folder of frames."""

    def write(name: str, numbers, template: str = "img_{:05d}.jpg", **size):
        folder = tmp_path / "source" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            assert cv2.imwrite(str(folder / template.format(number)), picture(number, **size))
        return folder

    return write


def read(folder, **options):
    return FrameFolder(**options).read(str(folder), conceal=False)


def names(contents) -> list[str]:
    return [member.path.rpartition("/")[2] for member in contents.members]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("template", ["img_{:05d}.jpg", "{}.png", "frame-{:02d}.JPEG"])
def test_names_and_first_number_are_found(frames, first, template):
    contents = read(frames("clip", range(first, first + 12), template))
    suffix = "png" if template.endswith("png") else "jpg"
    assert [member.suffix for member in contents.members] == [f"rgb.{i:05d}.{suffix}" for i in range(1, 13)]
    assert names(contents) == [template.format(number) for number in range(first, first + 12)]
    assert (contents.info.num_frames, contents.info.width, contents.info.height) == (12, 16, 12)


def test_a_gap_is_reported_with_its_number(frames):
    with pytest.raises(DataError, match=r"frame number 3, 5 is missing \(2 in all\); the numbers go from 0 to 6"):
        read(frames("clip", [0, 1, 2, 4, 6]))


def test_frames_that_begin_late_are_reported(frames):
    with pytest.raises(DataError, match="frames begin with number 2; 0 or 1 is missing"):
        read(frames("clip", [2, 3]))


@pytest.mark.parametrize("first", [0, 1])
def test_the_list_s_total_and_offset_choose_the_frames(frames, first):
    folder = frames("clip", range(first, first + 10))
    assert names(read(folder, offset=4, num_frames=3)) == [f"img_{first + i:05d}.jpg" for i in (4, 5, 6)]
    with pytest.raises(DataError, match=rf"frame number {first + 10} is missing"):
        read(folder, num_frames=11)
    far = rf"frame number {first + 10}, {first + 11}, .* is missing \(999999999990 in all\)"
    with pytest.raises(DataError, match=far):
        read(folder, num_frames=10**12)


def test_flow_is_packed_beside_the_frames_with_one_step_less(frames):
    folder = frames("clip", range(1, 5))
    frames("clip", range(1, 4), "flow_x_{:05d}.jpg")
    frames("clip", range(1, 4), "flow_y_{:05d}.jpg")
    contents = read(folder)
    assert contents.info.num_flow == 3
    assert [member.suffix for member in contents.members][4:] == [
        f"flow_{axis}.{step:05d}.jpg" for step in (1, 2, 3) for axis in "xy"
    ]


def test_flow_of_one_direction_only_is_refused(frames):
    folder = frames("clip", range(1, 5))
    frames("clip", range(1, 4), "x_{:05d}.jpg")
    with pytest.raises(DataError, match="flow has x only"):
        read(folder)


def test_a_gap_in_the_flow_is_refused(frames):
    folder = frames("clip", range(1, 5))
    frames("clip", range(1, 4), "x_{:05d}.jpg")
    frames("clip", [1, 3], "y_{:05d}.jpg")
    with pytest.raises(DataError, match="flow y number 2 is missing"):
        read(folder)


def test_several_series_need_a_template(frames):
    folder = frames("clip", range(1, 4))
    frames("clip", range(1, 3), "thumb_{:03d}.jpg")
    with pytest.raises(
        DataError, match=r"several series of frames; there are img_00001\.jpg, thumb_001\.jpg; give --template"
    ):
        read(folder)
    assert len(read(folder, template="img_%05d.jpg").members) == 3
    with pytest.raises(DataError, match=r"no file is called like none_%d\.jpg"):
        read(folder, template="none_%d.jpg")


@pytest.mark.parametrize("template", ["img.jpg", "img_%05d", "a/%d.jpg", "%d_%d.jpg"])
def test_a_template_that_is_none_is_refused(template):
    with pytest.raises(ConfigError, match="--template"):
        read_source("frames", KindOptions(template=template))


def test_two_files_of_one_number_are_refused(frames):
    folder = frames("clip", range(1, 4))
    frames("clip", [1], "img_{:03d}.jpg")
    with pytest.raises(DataError, match="have the same number"):
        read(folder)


def test_a_picture_of_another_size_is_refused_by_name(frames):
    folder = frames("clip", [1, 3])
    frames("clip", [2], height=6)
    with pytest.raises(DataError, match=r"img_00002\.jpg has 16x6 pixels, the first frame 16x12"):
        read(folder)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("template", ["{}.jpg", "{}.png"])
def test_a_cut_picture_is_refused_by_name(frames, keep, template):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    folder = frames("clip", [1, 3], template)
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / template.format(number)), noise)
    path = folder / template.format(2)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DecodeError, match=f"{template.format(2)}: (damaged|0 bytes)"):
        read(folder)


def test_an_empty_folder_and_other_files_are_refused(frames, tmp_path):
    folder = frames("clip", [])
    with pytest.raises(DataError, match="holds no numbered"):
        read(folder)
    (folder / "img_00001.jpg").write_bytes(b"GIF89a....")
    with pytest.raises(DataError, match=r"img_00001\.jpg: neither JPEG nor PNG"):
        read(folder)


def test_packed_frames_read_back_as_the_pictures_that_they_were(frames, packed, tmp_path):
    folder = frames("run/a clip", range(5))
    frames("run/a clip", range(4), "x_{:05d}.jpg")
    frames("run/a clip", range(4), "y_{:05d}.jpg")
    frames("walk/b", range(1, 3))
    packed(read_source("frames", KindOptions(src=tmp_path / "source", split=0.5)), shuffle=False)
    dataset = PackedDataset.open(tmp_path / "out")
    found = {record.id: (record, members) for _, record, members in read_members(dataset, np.arange(2))}
    record, members = found["run/a clip"]
    assert (record.kind, record.frames.num_frames, record.frames.num_flow, record.labels) == ("frames", 5, 4, (0,))
    for number in range(5):
        assert members[f"rgb.{number + 1:05d}.jpg"] == (folder / f"img_{number:05d}.jpg").read_bytes()
    pixels = frame_arrays(record, members, [4, 0, 4])
    assert pixels.shape == (3, 12, 16, 3)
    assert pixels[:, 0, 0, 0].tolist() == [90, 10, 90]
    assert flow_arrays(record, members, [3])[0, 0, 0].tolist() == [70, 70]


def lists(tmp_path, text: str, **options):
    (tmp_path / "list.txt").write_text(text)
    options = {"annotations": [f"train={tmp_path / 'list.txt'}"], "src": tmp_path / "source"} | options
    return read_source("frames", KindOptions(**options))


def test_lists_name_folder_total_and_label(frames, tmp_path):
    frames("a b", range(3))
    frames("c", range(3))
    source = lists(tmp_path, "\ufeffa b 3 1\r\nc 2 0\r\nc 2 0\r\n")
    assert [(item.id, item.labels, item.reader.num_frames) for item in source.items] == [
        ("a b", (1,), 3),
        ("c", (0,), 2),
    ]
    assert source.skipped == {"line that repeats another": 1}


def test_a_csv_names_folders_of_which_all_frames_are_taken(frames, tmp_path):
    frames("a b", range(3))
    frames("c", range(1, 5))
    (tmp_path / "list.csv").write_text("path,label,split\na b,run,train\nc,walk,val\n")
    source = read_source("frames", KindOptions(annotations=[str(tmp_path / "list.csv")], src=tmp_path / "source"))
    assert [(item.id, item.labels, item.split) for item in source.items] == [("a b", (0,), "train"), ("c", (1,), "val")]
    assert [item.reader.read(item.path, conceal=False).info.num_frames for item in source.items] == [3, 4]


def test_parts_of_one_folder_are_samples_of_one_group(frames, tmp_path):
    frames("a", range(9))
    source = lists(tmp_path, "a 0 4 1\na 4 5 0\n", with_offset=True)
    assert [(item.id, item.group, item.reader.offset) for item in source.items] == [("a/0", "a", 0), ("a/4", "a", 4)]


def test_two_folders_of_one_path_are_refused(frames, tmp_path):
    for name in ("x", "y"):
        frames(f"{name}/a", range(3))
        (tmp_path / "source" / name / "list.txt").write_text("a 3 0\n")
    lists = [f"{split}={tmp_path / 'source' / name / 'list.txt'}" for split, name in (("train", "x"), ("val", "y"))]
    with pytest.raises(DataError, match=r"1 paths are those of two.*\n.*y/list\.txt:1: a is .*y/a, at .*x/list\.txt:1"):
        read_source("frames", KindOptions(annotations=lists))


def test_multi_label_lists_have_any_number_of_labels(frames, tmp_path):
    frames("a", range(9))
    assert lists(tmp_path, "a 5 2 0 3\n", multi_label=True).items[0].labels == (2, 0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 5\n", r"list.txt:1: 'a 5' is not 'folder total_frames label'"),
        ("a x 1\n", "is not 'folder total_frames label'"),
        ("a 0 1\n", "total_frames is 0"),
        (f"a {'9' * 5000} 1\n", "is not 'folder total_frames label'"),
        ("a 2 5 1\n", "has a number too many"),
        ("missing 5 1\n", "list.txt:1: .*missing"),
        (f"{'a' * 300} 5 1\n", "1 folders of the list are missing"),
        ("a 5 1\na 5 0\n", "list.txt:2: a was at .*list.txt:1 already, otherwise"),
        ("", "no lines in it"),
    ],
)
def test_lines_that_do_not_fit_are_reported_with_their_number(frames, tmp_path, text, message):
    frames("a", range(9))
    with pytest.raises(DataError, match=message):
        lists(tmp_path, text)


def test_folders_of_frames_without_a_class_folder_are_no_classes(frames, tmp_path):
    frames("wave/a", range(3))
    frames("b", range(3))
    source = read_source("frames", KindOptions(src=tmp_path / "source", split=0.5))
    assert ([item.id for item in source.items], source.classes) == (["wave/a"], ("wave",))
    assert source.skipped == {"not inside a class folder": 1}


def test_links_to_folders_of_frames_are_followed_and_loops_are_counted(frames, tmp_path):
    linked = frames("../elsewhere", range(3))
    frames("wave/a", range(3))
    (tmp_path / "source" / "wave" / "b").symlink_to(linked)
    (tmp_path / "source" / "wave" / "c").symlink_to(tmp_path / "source" / "wave")
    source = read_source("frames", KindOptions(src=tmp_path / "source", split=0.5))
    assert [item.id for item in source.items] == ["wave/a", "wave/b"]
    assert source.skipped == {"link to a folder above it": 1}


def test_a_link_above_the_class_gives_no_frames_another_label(frames, tmp_path):
    frames("wave/a", range(3))
    frames("walk/b", range(3))
    (tmp_path / "source" / "wave" / "up").symlink_to(tmp_path / "source")
    source = read_source("frames", KindOptions(src=tmp_path / "source", split=0.5))
    assert [item.id for item in source.items] == ["walk/b", "wave/a"]
    assert source.skipped == {"link to a folder above it": 1}


def test_a_folder_that_cannot_be_read_is_an_error(frames, tmp_path, monkeypatch):
    frames("wave/a/deep", range(3))

    def scandir(path, scan=os.scandir):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"deep: Permission denied; make it readable, or leave it out"):
        read_source("frames", KindOptions(src=tmp_path / "source", split=0.5))
