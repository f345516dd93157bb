"""Checking videos: which are broken and why, with lists, and gone on with from a report."""

import json
import os

import pytest

from vidflow.cli.main import main
from vidflow.errors import ConfigError, DataError
from vidflow.shards.extraction.checking import check_videos, listed_videos
from vidflow.shards.extraction.sources import find_files


def ids(report) -> list[str]:
    return [video.id for video in report.broken]


def test_every_broken_video_is_named_with_its_reason_and_the_status_says_so(videos, tool, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["check", "--src", str(videos), "--workers", "2", "--quiet"])
    assert stopped.value.code == 3
    shown = capsys.readouterr()
    assert "val/a/bad.mp4" in shown.out
    assert "4 videos = 3 whole + 1 broken" in shown.out
    assert "passed over, 1 x not a video's file name" in shown.out
    assert "1 of 4 videos are broken" in shown.err


def test_the_json_says_the_same(videos, tool, capsys):
    with pytest.raises(DataError, match="1 of 4 videos are broken"):
        tool("check", "--src", videos, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["found"], report["whole"], report["broken"], report["known_before"]) == (4, 3, 1, 0)
    (broken,) = report["videos"]
    assert (broken["id"], broken["stage"]) == ("val/a/bad.mp4", "decode")
    assert "no moov box" in broken["reason"]


def test_whole_videos_leave_with_status_0_and_nothing_is_written(videos, tool, capsys):
    (videos / "val/a/bad.mp4").unlink()
    before = sorted(videos.rglob("*"))
    tool("check", "--src", videos)
    assert "3 videos = 3 whole + 0 broken" in capsys.readouterr().out
    assert sorted(videos.rglob("*")) == before


@pytest.mark.parametrize("name", ["trunc.mkv", "midcorrupt.mp4", "audio_only.mp4", "text.mp4", "empty.mp4"])
def test_each_sort_of_damage_is_found(name, odd_media, tmp_path):
    (tmp_path / name).write_bytes(odd_media[name].read_bytes())
    assert ids(check_videos(find_files(tmp_path).files, workers=1)) == [name]


def test_lists_are_checked_with_missing_files_and_repeats_once(videos, tool, tmp_path, capsys):
    first, second = videos / "train.txt", videos / "val.csv"
    first.write_text("train/a/one.mp4 0\ntrain/b/two.mp4 1\ntrain/a/one.mp4 0\ntrain/a/gone.mp4 1\n")
    second.write_text("path,label\nval/a/bad.mp4,swim\nval/b/three.mp4,run\n")
    with pytest.raises(DataError, match="2 of 5 videos are broken"):
        tool("check", "--list", first, "--list", second, "--json")
    report = json.loads(capsys.readouterr().out)
    assert [video["id"] for video in report["videos"]] == ["train/a/gone.mp4", "val/a/bad.mp4"]
    assert report["videos"][0]["reason"] == "No such file or directory"


def test_the_source_folder_says_where_the_paths_of_a_list_start(videos, tmp_path):
    (tmp_path / "list.txt").write_text("a/one.mp4 0\n")
    assert check_videos(listed_videos([tmp_path / "list.txt"], videos / "train"), workers=1).broken == ()
    assert ids(check_videos(listed_videos([tmp_path / "list.txt"], None), workers=1)) == ["a/one.mp4"]


def test_one_name_in_two_folders_means_two_files(videos, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "list.txt").write_text("one.mp4 0\n")
    (tmp_path / "x/one.mp4").write_bytes((videos / "train/a/one.mp4").read_bytes())
    files = listed_videos([tmp_path / "x/list.txt", tmp_path / "y/list.txt"], None)
    assert ids(check_videos(files, workers=1)) == [str(tmp_path / "y/one.mp4")]


def test_a_report_is_gone_on_with_and_changed_files_are_decoded_again(videos, tmp_path):
    path = tmp_path / "reports/check.jsonl"
    files = find_files(videos).files
    assert check_videos(files, workers=1, report=path).num_kept == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == [file.id for file in files]
    assert (lines[0]["num_frames"], lines[0]["codec"], lines[0]["width"]) == (8, "h264", 64)
    again = check_videos(files, workers=1, report=path)
    assert (again.num_kept, ids(again)) == (4, ["val/a/bad.mp4"])
    (videos / "val/a/bad.mp4").write_bytes((videos / "train/a/one.mp4").read_bytes())
    os.utime(videos / "train/a/one.mp4", ns=(1, 1))
    mended = check_videos(files, workers=1, report=path)
    assert (mended.num_kept, ids(mended)) == (2, [])


def test_a_check_that_was_killed_goes_on_behind_the_last_whole_line(videos, tmp_path):
    path = tmp_path / "check.jsonl"
    files = find_files(videos).files
    check_videos(files, workers=1, report=path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:10])
    assert check_videos(files, workers=1, report=path).num_kept == 2
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["train/a/one.mp4 0\n", '{"loss": 3}\n', "x"])
def test_a_file_that_is_no_report_is_left_alone(content, videos, tmp_path):
    path = tmp_path / "precious.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=r"precious.txt.*give another file"):
        check_videos(find_files(videos).files, workers=1, report=path)
    assert path.read_text() == content


def test_neither_source_nor_list_and_no_workers_are_refused(videos, tool):
    with pytest.raises(ConfigError, match="give --src FOLDER, or --list FILE"):
        tool("check")
    with pytest.raises(ConfigError, match="--workers 0"):
        tool("check", "--src", videos, "--workers", 0)
    with pytest.raises(DataError, match="no such folder"):
        tool("check", "--src", videos / "none")
