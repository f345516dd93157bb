"""A listed video is found wherever copies of a data set put it, and never taken for another."""

import pytest

from vidflow.errors import DataError
from vidflow.shards.recipes.finding import AmbiguousError, VideoIndex
from vidflow.shards.recipes.listing import Listed
from vidflow.shards.recipes.reading import read_recipe
from vidflow.shards.recipes.recipe import load_recipe
from vidflow.shards.sources.lines import Row

CLASSES = ("abseiling", "punching person (boxing)", "massaging person's head")


@pytest.fixture
def index(tmp_path):
    """``index("a/b.mp4", ...)``: an index over empty files of these names."""

    def build(*names: str, classes: tuple[str, ...] = CLASSES) -> VideoIndex:
        for name in names:
            path = tmp_path / "videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return VideoIndex(tmp_path / "videos", classes)

    return build


def listed(path: str, *other: str, split: str = "train", within: str = "") -> Listed:
    return Listed(Row("list:1", path, (), split), other, within)


CLIP = listed("punching person (boxing)/-a_b-c_d-e0_000001_000011", "punching person (boxing)/-a_b-c_d-e0")


@pytest.mark.parametrize(
    "name",
    [
        "punching person (boxing)/-a_b-c_d-e0_000001_000011.mp4",
        "punching_person_(boxing)/-a_b-c_d-e0_000001_000011.mp4",
        "punching_person_boxing/-a_b-c_d-e0_000001_000011.MKV",
        "train/Punching Person Boxing/-a_b-c_d-e0_000001_000011.webm",
        "-a_b-c_d-e0_000001_000011.mp4",
        "vol_00/-a_b-c_d-e0_000001_000011.mp4",
        "punching person (boxing)/-a_b-c_d-e0.mp4",
        "-a_b-c_d-e0.mp4",
    ],
)
def test_names_and_folders_that_copies_of_kinetics_use(index, name):
    assert index(name).find(CLIP, ["punching person (boxing)"]) == name


@pytest.mark.parametrize(
    "name", ["-a_b-c_d-e0_000002_000012.mp4", "-A_b-c_d-e0.mp4", "abseiling/-a_b-c_d-e0_000001_000011.mp4"]
)
def test_other_clips_and_files_in_another_class_are_not_taken(index, name):
    assert index(name).find(CLIP, ["punching person (boxing)"]) is None


def test_the_published_name_comes_before_the_plain_id(index):
    both = index("-a_b-c_d-e0.mp4", "-a_b-c_d-e0_000001_000011.mp4")
    assert both.find(CLIP, ["punching person (boxing)"]) == "-a_b-c_d-e0_000001_000011.mp4"


def test_the_folder_in_the_list_decides_between_equal_names(index):
    same = index("training/clapping/yt_1.mp4", "training/praying/yt_1.mp4", classes=())
    assert same.find(listed("praying/yt_1.mp4"), ["praying"]) == "training/praying/yt_1.mp4"


def test_the_split_decides_between_equal_names(index):
    same = index("videos_train/x.mp4", "validation/x.mp4")
    assert same.find(listed("x", split="train"), []) == "videos_train/x.mp4"
    assert same.find(listed("x", split="val"), []) == "validation/x.mp4"


def test_equal_names_without_a_difference_are_ambiguous(index):
    with pytest.raises(AmbiguousError, match=r"256p/x\.mp4 and original/x\.mp4"):
        index("original/x.mp4", "256p/x.mp4").find(listed("x"), [])


def test_a_list_of_one_folder_takes_nothing_from_another(index):
    found = index("kinetics600/x.mp4", "kinetics700/x.mp4")
    assert found.find(listed("kinetics700/x.mp4", within="kinetics700"), []) == "kinetics700/x.mp4"
    assert found.find(listed("kinetics400/x.mp4", within="kinetics400"), []) is None


def test_an_ambiguous_video_is_an_error_with_the_line(published):
    root, _ = published("ucf101")
    (root / "UCF-101" / "copy").mkdir()
    (root / "UCF-101" / "copy" / "v_Hammering_g08_c01.avi").touch()
    (root / "UCF-101" / "Hammering" / "v_Hammering_g08_c01.avi").rename(root / "UCF-101" / "v_Hammering_g08_c01.avi")
    with pytest.raises(DataError, match=r"trainlist01\.txt:1: Hammering/v_Hammering_g08_c01\.avi may be .*copy/v_Hamm"):
        read_recipe(load_recipe("ucf101"), root)


def test_two_lines_for_one_file_are_an_error(published):
    root, _ = published("kinetics710")
    file = root / "kinetics710" / "k400_train_list_videos.txt"
    file.write_text("vol_0/jf7RDuUTrsQ.mp4 2\nvol_1/jf7RDuUTrsQ.mp4 2\n")
    with pytest.raises(DataError, match=r"k400_train_list_videos\.txt:2:\d+: .* would be the same file as .*:1"):
        read_recipe(load_recipe("kinetics710"), root)


def test_a_line_that_repeats_another_counts_once(published):
    root, _ = published("gym99")
    file = root / "annotations" / "gym99_val_element.txt"
    file.write_text(file.read_text() * 2)
    source = read_recipe(load_recipe("gym99"), root)
    assert len(source.items) == 3
    assert source.skipped["line that repeats another"] == 1


def test_annotations_may_lie_elsewhere(published, tmp_path):
    root, miniature = published("ucf101")
    (root / "ucfTrainTestlist").rename(tmp_path / "lists")
    source = read_recipe(load_recipe("ucf101"), root, annotations=tmp_path / "lists")
    assert len(source.items) == len(miniature.samples)


def test_videos_may_lie_elsewhere_below_the_source(published):
    root, miniature = published("ucf101")
    (root / "UCF-101").rename(root / "anything")
    assert len(read_recipe(load_recipe("ucf101"), root).items) == len(miniature.samples)


def test_folders_with_pattern_characters_are_taken_as_they_are(published, tmp_path):
    root, _ = published("hmdb51")
    odd = tmp_path / "data [1] *"
    root.rename(odd)
    assert len(read_recipe(load_recipe("hmdb51"), odd, allow_missing=True).items) == 102
