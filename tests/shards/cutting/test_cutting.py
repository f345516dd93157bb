"""``vidflow cut``: clips hold exactly the annotated frames, and pack by the list beside them."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video


@pytest.fixture
def videos(tmp_path, numbered_video) -> Path:
    """Two videos of 10 s at 10 frames per second, a key frame every 12, as the field calls them."""
    for name in ("0LtLS9wROrk", "v_zfqS-wCJSsw"):
        numbered_video(tmp_path / "videos" / f"{name}.mp4", 100, height=64, width=64, rate=10)
    return tmp_path / "videos"


@pytest.fixture
def cut(tmp_path, videos, command):
    """``cut(annotations, *options)`` cuts into tmp_path/clips with one worker; gives the summary, or the error."""

    def run(annotations: object, *options: object, suffix: str = ".json", expect: int = 0):
        arguments = ["--every", annotations] if isinstance(annotations, float) else []
        if not arguments:
            text = annotations if isinstance(annotations, str) else json.dumps(annotations)
            file = tmp_path / f"annotations{suffix}"
            file.write_text(text)
            arguments = ["--annotations", file]
        done = command(
            "cut", "--src", videos, "--out", tmp_path / "clips", *arguments, "--workers", 1, "--json", *options
        )
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout) if expect == 0 else done.stderr

    return run


@pytest.fixture
def shown(tmp_path, read_numbers):
    """``shown("a.mp4")`` -> the numbers in the frames of a clip."""

    def read(name: str) -> list[int]:
        path = tmp_path / "clips" / name
        info = probe_video(path)
        return read_numbers(decode_frames(path, info, np.arange(info.num_frames)))

    return read


def listed(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "clips" / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_name_that_is_not_utf8_keeps_its_bytes_in_the_list(videos, cut, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (videos / "0LtLS9wROrk.mp4").rename(videos / f"{name}.mp4")
    (videos / "v_zfqS-wCJSsw.mp4").unlink()
    cut(5.0)
    lines = (tmp_path / "clips" / "clips.csv").read_bytes().splitlines()
    assert len([line for line in lines if line.startswith(b"caf\xe9")]) == 2


FINEGYM = {
    "0LtLS9wROrk": {
        "E_000002_000008": {
            "event": 1,
            "timestamps": [[2.0, 8.0]],
            "segments": {
                "A_0001_0003": {"stages": 1, "timestamps": [[0.6, 2.55]]},
                "A_0003_0006": {"stages": 2, "timestamps": [[3.0, 4.0], [4.0, 5.5]]},
            },
        },
        "E_000008_000009": {"event": 4, "timestamps": [[8.0, 9.0]], "segments": None},
    },
    "zfqS-wCJSsw": {"E_000000_000001": {"event": 2, "timestamps": [[0.0, 1.0]], "segments": {}}},
}
TABLE = "path,start,end,label,split\nv_zfqS-wCJSsw.mp4,0.5,1.2,jump,train\n0LtLS9wROrk,3,4.5,run,val\n"


def test_sub_actions_of_finegym_have_their_names_and_their_frames(cut, shown, tmp_path):
    summary = cut(FINEGYM, "--short-side", 64)
    assert (summary["done"], summary["failed"], summary["clips"]) == (2, 0, 2)
    assert shown("0LtLS9wROrk_E_000002_000008_A_0001_0003.mp4") == list(range(26, 46))
    assert shown("0LtLS9wROrk_E_000002_000008_A_0003_0006.mp4") == list(range(50, 75))
    assert listed(tmp_path)[0] == {
        "path": "0LtLS9wROrk_E_000002_000008_A_0001_0003.mp4", "source": "0LtLS9wROrk", "start": "2.6", "end": "4.6",
    }  # fmt: skip


def test_events_of_finegym(cut, shown):
    cut(FINEGYM, "--format", "finegym-events")
    assert shown("0LtLS9wROrk_E_000002_000008.mp4") == list(range(20, 80))
    assert shown("0LtLS9wROrk_E_000008_000009.mp4") == list(range(80, 90))
    assert shown("zfqS-wCJSsw_E_000000_000001.mp4") == list(range(10))


def test_segments_of_activitynet_and_hacs_go_into_folders_of_their_classes(cut, shown, tmp_path):
    database = {
        "zfqS-wCJSsw": {
            "subset": "training",
            "duration": 10.0,
            "annotations": [
                {"label": "Long jump", "segment": [1.0, 2.0]},
                {"label": "Long jump", "segment": [1.0, 2.0]},
                {"label": "Clean and jerk", "segment": [9.5, 30.0]},
                {"label": "Long jump", "segment": [0, 0]},
            ],
        },
        "0LtLS9wROrk": {"subset": "testing", "duration": 10.0, "annotations": []},
    }
    summary = cut({"database": database})
    assert shown("train/Long jump/zfqS-wCJSsw_1.00_2.00.mp4") == list(range(10, 20))
    assert shown("train/Clean and jerk/zfqS-wCJSsw_9.50_30.00.mp4") == list(range(95, 100))
    assert summary["left_out"] == {
        "clip that is there twice": 1,
        "stretch without a length": 1,
        "end of a clip, since its video ends earlier": 1,
    }
    assert [(row["label"], row["split"]) for row in listed(tmp_path)] == [
        ("Long jump", "train"),
        ("Clean and jerk", "train"),
    ]


def test_tables_of_kinetics_and_hacs_clips_give_the_folders_of_the_field(cut, shown, tmp_path):
    cut("label,youtube_id,time_start,time_end,split\nlong jump,zfqS-wCJSsw,2,4,train\n", suffix=".csv")
    assert shown("train/long jump/zfqS-wCJSsw_000002_000004.mp4") == list(range(20, 40))
    rows = "Long jump,zfqS-wCJSsw,training,0.5,2.5,1\nLong jump,0LtLS9wROrk,validation,1.0,3.0,-1\n"
    summary = cut("classname,youtube_id,subset,start,end,label\n" + rows, suffix=".csv")
    assert shown("train/Long jump/zfqS-wCJSsw_0.50_2.50.mp4") == list(range(5, 25))
    assert summary["left_out"] == {"clip that does not show its class": 1}
    assert [(row["label"], row["split"]) for row in listed(tmp_path)] == [("Long jump", "train")]


def test_several_files_make_one_list(videos, command, tmp_path):
    arguments = []
    for split, video in (("train", "0LtLS9wROrk"), ("val", "zfqS-wCJSsw")):
        file = tmp_path / f"{split}.csv"
        file.write_text(f"path,start,end,split\n{video},0,1,{split}\n")
        arguments += ["--annotations", file]
    done = command("cut", "--src", videos, "--out", tmp_path / "clips", *arguments, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert [(row["source"], row["split"]) for row in listed(tmp_path)] == [
        ("0LtLS9wROrk", "train"),
        ("zfqS-wCJSsw", "val"),
    ]


def test_a_kinetics_clip_of_ava_is_cut_around_its_key_times(cut, shown, videos, numbered_video):
    numbered_video(videos / "sitting" / "-_aB3456789_000095_000105.mp4", 100, height=64, width=64, rate=10)
    lines = "-_aB3456789,99,0,0,1,1,12\n-_aB3456789,100,,,,,\n-_aB3456789,300,0,0,1,1,12\n"
    summary = cut(lines, "--format", "ava", suffix=".csv")
    assert shown("-_aB3456789_000097_000102.mp4") == list(range(20, 70))
    assert summary["left_out"] == {"key time in none of the video's clips": 1}


def test_a_film_of_ava_is_cut_to_its_annotated_minutes(cut, shown, videos, numbered_video):
    numbered_video(videos / "film.mkv", 905, height=64, width=64, rate=1)
    summary = cut("film,0902,0,0,1,1,12,0\nfilm,0903,0,0,1,1,12,0\n", suffix=".csv")
    assert shown("film.mp4") == [900, 901, 902, 903, 904]
    assert summary["left_out"] == {"end of a clip, since its video ends earlier": 1}


def test_parts_of_equal_length_are_the_whole_video(cut, shown, tmp_path):
    summary = cut(4.0)
    assert summary["clips"] == 6
    assert [shown(f"0LtLS9wROrk/part_{i}.mp4") for i in range(3)] == [
        list(range(40)),
        list(range(40, 80)),
        list(range(80, 100)),
    ]
    assert listed(tmp_path)[2] == {
        "path": "0LtLS9wROrk/part_2.mp4", "source": "0LtLS9wROrk", "start": "8.0", "end": "10.0",
    }  # fmt: skip


def test_cut_packed_and_read_the_clips_are_those_of_the_table(cut, command, read_back, read_numbers, tmp_path):
    cut(TABLE, suffix=".csv")
    clips = tmp_path / "clips"
    done = command("shard", "--annotations", clips / "clips.csv", "--out", tmp_path / "out", "--workers", 1)
    assert done.returncode == 0, done.stderr
    samples = {sample["json"]["id"]: sample for sample in read_back(tmp_path / "out")}
    found = {}
    for name, sample in samples.items():
        info = probe_video(sample["fields"]["mp4"])
        numbers = read_numbers(decode_frames(sample["fields"]["mp4"], info, np.arange(info.num_frames)))
        found[name] = (sample["json"]["split"], sample["json"]["labels"], sample["json"]["group"], numbers)
    assert found == {
        "v_zfqS-wCJSsw_0.50_1.20.mp4": ("train", [0], "v_zfqS-wCJSsw.mp4", list(range(5, 12))),
        "0LtLS9wROrk_3.00_4.50.mp4": ("val", [1], "0LtLS9wROrk", list(range(30, 45))),
    }


def test_clips_may_have_another_frame_rate(cut, shown):
    cut(TABLE, "--fps", 5, suffix=".csv")
    assert shown("0LtLS9wROrk_3.00_4.50.mp4") == [30, 32, 34, 36, 38, 40, 42, 44]


def test_copies_go_from_key_frame_to_key_frame_and_say_so(cut, shown, tmp_path):
    cut(TABLE, "--copy", suffix=".csv")
    assert shown("0LtLS9wROrk_3.00_4.50.mp4") == list(range(24, 48))
    assert shown("v_zfqS-wCJSsw_0.50_1.20.mp4") == list(range(12))
    assert [(row["start"], row["end"]) for row in listed(tmp_path)] == [("0.0", "1.2"), ("2.4", "4.8")]


def test_copies_of_other_containers(cut, videos, numbered_video, shown):
    numbered_video(videos / "a.mkv", 50, height=64, width=64, rate=10)
    numbered_video(videos / "b.webm", 50, height=64, width=64, rate=10, codec="libvpx-vp9", options={"g": 10})
    summary = cut("path,start,end,name\na,1.3,2.4,x\nb,1.3,1.6,y\n", "--copy", suffix=".csv")
    assert summary["failures"] == []
    assert shown("x.mkv") == list(range(12, 24))
    assert shown("y.webm") == list(range(10, 20))


def test_copies_of_transport_streams_which_have_no_index(cut, videos, numbered_video, shown, tmp_path):
    numbered_video(videos / "a.ts", 50, height=64, width=64, rate=10)
    table = "path,start,end,name\na,0,0.5,x\na,1.3,2.4,y\na,2.4,3.7,z\na,4.5,9,last\na,7,9,late\n"
    summary = cut(table, "--copy", suffix=".csv")
    assert [(failure["id"], "it ends before that" in failure["reason"]) for failure in summary["failures"]] == [
        ("late", True)
    ]
    assert shown("x.mkv") == list(range(12))
    assert shown("y.mkv") == list(range(12, 24))
    assert shown("z.mkv") == list(range(24, 48))
    assert shown("last.mkv") == list(range(36, 50))
    assert [row["start"] for row in listed(tmp_path)] == ["0.0", "1.2", "2.4", "3.6"]


def test_a_copy_is_refused_where_time_stamps_are_made_up(cut, videos, numbered_video):
    """AVI has the order of packets alone; copied as it is, a clip would have wrong times."""
    numbered_video(videos / "a.avi", 50, height=64, width=64, rate=10, codec="mpeg4", options={"bf": 2})
    error = cut("path,start,end\na,1.3,2.4\n", "--copy", suffix=".csv", expect=3)
    assert "its time stamps are made up (AVI with B-frames); cut it without --copy" in error


def test_what_cannot_be_copied_fails_alone(cut, videos, numbered_video, shown):
    """H.264 under WebM's name; AV1, for whose decoder there is no encoder of the same name, is copied."""
    (videos / "a.webm").write_bytes((videos / "0LtLS9wROrk.mp4").read_bytes())
    numbered_video(videos / "b.mp4", 30, height=64, width=64, rate=10, codec="libsvtav1", options={"g": 10})
    summary = cut("path,start,end,name\na,1,2,x\nb,1,2,y\n", "--copy", suffix=".csv")
    assert [failure["id"] for failure in summary["failures"]] == ["x"]
    assert "cannot be copied into .webm" in summary["failures"][0]["reason"]
    assert shown("y.mp4") == list(range(10, 20))


def test_the_list_says_when_clips_of_coarse_clocks_really_begin(cut, videos, numbered_video, tmp_path):
    """AVI tells time in frames: a clip from 0.66 s on begins with the frame at 0.7 s."""
    numbered_video(videos / "a.avi", 50, height=64, width=64, rate=10, codec="mpeg4")
    cut("path,start,end\na,0.66,1.2\n", suffix=".csv")
    assert [(row["start"], row["end"]) for row in listed(tmp_path)] == [("0.7", "1.2")]


@pytest.mark.parametrize("text", ["path,start,end\n", "path,source,start,end\nmine,mine,0,1\n"])
def test_a_list_of_the_users_own_is_not_overwritten(cut, tmp_path, text):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "clips.csv").write_text(text)
    error = cut(TABLE, suffix=".csv", expect=3)
    assert f"{tmp_path / 'clips' / 'clips.csv'}: is there already, and not as `vidflow cut` has written it" in error
    assert (tmp_path / "clips" / "clips.csv").read_text() == text
    assert not list(tmp_path.glob("clips/*.mp4"))


def test_a_list_that_was_edited_is_kept_and_said(cut, tmp_path):
    cut(TABLE, suffix=".csv")
    cut(TABLE, suffix=".csv")
    with (tmp_path / "clips" / "clips.csv").open("a") as file:
        file.write("one of mine\n")
    assert "rename it, or give another --out" in cut(TABLE, suffix=".csv", expect=3)


def test_parts_of_another_length_do_not_replace_the_first_ones_unasked(cut, tmp_path):
    cut(4.0)
    before = listed(tmp_path)
    assert "every was 4.0 and is now 5.0" in cut(5.0, expect=3)
    assert listed(tmp_path) == before
    cut(5.0, "--overwrite")
    assert len(listed(tmp_path)) == 2 * 2


def test_a_second_run_keeps_what_is_done_and_makes_what_is_gone(cut, tmp_path):
    cut(TABLE, suffix=".csv")
    before = (tmp_path / "clips" / "0LtLS9wROrk_3.00_4.50.mp4").read_bytes()
    (tmp_path / "clips" / "0LtLS9wROrk_3.00_4.50.mp4").unlink()
    summary = cut(TABLE, suffix=".csv")
    assert (summary["done"], summary["kept"], summary["clips"]) == (1, 1, 2)
    assert (tmp_path / "clips" / "0LtLS9wROrk_3.00_4.50.mp4").read_bytes() == before


def test_a_clip_behind_the_end_fails_by_name_and_the_others_are_made(cut, tmp_path):
    summary = cut(TABLE + "0LtLS9wROrk,20,21,run,val\n", suffix=".csv")
    assert (summary["done"], summary["clips"]) == (2, 2)
    assert summary["failures"] == [
        {
            "id": "0LtLS9wROrk_000020_000021",
            "stage": "decode",
            "reason": "has no frame in [20, 21) s; it ends before that",
        }
    ]
    assert not list((tmp_path / "clips").glob("*_000020*"))


def test_a_broken_video_fails_and_leaves_no_clip(cut, videos, tmp_path):
    (videos / "0LtLS9wROrk.mp4").write_bytes(b"no video")
    summary = cut(TABLE, suffix=".csv")
    assert [failure["id"] for failure in summary["failures"]] == ["0LtLS9wROrk_3.00_4.50"]
    assert [row["label"] for row in listed(tmp_path)] == ["jump"]


def test_missing_videos_stop_unless_allowed(cut, videos):
    (videos / "0LtLS9wROrk.mp4").unlink()
    error = cut(TABLE, suffix=".csv", expect=3)
    assert "1 of 2 annotated videos are missing; give --allow-missing" in error
    assert "annotations.csv:3: 0LtLS9wROrk" in error
    summary = cut(TABLE, "--allow-missing", suffix=".csv")
    assert summary["left_out"] == {"annotated video that is not there": 1}


def test_a_name_that_fits_two_videos_is_an_error(cut, videos):
    for folder in ("more", "yet"):
        (videos / folder).mkdir()
        (videos / folder / "0LtLS9wROrk.mkv").write_bytes((videos / "0LtLS9wROrk.mp4").read_bytes())
    (videos / "0LtLS9wROrk.mp4").unlink()
    assert "0LtLS9wROrk may be more/0LtLS9wROrk.mkv and yet/0LtLS9wROrk.mkv" in cut(FINEGYM, expect=3)


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("path,start,end\na,2,1\n", ".csv", "annotations.csv:2: no path, start and end in seconds"),
        ("path,start,end\na,x,1\n", ".csv", "annotations.csv:2: no path, start and end in seconds"),
        ("path,start,end\na,-1,1\n", ".csv", "[-1, 1] is no stretch of a video"),
        ("path,start,end\na,0,nan\n", ".csv", "[0, nan] is no stretch of a video"),
        ("path,start,end\n", ".csv", "names nothing to cut"),
        ("path,begin\n", ".csv", "give --format"),
        ("path,start,end,name\na,0,1,x\nb,0,1,x\n", ".csv", "annotations.csv:3: x would be another clip than at"),
        ("[1]", ".json", "holds a list, a dict is expected"),
        ('{"a": {"E_1": {"timestamps": []}}}', ".json", "annotations.json: a: no events with timestamps"),
        ('{"a": {"subset": "training", "annotations": [{"label": "x"}]}}', ".json", "a: no subset, label and segment"),
        ("path,start,end,name\n0LtLS9wROrk,0,1,../x\n", ".csv", "leads out of the output folder"),
    ],
)
def test_annotations_that_do_not_parse_are_errors_with_their_place(cut, tmp_path, text, suffix, message):
    assert message in cut(text, suffix=suffix, expect=2 if "--format" in message else 3)
    assert not (tmp_path / "clips" / "clips.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--every", 4], "give either --annotations FILE or --every SECONDS"),
        (["--copy", "--fps", 5], "--fps has no effect on --copy"),
        (["--copy", "--crf", 20], "have no effect on --copy"),
        (["--profile", "copy"], "give --copy for that"),
        (["--fps", 0], "--fps 0: must be positive"),
    ],
)
def test_options_that_do_not_fit_are_refused(cut, options, message):
    assert message in cut(TABLE, *options, suffix=".csv", expect=2)
