"""Samples refuse values that contradict each other, and come back from JSON as they were."""

import numpy as np
import pytest
from pydantic import ValidationError

from vidflow.schema import (
    AudioInfo,
    FeatureInfo,
    Location,
    Moment,
    Question,
    SampleRecord,
    Segment,
    SkeletonInfo,
    TimedBox,
    VideoInfo,
)


def test_a_record_comes_back_from_json(make_row):
    record, place = make_row(3, id="Ünïcode/漢字 😀.mp4", group="camera 1")
    assert SampleRecord.model_validate_json(record.model_dump_json()) == record
    assert Location.model_validate_json(place.model_dump_json()) == place


def test_a_record_without_video_comes_back_from_json():
    skeleton = SkeletonInfo(layout="coco", num_people=2, num_frames=9, num_keypoints=17, num_coords=2)
    segments = (Segment(start=0.5, end=2.0, label=3),)
    record = SampleRecord(
        key="000", id="a", split="train", labels=(2, 5), kind="skeleton", skeleton=skeleton, segments=segments
    )
    assert SampleRecord.model_validate_json(record.model_dump_json()) == record
    assert "video" not in record.model_dump_json()


@pytest.mark.parametrize("kind", ["video", "skeleton", "audio"])
def test_a_record_has_the_info_of_its_kind_and_no_other(kind, video_values):
    feature = FeatureInfo(num_steps=5, num_features=8)
    with pytest.raises(ValidationError, match=rf"of kind {kind} needs {kind}=\.\.\., it has feature"):
        SampleRecord(key="1", id="a", split="train", kind=kind, feature=feature)
    with pytest.raises(ValidationError, match=f"of kind {kind} needs"):
        SampleRecord(key="1", id="a", split="train", kind=kind)
    with pytest.raises(ValidationError, match="it has video, feature"):
        SampleRecord(
            key="1", id="a", split="train", kind=kind, feature=feature, video=VideoInfo.model_validate(video_values)
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"container": "wav", "codec": "pcm_s16le"}, "sound as wav needs sample_rate, num_channels, num_samples, dur"),
        ({"container": "mel.npy", "num_mels": 80}, "sound as mel.npy needs num_mel_frames"),
        (
            {"container": "mel.npy", "num_mels": 80, "num_mel_frames": 2, "sample_rate": 16000},
            "sound as mel.npy has no sample_rate",
        ),
    ],
)
def test_sound_is_a_stream_or_mel_features_and_nothing_between(values, message):
    with pytest.raises(ValidationError, match=message):
        AudioInfo(**values)


def test_a_layout_refuses_another_number_of_keypoints():
    with pytest.raises(ValidationError, match="layout coco has 17 keypoints, not 13"):
        SkeletonInfo(layout="coco", num_people=1, num_frames=9, num_keypoints=13, num_coords=2)


@pytest.mark.parametrize(("start", "end"), [(2.0, 2.0), (3.0, 2.0), (-1.0, 2.0), (float("nan"), 2.0)])
def test_a_segment_ends_after_its_start(start, end):
    with pytest.raises(ValidationError, match=r"start|end"):
        Segment(start=start, end=end, label=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": 2.0, "end": 2.0, "text": "x"}, r"a moment must end after its start, not \[2.0, 2.0\]"),
        ({"start": -1.0, "end": 2.0, "text": "x"}, "start"),
        ({"start": 1.0, "end": float("nan"), "text": "x"}, "must end after its start"),
        ({"start": 1.0, "end": 2.0, "text": ""}, "text"),
    ],
)
def test_a_moment_has_a_sentence_and_some_time(values, message):
    with pytest.raises(ValidationError, match=message):
        Moment(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs text or choices"),
        ({"answers": ("man",)}, "needs text or choices"),
        ({"text": "who?", "choices": ("he",)}, "a question with one choice asks nothing"),
        ({"choices": ("a", "b"), "right_choice": 2}, "right_choice 2 is not one of 2 choices, from 0"),
        ({"text": "who?", "right_choice": 0}, "right_choice 0 is not one of 0 choices"),
        ({"choices": ("a", "b"), "right_choice": -1}, "right_choice"),
        ({"text": "who?", "answer": "man"}, "answer"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        Question(**values)


def test_moments_and_questions_come_back_from_json_and_are_left_out_where_absent(make_row):
    moments = (Moment(start=0.5, end=2.0, text="a person sits down"),)
    questions = (Question(text="who?", answers=("man", "man"), labels=(1,)), Question(choices=("a", "b")))
    record, _ = make_row(0, moments=moments, questions=questions)
    assert SampleRecord.model_validate_json(record.model_dump_json()) == record
    without = make_row(0)[0].model_dump_json()
    assert "moments" not in without
    assert "questions" not in without


def test_all_labels_are_those_of_the_sample_and_of_its_parts(make_row):
    record, _ = make_row(
        0,
        labels=(4,),
        segments=(Segment(start=0, end=1, label=3),),
        boxes=(TimedBox(time=0, x1=0, y1=0, x2=1, y2=1, labels=(1, 2)),),
        questions=(Question(text="who?", labels=(0,)),),
    )
    assert record.all_labels == (4, 3, 1, 2, 0)


@pytest.mark.parametrize("box", [(0.5, 0.0, 0.5, 1.0), (0.0, 0.2, 1.1, 1.0), (0.0, float("nan"), 1.0, 1.0)])
def test_a_box_lies_in_the_picture(box):
    with pytest.raises(ValidationError, match="a box must lie in"):
        TimedBox(time=1.0, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)))


def test_records_are_immutable(make_row):
    record, _ = make_row(0)
    with pytest.raises(ValidationError, match="frozen"):
        record.id = "other"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 0}, "num_frames"),
        ({"width": 0}, "width"),
        ({"height": -1}, "height"),
        ({"fps": 0}, "fps"),
        ({"fps": -25}, "fps"),
        ({"duration": -0.1}, "duration"),
        ({"rotation": 45}, "rotation"),
        ({"bit_depth": 0}, "bit_depth"),
        ({"sample_aspect_ratio": 0}, "sample_aspect_ratio"),
        ({"pts": (0, 1, 2, 3)}, "give pts_step or pts, not both"),
        ({"pts_step": None, "pts": (0, 1, 2)}, "pts has 3 time stamps for 4 frames"),
        ({"pts_step": None, "pts": (0, 1, 1, 2)}, "pts must be strictly increasing"),
        ({"pts_step": None, "pts": (0, 3, 2, 4)}, "pts must be strictly increasing"),
        ({"pts_step": None}, "a seekable stream needs pts_step or pts"),
        ({"key_frames": (0, 4)}, r"key_frames must lie in \[0, 4\)"),
        ({"key_frames": (-1,)}, r"key_frames must lie in \[0, 4\)"),
        ({"codek": "h264"}, "codek"),
    ],
)
def test_video_values_that_cannot_be_are_refused(video_values, changes, message):
    with pytest.raises(ValidationError, match=message):
        VideoInfo.model_validate(video_values | changes)


def test_time_stamps_follow_a_constant_step(video_values):
    video = VideoInfo.model_validate(video_values)
    np.testing.assert_array_equal(video.timestamps, [1024, 1536, 2048, 2560])
    np.testing.assert_allclose(video.seconds, [0, 0.04, 0.08, 0.12])


def test_time_stamps_of_a_variable_rate_are_kept(video_values):
    video = VideoInfo.model_validate(video_values | {"pts_step": None, "pts": (10, 20, 25, 90), "time_base": (1, 100)})
    np.testing.assert_array_equal(video.timestamps, [10, 20, 25, 90])
    np.testing.assert_allclose(video.seconds, [0, 0.10, 0.15, 0.80])


def test_time_stamps_without_any_in_the_stream_follow_the_rate(video_values):
    changes = {"pts_step": None, "seekable": False, "pts_start": 0, "time_base": (1, 1000)}
    video = VideoInfo.model_validate(video_values | changes)
    np.testing.assert_array_equal(video.timestamps, [0, 40, 80, 120])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "abc"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "1.2"}, "key"),
        ({"id": ""}, "id"),
        ({"split": ""}, "split"),
        ({"kind": "smell"}, "kind"),
        ({"label": 1}, "label"),
    ],
)
def test_sample_values_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        SampleRecord.model_validate({"key": "1", "id": "a", "split": "train"} | changes)


def test_an_id_with_a_raw_surrogate_is_refused_and_its_escape_is_kept(video_values):
    # The source writes bytes that are not UTF-8 as six plain characters; neither JSON nor Arrow can hold the raw form.
    video = VideoInfo.model_validate(video_values)
    with pytest.raises(ValidationError, match="unicode"):
        SampleRecord(key="1", id="caf\udce9.mp4", split="train", video=video)
    escaped = SampleRecord(key="1", id="caf\\udce9.mp4", split="train", video=video)
    assert SampleRecord.model_validate_json(escaped.model_dump_json()).id == "caf\\udce9.mp4"


@pytest.mark.parametrize("changes", [{"offset": -1}, {"length": 0}, {"data_offset": -1}, {"data_length": 0}])
def test_places_that_cannot_be_are_refused(changes):
    good = {"shard": "train-000000.tar", "offset": 0, "length": 1024, "data_offset": 512, "data_length": 10}
    Location.model_validate(good)
    with pytest.raises(ValidationError, match=next(iter(changes))):
        Location.model_validate(good | changes)
