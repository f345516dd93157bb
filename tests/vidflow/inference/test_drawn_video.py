"""Videos with predictions drawn on them: their frames, their times, and that they appear whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from vidflow.demo import encode_clip
from vidflow.errors import DataError, StorageError
from vidflow.inference.drawn_video import MAX_SIDE, Figures, draw_video
from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video
from vidflow.schema import VideoInfo
from vidflow.skeletons.layouts import LAYOUTS


@pytest.fixture
def grey(tmp_path) -> tuple[Path, VideoInfo]:
    """A grey video of 10 frames, 160 x 120, at 20 frames per second."""
    path = tmp_path / "grey.mp4"
    encode_clip(path, np.full((10, 120, 160, 3), 90, np.uint8), 20)
    return path, probe_video(path)


def walking(num_frames: int, num_coords: int = 2) -> np.ndarray:
    """[1, T, 17, C]: all keypoints in one place, which moves from left to right."""
    points = np.zeros((1, num_frames, 17, num_coords), np.float32)
    points[..., 0] = np.linspace(20, 140, num_frames)[None, :, None]
    points[..., 1] = 80
    return points


def frames_of(path: Path) -> tuple[np.ndarray, VideoInfo]:
    info = probe_video(path)
    return decode_frames(path, info, np.arange(info.num_frames)), info


def test_people_are_drawn_on_the_frame_that_they_were_seen_in(grey, tmp_path):
    figures = Figures(keypoints=walking(10), scores=None, limbs=LAYOUTS["coco"].limbs, size=(160, 120), fps=20)
    draw_video(tmp_path / "deep/out.mp4", ["waving 0.90"], video=grey, figures=figures)
    frames, info = frames_of(tmp_path / "deep/out.mp4")
    assert (info.num_frames, info.width, info.height, info.has_audio) == (10, 160, 120, False)
    np.testing.assert_allclose(info.seconds, grey[1].seconds, atol=1e-4)
    for number, frame in enumerate(frames.astype(int)):
        drawn = np.abs(frame[60:] - 90).max(axis=2) > 40
        assert abs(np.nonzero(drawn)[1].mean() - walking(10)[0, number, 0, 0]) < 3
        assert frame[:40, :100].max() > 200
        assert abs(frame[100:, :10] - 90).max() < 10
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.mp4"]


def test_odd_sizes_are_drawn_too(tmp_path):
    figures = Figures(keypoints=walking(4), scores=None, limbs=(), size=(161, 121), fps=10)
    draw_video(tmp_path / "out.mp4", [], figures=figures)
    _, info = frames_of(tmp_path / "out.mp4")
    assert (info.width, info.height) == (162, 122)


def test_skeletons_without_a_video_are_drawn_on_an_empty_picture(tmp_path):
    figures = Figures(keypoints=walking(6, 3), scores=np.zeros((1, 6, 17), np.float32), limbs=(), fps=15)
    draw_video(tmp_path / "out.mp4", [], figures=figures)
    frames, info = frames_of(tmp_path / "out.mp4")
    assert (info.num_frames, info.fps) == (6, pytest.approx(15, rel=1e-3))
    places = [np.nonzero(frame.max(axis=2) > 100)[1].mean() for frame in frames]
    assert np.diff(places).min() > 30


def test_doubtful_keypoints_of_a_picture_are_not_drawn(tmp_path):
    scores = np.full((1, 6, 17), 0.1, np.float32)
    figures = Figures(keypoints=walking(6), scores=scores, limbs=(), size=(160, 120), fps=15)
    draw_video(tmp_path / "out.mp4", [], figures=figures)
    assert frames_of(tmp_path / "out.mp4")[0].max() < 20


def test_a_video_is_replaced_whole(grey, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_text("something else")
    draw_video(out, ["a"], video=grey)
    assert frames_of(out)[1].num_frames == 10


def test_figures_of_other_frames_are_refused_and_leave_nothing(grey, tmp_path):
    figures = Figures(keypoints=walking(9), scores=None, limbs=(), size=(160, 120))
    with pytest.raises(DataError, match=r"grey\.mp4: has 10 frames, its skeletons 9"):
        draw_video(tmp_path / "out.mp4", [], video=grey, figures=figures)
    assert not (tmp_path / "out.mp4").exists()


def test_a_video_that_has_changed_leaves_nothing(grey, tmp_path):
    path, info = grey
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError):
        draw_video(tmp_path / "out.mp4", [], video=(path, info.model_copy(update={"num_frames": 20})))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grey.mp4"]


def test_a_place_that_cannot_be_written_is_named(grey, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/out\.mp4: cannot be written"):
        draw_video(tmp_path / "file/out.mp4", [], video=grey)


def test_a_picture_larger_than_can_be_encoded_is_refused(tmp_path):
    figures = Figures(keypoints=walking(4), scores=None, limbs=(), size=(MAX_SIDE + 1, 2))
    with pytest.raises(DataError, match=rf"out\.mp4: .* {MAX_SIDE + 1} x 2 pixels, and at most {MAX_SIDE} a side"):
        draw_video(tmp_path / "out.mp4", [], figures=figures)


def test_nothing_to_draw_on_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to draw on"):
        draw_video(tmp_path / "out.mp4", ["a"])
