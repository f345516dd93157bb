"""Lists that are damaged, of another data set or of another size: errors with file and line, or warnings."""

import pickle

import numpy as np
import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.shards.recipes.class_lists import read_class_list
from vidflow.shards.recipes.reading import read_lists, read_recipe
from vidflow.shards.recipes.recipe import load_recipe

_THUMOS = "temporal_annotations/temporal_annotations_validation/Diving_val.txt"
_ACTIVITYNET = "activity_net.v1-3.min.json"
_YOUCOOK = "youcookii_annotations_trainval.json"


@pytest.mark.parametrize(
    ("recipe", "file", "text", "message"),
    [
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "v_Hammering_g08_c01.avi 1", r"list01\.txt:1: no 'Class/video"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "Hammering/a.avi 3", r":1: class 3 is not 'Hammering'"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "Hammering/a.avi 0", r":1: class 0 is not 'Hammering'"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "Hammering/a.avi 102", r":1: class 102 is not"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "Hamering/a.avi", r":1: no class 'Hamering'; did you mean 'Hamm"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", " \n", r"name no video of test"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n3 B", r"do not run from 1 without a gap"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n1 B", r"classInd\.txt:2: '1' for 'B' is no new class number"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n2 A", r"class 'A' has the indices 0 and 1"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "Hammering", r"classInd\.txt:1: no 'number name'"),
        (
            "hmdb51",
            "testTrainMulti_7030_splits/wave_test_split1.txt",
            "a.avi 3",
            r"wave_test_split1\.txt:1: no 'video 0'",
        ),
        (
            "kinetics400",
            "annotations/val.csv",
            "a,b\n1,2",
            r"val\.csv:1: no column label, youtube_id.*no Kinetics list",
        ),
        (
            "kinetics400",
            "annotations/val.csv",
            "youtube_id,time_start,time_end,split\nx,1,2,test",
            r"no column label .*a list without labels; leave it out with --splits",
        ),
        (
            "kinetics400",
            "annotations/val.csv",
            "label,youtube_id,time_start,time_end\nzumba,x,one,2\nzumba,y,1,2,3",
            r"(?s)val\.csv:2: no label, id, start and end.*val\.csv:3: 5 cells, the header has 4",
        ),
        (
            "kinetics400",
            "annotations/val.csv",
            'label,youtube_id,time_start,time_end\n"zumba,x,1,2',
            r"val\.csv:2: not CSV",
        ),
        ("ssv2", "labels/train.json", '{"id": "1"}', r"train\.json: holds a dict, a list is expected"),
        ("ssv2", "labels/train.json", '[{"id": "1"}, 3]', r"(?s)entry 0: no 'id' and 'template'.*entry 1: no 'id'"),
        ("ssv2", "labels/train.json", "[", r"train\.json: not JSON"),
        ("ssv2", "labels/train.json", '[{"id": "1", "template": "Eating [a]"}]', r"entry 0: no class 'Eating a'"),
        ("ssv2", "labels/labels.json", '{"a": "0", "b": "2"}', r"labels\.json: 2 class numbers do not run from 0"),
        (
            "diving48",
            "Diving48_V2_train.json",
            '[{"vid_name": "a", "label": 2}]',
            r"entry 0: label 2 lies outside \[0, 1",
        ),
        ("diving48", "Diving48_V2_train.json", '[{"vid_name": "a", "label": -1}]', r"entry 0: label -1 lies outside"),
        ("diving48", "Diving48_V2_train.json", '[{"vid_name": "a", "label": 1.0}]', r"entry 0: no 'vid_name' and 'lab"),
        ("diving48", "Diving48_vocab.json", '["Back"]', r"vocab\.json: is no list of lists"),
        ("gym99", "annotations/gym99_val_element.txt", "a_E_1_2_A_3_4 2", r":1:\d+: label 2 lies outside \[0, 1\]"),
        ("gym99", "annotations/gym99_categories.txt", "0 (VT) a", r"categories\.txt:1: no 'Clabel"),
        ("moments-in-time", "trainingSet.csv", "clapping/a.mp4", r"trainingSet\.csv:1: no path and label"),
        (
            "moments-in-time",
            "trainingSet.csv",
            "clapping/a.mp4,claping,1,0",
            r"no class 'claping'; did you mean 'clapping'",
        ),
        ("moments-in-time", "moments_categories.txt", "clapping,0,1", r"categories\.txt:1: 3 cells for 'name,number'"),
        (
            "multi-moments",
            "trainingSet.csv",
            "crafting/a.mp4,1,3",
            r"trainingSet\.csv:1: label 3 lies outside \[0, 2\]",
        ),
        ("multi-moments", "trainingSet.csv", "crafting/a.mp4,1,", r"trainingSet\.csv:1: no path and class numbers"),
        (
            "hvu",
            "annotations/HVU_Val_V1.0.csv",
            "Tags,youtube_id,time_start,time_end\nice,a,0,1",
            r":2: tags of no .*'ice'",
        ),
        (
            "hvu",
            "annotations/HVU_Val_V1.0.csv",
            "Tags,youtube_id,time_start,time_end\nsnow,a,x,1",
            r":2: no start and end",
        ),
        (
            "hvu",
            "annotations/HVU_Tags_Categories_V1.0.csv",
            "Tag,Category\nsnow",
            r"V1\.0\.csv:2: \['snow'\] is no 'tag,c",
        ),
        (
            "kinetics710",
            "kinetics710/k400_val_list_videos.txt",
            "a.mp4 3",
            r"k400_val.*:1:7: label 3 lies outside \[0, 2\]",
        ),
        ("jester", "annotations/jester-v1-train.csv", "34870", r"train\.csv:1: no 'id;label' in '34870'"),
        ("jester", "annotations/jester-v1-train.csv", "1;Swiping", r"train\.csv:1: no class 'Swiping'"),
        (
            "jester",
            "annotations/jester-v1-train.csv",
            "34870 2",
            r":1: a class number .* but its classInd\.txt is not there",
        ),
        ("thumos14", _THUMOS, "video_validation_0000051 9.5 1.5", r"Diving_val\.txt:1: no 'video start end'"),
        ("thumos14", _THUMOS, "video_validation_0000051 1.5", r"Diving_val\.txt:1: no 'video start end'"),
        ("thumos14", _THUMOS, "video_validation_0000051 1.5.0 2", r"Diving_val\.txt:1: no 'video start end'"),
        ("activitynet", _ACTIVITYNET, '{"database": {"a": {"subset": "dev"}}}', r"json: a: the subset is 'dev'"),
        ("activitynet", _ACTIVITYNET, '{"database": {"a": {"subset": "training"}}}', r"json: a: needs a duration"),
        ("activitynet", _ACTIVITYNET, '{"database": []}', r"json: database: the subset is None"),
        (
            "activitynet",
            _ACTIVITYNET,
            '{"a": {"subset": "training", "duration": 9, "annotations": [{"segment": [3, 2], "label": "x"}]}}',
            r"json: a: needs a duration, and for each annotation a label and a segment \[start, end\]",
        ),
        (
            "msrvtt",
            "test_videodatainfo.json",
            '{"videos": []}',
            r"info\.json: needs videos with video_id, and sentences",
        ),
        (
            "msrvtt",
            "test_videodatainfo.json",
            '{"videos": [{"video_id": "video2", "split": "test"}], "sentences": []}',
            r"info\.json: video 0: video2 has the split 'test' and 0 captions",
        ),
        ("msrvtt-1ka", "MSRVTT_train.9k.csv", "video_id\nvideo7", r"9k\.csv:2: 'video7' has no captions"),
        ("msrvtt-1ka", "MSRVTT_JSFUSION_test.csv", "key;video;sentence\nx", r"test\.csv:1: no columns video_id"),
        (
            "msrvtt-1ka",
            "MSRVTT_JSFUSION_test.csv",
            "video_id,sentence\nvideo1",
            r"test\.csv:2: no video_id and sentence",
        ),
        ("msvd", "val_list.txt", "someone", r"val_list\.txt:1: 'someone' has no captions"),
        ("msvd", "AllVideoDescriptions.txt", "# a\nmv89psg6zh4_33_46", r"Descriptions\.txt:2: no 'id caption'"),
        ("charades-sta", "charades_sta_test.txt", "3MSZA 1.0##x", r"sta_test\.txt:1: no 'video start end##sentence'"),
        ("charades-sta", "charades_sta_test.txt", "3MSZA 1.0 2.0##", r"sta_test\.txt:1: no 'video start end##sentence"),
        ("charades-sta", "charades_sta_test.txt", "3MSZA 1.0 nan##x", r"sta_test\.txt:1: no 'video start end##senten"),
        ("charades-sta", "charades_sta_test.txt", "3MSZA -1 2##x", r"sta_test\.txt:1: no 'video start end##sentence'"),
        (
            "charades-sta-features",
            "Charades_duration.json",
            '{"AO8RW": 3, "Y6R7T": 0}',
            r"(?s)train\.txt:2: .*duration\.json and .*fps_dict\.json must give .*of Y6R7T.*test\.txt:1: ",
        ),
        (
            "charades-sta-features",
            "Charades_fps_dict.json",
            "[]",
            r"fps_dict\.json: holds a list, a dict is expected",
        ),
        ("youcook2", _YOUCOOK, '{"database": {"a": {"subset": "training"}}}', r"json: a: needs a subset, a duration"),
        (
            "msrvtt-ret",
            "annotations/msrvtt_ret_test1k.json",
            '[{"video": "a"}]',
            r"test1k\.json: entry 0: no 'video' and",
        ),
        (
            "msrvtt-ret",
            "annotations/msrvtt_ret_test1k.json",
            '[{"video": "a", "caption": [3]}, 7]',
            r"(?s)entry 0: no 'video'.*entry 1: no 'video' and 'caption' in 7",
        ),
        ("ave", "valSet.txt", "Flute&a&good&3&2", r"valSet\.txt:1: no 'class&video&quality&start&end'"),
        ("ave", "valSet.txt", "Flute&a&good&3", r"valSet\.txt:1: no 'class&video&quality&start&end'"),
        ("youcook2", _YOUCOOK, '{"x": 1}', r"json: database: needs a subset, a duration"),
        (
            "youcook2",
            _YOUCOOK,
            '{"database": {"a": {"subset": "training", "duration": 9, "annotations": '
            '[{"segment": [-1, 2], "sentence": "x"}]}}}',
            r"json: a: needs a subset",
        ),
        (
            "msrvtt-qa",
            "annotations/msrvtt_qa_val.json",
            '[{"video": "video6513.mp4", "question": "who?", "answer": []}, {"video": "x", "question": "who?"}]',
            r"(?s)val\.json: entry 0: no 'video', 'question' and 'answer'.*val\.json: entry 1: no 'video'",
        ),
        ("msrvtt-qa", "annotations/msrvtt_qa_answer_list.json", '{"man": 0}', r"holds a dict, a list is expected"),
        ("msrvtt-qa", "annotations/msrvtt_qa_answer_list.json", '["man", 3]', r"list\.json: is no list of names"),
        (
            "msrvtt-qa",
            "annotations/msrvtt_qa_answer_list.json",
            '["man", "man"]',
            r"class 'man' has the indices 0 and 1",
        ),
        (
            "msrvtt-mc",
            "annotations/msrvtt_mc_test.json",
            '[{"video": "video7010.mp4", "caption": ["a", "b"], "answer": 2}]',
            r"test\.json: entry 0: no 'video', a list of 'caption' and the 'answer'",
        ),
        (
            "msrvtt-mc",
            "annotations/msrvtt_mc_test.json",
            '[{"video": "video7010.mp4", "caption": "one text", "answer": 2}]',
            r"test\.json: entry 0: no 'video', a list of 'caption' and the 'answer'",
        ),
        (
            "thumos14-features",
            "annotations/thumos14.json",
            '{"database": {"a": {"subset": "Test", "duration": 3}}}',
            r"thumos14\.json: a: needs fps",
        ),
        (
            "thumos14-features",
            "annotations/thumos14.json",
            '{"database": {"a": {"subset": "dev", "duration": 3, "fps": 30}}}',
            r"thumos14\.json: a: the subset is 'dev'",
        ),
        ("kinetics-skeleton", "kinetics_val_label.json", '{"d": {"has_skeleton": true}}', r"json: d: no 'has_skel"),
        (
            "kinetics-skeleton",
            "kinetics_val_label.json",
            '{"d": {"has_skeleton": true, "label_index": 400}}',
            r"json: d: label 400 lies outside \[0, 399\]",
        ),
        ("kinetics710", "kinetics710/label_map_k710.txt", "a\na", r"k710\.txt:2: class 'a' was on line 1 already"),
    ],
)
def test_a_bad_list_is_refused_with_its_place(published, recipe, file, text, message):
    root, _ = published(recipe)
    (root / file).write_text(f"{text}\n")
    with pytest.raises(DataError, match=message):
        read_recipe(load_recipe(recipe), root, allow_missing=True)


def test_byte_order_marks_and_line_ends_do_not_matter(published):
    for recipe, file in (("kinetics400", "annotations/val.csv"), ("ssv2", "labels/train.json")):
        root, miniature = published(recipe)
        text = (root / file).read_bytes()
        (root / file).write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
        source = read_recipe(load_recipe(recipe), root, allow_missing=True)
        assert miniature.samples <= {(i.id, i.split, tuple(source.classes[c] for c in i.labels)) for i in source.items}


def test_lists_that_lack_classes_are_refused_where_the_order_comes_from_them(published):
    root, _ = published("kinetics400")
    with pytest.raises(DataError, match=r"name 2 classes, Kinetics-400 has 400.*--classes FILE"):
        read_lists(load_recipe("kinetics400"), root, splits=["val"])


def test_given_classes_take_their_place(published):
    root, _ = published("kinetics400")
    names = ["massaging person's head", "passing American football (in game)"]
    _, indices, classes, _ = read_lists(load_recipe("kinetics400"), root, splits=["val"], classes=names)
    assert (indices, classes) == ([(0,), (1,)], tuple(names))


def test_given_classes_are_refused_where_the_owners_publish_them(published):
    root, _ = published("ssv2")
    with pytest.raises(ConfigError, match="--classes: Something-Something V2 publishes its class list"):
        read_lists(load_recipe("ssv2"), root, classes=["a"])


def test_counts_that_differ_from_the_published_ones_are_warned_of(published):
    root, _ = published("ucf101")
    warnings = read_recipe(load_recipe("ucf101"), root).warnings
    assert warnings[0] == "the class list has 3 names, UCF101 has 101 classes"
    assert warnings[1].startswith("train: the list names 2 samples, 9537 are published (")
    assert warnings[2].startswith("test: the list names 2 samples, 3783 are published (")


def test_counts_that_vary_between_copies_are_not(published):
    root, _ = published("kinetics400")
    assert read_recipe(load_recipe("kinetics400"), root, allow_missing=True).warnings == ()


def test_a_group_in_both_splits_is_refused(published):
    root, _ = published("ucf101")
    (root / "ucfTrainTestlist" / "testlist01.txt").write_text("Hammering/v_Hammering_g08_c07.avi\n")
    with pytest.raises(DataError, match="groups lie in several splits: 'v_Hammering_g08'"):
        read_recipe(load_recipe("ucf101"), root, allow_missing=True)


def test_folds_exchange_the_splits(published):
    root, _ = published("ucf101")
    first, second = (
        {item.id: item.split for item in read_recipe(load_recipe("ucf101"), root, fold=fold).items if "Hamm" in item.id}
        for fold in (1, 2)
    )
    assert first == {name: {"train": "test", "test": "train"}[split] for name, split in second.items()}


@pytest.mark.parametrize(
    ("recipe", "fold", "message"), [("ucf101", 4, "publishes the folds 1, 2, 3"), ("ssv2", 1, "no f")]
)
def test_a_fold_that_is_not_published_is_refused(published, recipe, fold, message):
    root, _ = published(recipe)
    with pytest.raises(ConfigError, match=message):
        read_recipe(load_recipe(recipe), root, fold=fold)


def test_splits_choose_which_lists_are_read(published):
    root, _ = published("ssv2")
    (root / "labels" / "validation.json").unlink()
    assert {item.split for item in read_recipe(load_recipe("ssv2"), root, splits=["train"]).items} == {"train"}


def test_a_split_that_does_not_exist_is_refused(published):
    root, _ = published("ssv2")
    with pytest.raises(ConfigError, match=r"--splits test: Something-Something V2 has train, val"):
        read_recipe(load_recipe("ssv2"), root, splits=["test"])


def test_class_numbers_may_be_left_out_where_names_are_in_order(tmp_path):
    (tmp_path / "classes.txt").write_text("crafting\nadult+male+speaking\n")
    assert read_class_list(tmp_path / "classes.txt", "name,number") == ("crafting", "adult+male+speaking")


def test_class_numbers_of_jester_count_in_the_list_that_came_with_them(published):
    root, _ = published("jester")
    for path in (root / "annotations").iterdir():
        path.unlink()
    (root / "annotations" / "classInd.txt").write_text("1 Drumming_Fingers\n2 Swiping_Left\n")
    (root / "annotations" / "trainlist01.txt").write_text("34870 1\n56557 2\n")
    (root / "annotations" / "vallist01.txt").write_text("9223 2\n")
    source = read_recipe(load_recipe("jester"), root)
    assert source.classes == ("Drumming_Fingers", "Swiping_Left")
    assert {item.id: item.labels for item in source.items} == {"34870": (0,), "56557": (1,), "9223": (1,)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": []}, "holds no list of labels"),
        ({"gttubes": {}}, r"a/b: needs tubes \[N, 5\] of known classes and a size \(KeyError"),
        ({"gttubes": {"a/b": {7: [np.ones((1, 5))]}}}, r"ValueError\('class 7'\)"),
        ({"gttubes": {"a/b": {0: [np.ones((1, 4))]}}}, r"a tube of shape \(1, 4\)"),
        ({"gttubes": {"a/b": {0: [np.full((1, 5), np.nan)]}}}, "a tube of shape"),
        ({"resolution": None}, "TypeError"),
    ],
)
def test_damaged_tubes_are_refused(tmp_path, change, message):
    content = {
        "labels": ["run"], "gttubes": {"a/b": {0: [np.ones((1, 5))]}}, "resolution": {"a/b": (24, 32)},
        "train_videos": [["a/b"]], "test_videos": [[]],
    }  # fmt: skip
    (tmp_path / "multisports_GT.pkl").write_bytes(pickle.dumps(content | change))
    with pytest.raises(DataError, match=message):
        read_lists(load_recipe("multisports"), tmp_path, splits=["train"])


def test_boxes_outside_the_picture_are_counted(published):
    root, _ = published("multisports")
    warnings = read_recipe(load_recipe("multisports"), root, allow_missing=True).warnings
    assert any(warning.startswith("1 boxes are empty or outside the picture") for warning in warnings)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    for name in ("ntu60_2d.pkl", "multisports_GT.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    for recipe in ("ntu60-2d", "multisports"):
        with pytest.raises(DataError, match=r"builtins\.print|__builtin__\.print"):
            read_recipe(load_recipe(recipe), tmp_path)


def test_folds_of_skeletons_go_by_their_names(published):
    root, _ = published("ntu60-2d")
    source = read_recipe(load_recipe("ntu60-2d"), root, fold="xsub", splits=["val"])
    assert (source.name, [item.id for item in source.items]) == ("ntu60-2d-xsub", ["c"])
    with pytest.raises(ConfigError, match="--fold xset: NTU RGB\\+D 60, 2D skeletons publishes the folds xsub, xview"):
        read_recipe(load_recipe("ntu60-2d"), root, fold="xset")


def test_classes_are_refused_for_captions(published):
    root, _ = published("msvd")
    with pytest.raises(ConfigError, match="has captions, not classes"):
        read_recipe(load_recipe("msvd"), root, classes=["a"])
