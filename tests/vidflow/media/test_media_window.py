"""A window of a video holds exactly the frames whose time stamps lie in it, whatever the file is like."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from vidflow.errors import DecodeError
from vidflow.media.decode import decode_frames
from vidflow.media.pixels import RgbConverter
from vidflow.media.probe import probe_video
from vidflow.media.window import TOLERANCE_SECONDS, Window, open_window


def shown(path: Path, window: Window) -> list[np.ndarray]:
    with open_window(path, window) as opened:
        pictures = []
        for frame in opened.frames:
            pictures.append(np.array(RgbConverter(width=opened.width, height=opened.height, rotation=0)(frame)))
        return pictures


@pytest.mark.parametrize(
    ("window", "numbers"),
    [
        (Window(0, 0.1), [0, 1, 2]),
        (Window(0.5, 0.6), [15, 16, 17]),
        (Window(0.51, 0.6), [16, 17]),
        (Window(1.9, 9.0), [57, 58, 59]),
        (Window(0, 100), list(range(60))),
    ],
)
def test_a_window_begins_and_ends_at_its_very_frames(numbered_video, read_numbers, tmp_path, window, numbers):
    path = numbered_video(tmp_path / "a.mp4")  # 60 frames at 30 per second, key frames every 12, B-frames
    assert read_numbers(np.stack(shown(path, window))) == numbers


def test_windows_that_meet_share_no_frame_and_lose_none(numbered_video, read_numbers, tmp_path):
    path = numbered_video(tmp_path / "a.mkv", rate=24, num_frames=48)  # Matroska rounds 1/24 s to milliseconds
    edges = [i / 24 for i in (0, 7, 8, 19, 31, 48)]
    found = [read_numbers(np.stack(shown(path, Window(a, b)))) for a, b in itertools.pairwise(edges)]
    assert [number for part in found for number in part] == list(range(48))
    assert [len(part) for part in found] == [7, 1, 11, 12, 17]


def test_frames_of_an_avi_with_b_frames_are_counted(numbered_video, read_numbers, tmp_path):
    options = {"bf": 2, "g": 12, "b": "2M"}
    path = numbered_video(tmp_path / "a.avi", codec="mpeg4", options=options)
    for start in (0, 7, 30):
        assert read_numbers(np.stack(shown(path, Window(start / 30, (start + 10) / 30)))) == list(
            range(start, start + 10)
        )


def test_on_a_slower_grid_frames_are_left_out(numbered_video, read_numbers, tmp_path):
    path = numbered_video(tmp_path / "a.mp4")
    assert read_numbers(np.stack(shown(path, Window(0.5, 1.5, fps=10)))) == list(range(15, 45, 3))


def test_on_a_faster_grid_frames_are_repeated(numbered_video, read_numbers, tmp_path):
    path = numbered_video(tmp_path / "a.mp4", rate=25, num_frames=50)
    found = read_numbers(np.stack(shown(path, Window(1.0, 1.5, fps=50))))
    assert found == [25 + i // 2 for i in range(25)]


def test_a_grid_ends_where_the_video_does(numbered_video, read_numbers, tmp_path):
    path = numbered_video(tmp_path / "a.mp4")
    assert read_numbers(np.stack(shown(path, Window(1.9, 5, fps=30)))) == [57, 58, 59]


def test_any_decodable_video_gives_the_frames_that_probing_numbers(odd_media, good_name):
    path = odd_media[good_name]
    info = probe_video(path)
    if good_name == "mp4v_packed.avi":  # the time stamps of some frames are missing, and are told from their order
        np.testing.assert_array_equal(np.stack(shown(path, Window(0, 100))), decode_frames(path, info, np.arange(60)))
        return
    if info.pts_step is None and info.pts is None:
        with pytest.raises(DecodeError, match="time stamps go back"):
            shown(path, Window(0, 100))
        return
    frames = decode_frames(path, info, np.arange(info.num_frames))
    seconds = info.seconds
    for low, high in ((0, 0.25), (0.35, 0.7), (0.6, 1.0)):
        start, end = (seconds[-1] * share + 1e-9 for share in (low, high))
        inside = (seconds >= start - TOLERANCE_SECONDS) & (seconds < end - TOLERANCE_SECONDS)
        if not inside.any():
            continue
        np.testing.assert_array_equal(np.stack(shown(path, Window(start, end))), frames[inside])


def test_a_window_behind_the_end_is_an_error_that_says_so(numbered_video, tmp_path):
    path = numbered_video(tmp_path / "a.mp4")
    for fps in (None, 30):
        with pytest.raises(DecodeError, match=r"a\.mp4: has no frame in \[2, 3\) s; it ends before that"):
            shown(path, Window(2, 3, fps=fps))


def test_damage_in_the_window_is_an_error_and_damage_behind_it_is_not(odd_media, numbered_video, tmp_path):
    path = numbered_video(tmp_path / "a.mp4", num_frames=120)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    assert len(shown(path, Window(0, 0.5))) == 15
    with pytest.raises(DecodeError, match="damaged before 3 s"):
        shown(path, Window(1, 3))


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 1), (float("nan"), 1)])
def test_a_window_must_have_a_length(start, end):
    with pytest.raises(ValueError, match="must lie behind 0 and end after its start"):
        Window(start, end)
