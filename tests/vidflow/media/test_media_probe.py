"""Probing: what is found in odd files, and what is refused with which words."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video

NUM_FRAMES = {
    "vfr.mp4": 42, "vfr.mkv": 42, "one.mp4": 1, "five.mp4": 5,
    "av1.mp4": 30, "h264hi10.mp4": 30, "rot90.mp4": 30, "rot180.mp4": 30, "rot270.mp4": 30, "odd.avi": 30,
    "odd.webm": 30, "odd444.mp4": 30, "narrow32x360.mp4": 30, "tiny16x16.mp4": 30, "gray.mp4": 30, "bt709.mp4": 30,
    "full_range.mp4": 30, "alpha.webm": 30, "alpha_png.mov": 30, "sar.mp4": 30, "cover_first.mkv": 30,
    "cover_attached.mkv": 30, "mjpeg.avi": 30, "webm_named.mp4": 30,
}  # fmt: skip
SIZES = {
    "odd.avi": (161, 121),
    "odd.webm": (161, 121),
    "odd444.mp4": (161, 121),
    "narrow32x360.mp4": (32, 360),
    "tiny16x16.mp4": (16, 16),
}
NO_USABLE_TIME_STAMPS = {"size_change.ts", "mp4v_packed.avi"}


def test_every_frame_and_the_size_people_see_are_counted(odd_media, good_name):
    info = probe_video(odd_media[good_name])
    assert info.num_frames == NUM_FRAMES.get(good_name, 60)
    assert (info.width, info.height) == SIZES.get(good_name, (160, 120))
    assert info.num_damaged == 0
    assert info.key_frames[0] == 0
    assert info.seekable == (good_name not in NO_USABLE_TIME_STAMPS)


def test_bytes_memory_and_file_are_probed_alike(odd_media, good_name):
    path = odd_media[good_name]
    data = path.read_bytes()
    info = probe_video(path)
    # The name of a file decides nothing but mkv or webm.
    assert probe_video(data, container=info.container) == info
    assert probe_video(memoryview(data), container=info.container) == info


REASONS = {
    "empty.mp4": "0 bytes",
    "text.mp4": "cannot be opened",
    "play_list.mp4": "cannot be opened",
    "still.mp4": "no video container",
    "nomoov.mp4": "no moov box",
    "trunc_faststart.mp4": r"damaged at packet \d+ of 60, after \d+ frames",
    "trunc.mkv": r"ends early.*: the last of \d+ frames stands at \d\.\d\d s, the header promises 2\.00 s",
    "trunc.avi": r"damaged at packet \d+ of 60, after \d+ frames",
    "midcorrupt.mp4": r"damaged at packet \d+ of 60, after \d+ frames",
    "audio_only.mp4": r"no video stream \(streams: audio\)",
    "cover_only.mp4": "no video stream",
    "zero.avi": "no frame decodes",
}


def test_bad_files_are_refused_with_their_name_and_the_reason(odd_media, bad_name):
    path = odd_media[bad_name]
    with pytest.raises(DecodeError, match=REASONS[bad_name]) as caught:
        probe_video(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DecodeError, match=f"video of {path.stat().st_size} bytes"):
        probe_video(path.read_bytes())


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DecodeError, match="no such file"):
        probe_video(tmp_path / "none.mp4")
    with pytest.raises(DecodeError, match="not a regular file"):
        probe_video(tmp_path)


def test_packets_that_the_index_promises_and_that_are_missing_are_an_error(odd_media):
    # Cut exactly between two packets, so that no packet is broken.
    data = odd_media["one_gop.mp4"].read_bytes()
    with av.open(str(odd_media["one_gop.mp4"])) as file:
        packets = [p for p in file.demux(file.streams.video[0]) if p.size]
    last = packets[-5]
    moov = data.index(b"moov") - 4
    start = data.index(b"mdat") + 4
    assert moov > start  # the index stands behind the data: move it to the front and mend its chunk offsets
    index = bytearray(data[moov:])
    offsets = index.index(b"stco") + 8
    for i in range(int.from_bytes(index[offsets : offsets + 4], "big")):
        place = offsets + 4 + 4 * i
        old = int.from_bytes(index[place : place + 4], "big")
        index[place : place + 4] = (old + len(index)).to_bytes(4, "big")
    cut = data[: start - 8] + bytes(index) + data[start - 8 : last.pos]
    with pytest.raises(
        DecodeError, match=r"ends early, the file is cut off: 55 frames decode, the index promises 60 packets"
    ):
        probe_video(cut)
    info = probe_video(cut, on_damage="conceal")
    assert (info.num_frames, info.header_num_frames, info.num_damaged) == (55, 60, 0)


def test_damage_in_the_middle_keeps_the_later_frames_at_their_times(odd_media):
    whole = probe_video(odd_media["one_gop.mp4"])
    info = probe_video(odd_media["midcorrupt.mp4"], on_damage="conceal")
    assert info.num_damaged > 0
    assert 8 < info.num_frames < 60
    assert not info.seekable
    assert info.header_num_frames == 60
    assert set(info.timestamps.tolist()) <= set(whole.timestamps.tolist())
    assert info.seconds[-1] == pytest.approx(whole.seconds[-1])
    assert info.duration == pytest.approx(2.0)


def test_a_cut_off_file_keeps_what_decodes_under_conceal(odd_media):
    info = probe_video(odd_media["trunc_faststart.mp4"], on_damage="conceal")
    assert 10 < info.num_frames < 60
    assert info.header_num_frames == 60
    assert info.num_damaged == 1


@pytest.mark.parametrize("name", ["empty.mp4", "text.mp4", "nomoov.mp4", "audio_only.mp4", "zero.avi"])
def test_conceal_does_not_make_a_video_of_what_is_none(odd_media, name):
    with pytest.raises(DecodeError):
        probe_video(odd_media[name], on_damage="conceal")


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [
        ("base.mp4", "mp4", "h264"),
        ("base.mov", "mp4", "h264"),
        ("base.mkv", "mkv", "h264"),
        ("nodur.webm", "webm", "vp9"),
        ("webm_named.mp4", "webm", "vp9"),
        ("vp8.webm", "webm", "vp8"),
        ("av1.mp4", "mp4", "av1"),
        ("base.ts", "ts", "h264"),
        ("base.flv", "flv", "h264"),
        ("mp4v_b.avi", "avi", "mpeg4"),
        ("mpeg2.mpg", "mpg", "mpeg2video"),
        ("alpha_png.mov", "mp4", "png"),
    ],
)
def test_container_and_codec_come_from_the_bytes(odd_media, name, container, codec):
    info = probe_video(odd_media[name])
    assert (info.container, info.codec) == (container, codec)


def test_the_name_decides_between_matroska_and_webm(odd_media, tmp_path):
    path = tmp_path / "named.MKV"
    path.write_bytes(odd_media["nodur.webm"].read_bytes())
    assert probe_video(path).container == "mkv"
    assert probe_video(path, container="webm").container == "webm"


@pytest.mark.parametrize(
    ("name", "pixel_format", "bits"),
    [
        ("base.mp4", "yuv420p", 8),
        ("hevc10.mp4", "yuv420p10le", 10),
        ("h264hi10.mp4", "yuv420p10le", 10),
        ("odd444.mp4", "yuv444p", 8),
        ("full_range.mp4", "yuvj420p", 8),
        ("alpha_png.mov", "rgba", 8),
    ],
)
def test_pixel_format_and_bit_depth_are_those_of_decoded_frames(odd_media, name, pixel_format, bits):
    info = probe_video(odd_media[name])
    assert (info.pixel_format, info.bit_depth) == (pixel_format, bits)


def test_codec_profile_is_kept(odd_media):
    assert probe_video(odd_media["h264hi10.mp4"]).codec_profile == "High 10"


@pytest.mark.parametrize(
    ("name", "fps"), [("base.mp4", 30), ("ntsc.mp4", 30000 / 1001), ("ntsc.mkv", 30000 / 1001), ("base.flv", 30)]
)
def test_constant_rates_stay_constant_in_every_time_base(odd_media, name, fps):
    info = probe_video(odd_media[name])
    assert not info.variable_frame_rate
    assert info.fps == pytest.approx(fps, rel=5e-4)
    assert info.duration == pytest.approx(info.num_frames / fps, abs=2e-3)


def test_constant_steps_are_stored_as_one_number(odd_media):
    info = probe_video(odd_media["ntsc.mp4"])
    assert (info.pts_step, info.pts, info.time_base) == (1001, None, (1, 30000))
    assert info.timestamps.tolist() == [1001 * i for i in range(60)]


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_rate_keeps_every_time_stamp(odd_media, name):
    info = probe_video(odd_media[name])
    assert info.variable_frame_rate
    assert info.pts_step is None
    expected = np.array([*range(30), *range(30, 90, 5)]) / 30
    np.testing.assert_allclose(info.seconds, expected, atol=1.01e-3)


def test_duration_is_the_videos_and_not_the_sounds(odd_media):
    info = probe_video(odd_media["audio_longer.mp4"])
    assert info.has_audio
    assert info.duration == pytest.approx(2.0)
    assert not probe_video(odd_media["base.mp4"]).has_audio


def test_time_stamps_that_start_late_count_from_the_first_frame(odd_media):
    info = probe_video(odd_media["frag.mp4"])
    assert info.pts_start > 0
    assert info.seconds[0] == 0
    assert info.duration == pytest.approx(2.0)


def test_one_frame_has_the_streams_rate(odd_media):
    info = probe_video(odd_media["one.mp4"])
    assert (info.num_frames, info.fps) == (1, 30)
    assert info.duration == pytest.approx(1 / 30)


def test_time_stamps_that_run_back_are_not_used(odd_media):
    info = probe_video(odd_media["size_change.ts"])
    assert (info.pts, info.pts_step, info.seekable, info.key_frames) == (None, None, False, (0,))
    assert info.fps == pytest.approx(30)
    assert info.duration == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "rotation"), [("base.mp4", 0), ("rot90.mp4", 90), ("rot180.mp4", 180), ("rot270.mp4", 270)]
)
def test_rotation_is_what_is_left_to_turn_clockwise(odd_media, name, rotation):
    info = probe_video(odd_media[name])
    assert info.rotation == rotation
    assert (info.width, info.height) == (160, 120)


def test_aspect_ratio_of_pixels_is_recorded_and_turns_with_the_picture(odd_media, numbered_video, tmp_path):
    assert probe_video(odd_media["sar.mp4"]).sample_aspect_ratio == 2
    assert probe_video(odd_media["base.mp4"]).sample_aspect_ratio == 1

    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    on_side = numbered_video(tmp_path / "side.mp4", 3, rotation=90, prepare=stretch)
    assert probe_video(on_side).sample_aspect_ratio == 0.5


def with_matrix(data, matrix):
    """An MP4 whose track header holds another display matrix (ISO/IEC 14496-12, 8.3.2: nine 16.16 numbers)."""
    place = data.index(b"tkhd") + 4 + 40
    return data[:place] + struct.pack(">9i", *matrix) + data[place + 36 :]


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "rotation"),
    [
        ((0, 0, 0, 0, 0, 0, 0, 0, 0), 0),  # degenerate
        ((46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30), 0),  # 45 degrees
        ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), 90),
        ((2 * ONE, 0, 0, 0, 2 * ONE, 0, 0, 0, 1 << 30), 0),  # scaling
    ],
)
def test_a_matrix_that_is_no_quarter_turn_is_ignored(odd_media, matrix, rotation):
    assert probe_video(with_matrix(odd_media["five.mp4"].read_bytes(), matrix)).rotation == rotation


def test_a_mirrored_picture_is_refused(odd_media):
    with pytest.raises(DecodeError, match="mirrors the picture"):
        probe_video(with_matrix(odd_media["five.mp4"].read_bytes(), (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)))


def test_an_encrypted_stream_is_refused(odd_media):
    data = odd_media["five.mp4"].read_bytes()
    assert data.count(b"avc1") >= 1
    with pytest.raises(DecodeError, match="encrypted"):
        probe_video(data.replace(b"avc1", b"encv"))


@pytest.mark.parametrize("name", ["cover_first.mkv", "cover_attached.mkv"])
def test_cover_art_in_front_is_passed_over(odd_media, name):
    info = probe_video(odd_media[name])
    assert (info.stream_index, info.codec) == (1, "h264")


def test_texts_that_are_not_utf8_do_no_harm(tmp_path, numbered_video):
    def title(stream):
        stream.container.metadata["title"] = "TITLE-TO-BREAK"

    path = numbered_video(tmp_path / "title.avi", 5, codec="mpeg4", options={}, prepare=title)
    data = path.read_bytes()
    assert b"TITLE-TO-BREAK" in data
    assert probe_video(data.replace(b"TITLE-TO-BREAK", b"TITLE\xd3TO\xffBREAK")).num_frames == 5


@pytest.mark.parametrize(
    "name", ["one:two.mp4", "http:x.mp4", "%03d.mp4", "a b [1] {2..3}.mp4", "日本 é.mp4", "concat:a|b.mp4"]
)
def test_names_are_never_read_as_addresses_or_patterns(odd_media, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(odd_media["five.mp4"].read_bytes())
    assert probe_video(path).num_frames == 5


def test_key_frames_are_where_decoding_can_start(odd_media):
    assert probe_video(odd_media["base.mp4"]).key_frames == (0, 12, 24, 36, 48)
    assert probe_video(odd_media["intra.mp4"]).key_frames == tuple(range(60))
    assert probe_video(odd_media["nodur.webm"]).key_frames == (0, 12, 24, 36, 48)
    assert probe_video(odd_media["one_gop.mp4"]).key_frames == (0,)


def test_open_groups_without_idr_count_after_a_trial_decode(odd_media):
    path = odd_media["open_gop.mp4"]
    with av.open(str(path)) as file:
        keys = [bytes(p) for p in file.demux(file.streams.video[0]) if p.size and p.is_keyframe]
    nal_types = [{nal[0] & 31 for nal in split_avcc(key)} for key in keys]
    assert [5 in types for types in nal_types] == [True, False, False, False, False]  # only the first is an IDR picture
    assert probe_video(path).key_frames == (0, 12, 24, 36, 48)


def split_avcc(data):
    while data:
        size = int.from_bytes(data[:4], "big")
        yield data[4 : 4 + size]
        data = data[4 + size :]


def test_intra_refresh_has_no_key_frame_but_the_first(odd_media):
    path = odd_media["intra_refresh.mp4"]
    with av.open(str(path)) as file:
        assert sum(p.is_keyframe for p in file.demux(file.streams.video[0])) > 1
    assert probe_video(path).key_frames == (0,)


def test_key_frames_that_a_seek_misses_are_dropped(odd_media):
    # All key frames of this file lie in one cluster, and Matroska's index leads to clusters.
    path = odd_media["base.mkv"]
    with av.open(str(path)) as file:
        assert sum(p.is_keyframe for p in file.demux(file.streams.video[0])) == 5
    assert probe_video(path).key_frames == (0,)


@pytest.mark.parametrize("name", ["late_b.mkv", "late_b.ts"])
def test_no_frame_is_lost_where_ffmpeg_guesses_too_small_a_reorder_depth(odd_media, name):
    with av.open(str(odd_media[name])) as file:
        guess = file.streams.video[0].codec_context.reorder_depth
        assert sum(1 for _ in file.decode(video=0)) < 60  # a plain loop loses some
    info = probe_video(odd_media[name])
    assert info.num_frames == 60
    assert info.reorder_depth > guess


def test_probing_is_deterministic_and_round_trips(odd_media, good_name):
    info = probe_video(odd_media[good_name])
    assert probe_video(odd_media[good_name], num_threads=2) == info
    assert type(info).model_validate_json(info.model_dump_json()) == info
