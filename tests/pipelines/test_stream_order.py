"""Packets that DALI would number as the manifest does, and those that it would not."""

import numpy as np
import pytest

from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.pipelines.stream_order import check_stream, colors_from_bt601


def check(path):
    return check_stream(path.read_bytes(), probe_video(path))


@pytest.mark.parametrize(
    "name",
    [
        "base.mp4",
        "frag.mp4",
        "open_gop.mp4",
        "pyramid.mp4",
        "one_gop.mp4",
        "intra.mp4",
        "intra_refresh.mp4",
        "vfr.mp4",
        "ntsc.mp4",
        "nodur.webm",
        "vp8.webm",
        "webm_named.mp4",
        "audio_longer.mp4",
        "one.mp4",
        "mp4v_b.mp4",
    ],
)
def test_sound_streams_pass(odd_media, name):
    order = check(odd_media[name])
    assert order.refusal is None
    assert order.colors is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        # Its decoded frames have other numbers than its packets.
        ("size_change.ts", "packets that are not its frames"),
        # Matroska's cues lead elsewhere than to these key frames, of which the manifest names none.
        ("base.mkv", "key frames that seeking does not find"),
        ("hevc10.mp4", "hevc with open groups of pictures"),
        ("av1.mp4", "av1 that shows frames again"),
        ("mjpeg.avi", "full range mjpeg"),
        ("alpha_png.mov", "colour matrix 0"),
    ],
)
def test_others_are_refused_by_name(odd_media, name, reason):
    assert check(odd_media[name]).refusal == reason


def test_hevc_with_closed_groups_passes(numbered_video, tmp_path):
    def closed(stream):
        stream.options = {"x265-params": "log-level=none:keyint=12:open-gop=0:bframes=3:pools=1:frame-threads=1"}

    assert check(numbered_video(tmp_path / "closed.mp4", 40, codec="libx265", prepare=closed)).refusal is None


def test_a_stream_of_fewer_frames_than_the_manifest_is_refused(odd_media):
    info = probe_video(odd_media["base.mp4"])
    longer = info.model_copy(update={"num_frames": info.num_frames + 1})
    assert check_stream(odd_media["base.mp4"].read_bytes(), longer).refusal == "packets that are not its frames"


def test_interlaced_streams_are_refused(numbered_video, tmp_path):
    path = numbered_video(tmp_path / "fields.mp4", 12, options={"x264-params": "tff=1:keyint=12"})
    assert check(path).refusal == "interlaced"


def test_an_edit_list_that_hides_frames_is_refused(numbered_video, tmp_path):
    """Time stamps below 0 at the start, which the muxer turns into an edit list that begins later."""
    path = numbered_video(tmp_path / "cut.mp4", 30, options={"g": 12, "bf": 0, "crf": 20}, pts=range(-5, 25))
    assert probe_video(path).num_frames == 25
    assert check(path).refusal == "packets that are not shown (edit list)"


def test_bt709_gets_the_colours_that_it_means(odd_media):
    order = check(odd_media["bt709.mp4"])
    assert order.refusal is None
    assert order.colors is not None
    np.testing.assert_allclose(order.colors @ [1, 1, 1], [1, 1, 1], atol=1e-6)


def test_colours_go_from_one_matrix_to_the_other():
    """A colour coded with BT.709 (ITU-R BT.709-6, 3.2), read with BT.601's formulas, and put right."""
    red, green, blue = rgb = np.array([0.7, 0.4, 0.2])
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    cb, cr = (blue - luma) / 1.8556, (red - luma) / 1.5748
    misread = [luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb]
    np.testing.assert_allclose(colors_from_bt601(0.2126, 0.0722) @ misread, rgb, atol=1e-4)


def test_bytes_that_are_no_video_are_an_error(odd_media):
    with pytest.raises(DecodeError, match="cannot be opened as a video"):
        check_stream(b"no video at all", probe_video(odd_media["base.mp4"]))
