"""Re-encoding: every frame at its time, upright, in the right colours and size, the same bytes each time."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vidflow.errors import ConfigError
from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video
from vidflow.shards.prepare import Prepared, Refused, Task, prepare
from vidflow.shards.profiles import PROFILES, choose_profile, encode, stored_size
from vidflow.shards.sources.items import SourceItem

MEDIA = (
    "vfr.mp4",
    "vfr.mkv",
    "ntsc.mp4",
    "rot90.mp4",
    "rot180.mp4",
    "rot270.mp4",
    "odd.avi",
    "odd444.mp4",
    "narrow32x360.mp4",
    "tiny16x16.mp4",
    "gray.mp4",
    "bt709.mp4",
    "full_range.mp4",
    "h264hi10.mp4",
    "alpha_png.mov",
    "mjpeg.avi",
    "mp4v_b.avi",
    "one.mp4",
    "audio_longer.mp4",
    "size_change.ts",
    "open_gop.mp4",
    "frag.mp4",
)


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("profile", ["train", "intra"])
def test_frames_times_and_colours_stay(name, profile, odd_media, read_numbers, tmp_path):
    source = odd_media[name]
    before = probe_video(source)
    encode(source, before, tmp_path / "out.mp4", PROFILES[profile])
    after = probe_video(tmp_path / "out.mp4")

    assert (after.codec, after.container, after.pixel_format, after.rotation) == ("h264", "mp4", "yuv420p", 0)
    assert (after.width, after.height) == (before.width + before.width % 2, before.height + before.height % 2)
    assert after.num_frames == before.num_frames
    np.testing.assert_allclose(after.seconds, before.seconds, atol=1e-9)
    assert after.variable_frame_rate == before.variable_frame_rate
    assert after.duration == pytest.approx(before.duration, abs=1e-3)
    assert (after.seekable, after.has_audio) == (True, False)
    assert after.reorder_depth <= {"train": 1, "intra": 0}[profile]
    gop = {"train": 16, "intra": 1}[profile]
    assert after.key_frames == tuple(range(0, after.num_frames, gop))

    every = np.arange(before.num_frames)
    old = decode_frames(source, before, every)
    new = decode_frames(tmp_path / "out.mp4", after, every)
    assert read_numbers(new) == read_numbers(old)
    # Coding noise on these blocks is below 3; a wrong matrix or range would cost 10 and more.
    difference = np.abs(new[:, : before.height, : before.width].astype(int) - old)
    assert difference.mean() < 3


def test_the_same_input_gives_the_same_bytes(odd_media, tmp_path):
    info = probe_video(odd_media["vfr.mp4"])
    for name in ("a.mp4", "b.mp4"):
        encode(odd_media["vfr.mp4"], info, tmp_path / name, PROFILES["train"])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_large_video_shrinks_to_the_short_side(numbered_video, read_numbers, tmp_path):
    source = numbered_video(tmp_path / "large.mp4", 5, height=360, width=640)
    profile = replace(PROFILES["train"], short_side=128)
    encode(source, probe_video(source), tmp_path / "out.mp4", profile)
    after = probe_video(tmp_path / "out.mp4")
    assert (after.width, after.height) == (228, 128)
    assert read_numbers(decode_frames(tmp_path / "out.mp4", after, np.arange(5))) == [0, 1, 2, 3, 4]


def test_the_sample_aspect_ratio_is_kept_as_a_number(odd_media, tmp_path):
    info = probe_video(odd_media["sar.mp4"])
    encode(odd_media["sar.mp4"], info, tmp_path / "out.mp4", PROFILES["train"])
    assert probe_video(tmp_path / "out.mp4").sample_aspect_ratio == info.sample_aspect_ratio == 2


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ((1920, 1080), (456, 256)),
        ((1080, 1920), (256, 456)),
        ((340, 256), (340, 256)),
        ((256, 256), (256, 256)),
        ((257, 257), (256, 256)),
        ((161, 121), (162, 122)),
        ((1, 1), (2, 2)),
        ((4000, 300), (3414, 256)),
    ],
)
def test_stored_sizes(size, stored):
    assert stored_size(*size, 256) == stored


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fast"}, "choose one of copy, train, intra"),
        ({"name": "copy", "crf": 20}, "no effect"),
        ({"name": "copy", "short_side": 128}, "no effect"),
        ({"name": "train", "crf": 52}, r"\[0, 51\]"),
        ({"name": "train", "short_side": 8}, "at least 16"),
    ],
)
def test_options_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        choose_profile(**arguments)


def task_of(path) -> Task:
    return Task(0, "000000", SourceItem(str(path), path.name, "train", (0,)))


def test_the_record_of_a_reencoded_sample_is_of_the_result(odd_media, tmp_path):
    sample = prepare(task_of(odd_media["rot90.mp4"]), PROFILES["intra"], "error", str(tmp_path))
    assert isinstance(sample, Prepared)
    assert sample.staged
    assert (sample.contents.info.rotation, len(sample.contents.info.key_frames)) == (0, sample.contents.info.num_frames)


def test_damage_that_was_concealed_stays_counted(odd_media, tmp_path):
    path = odd_media["midcorrupt.mp4"]
    sample = prepare(task_of(path), PROFILES["train"], "conceal", str(tmp_path))
    assert isinstance(sample, Prepared)
    assert sample.contents.info.num_damaged == probe_video(path, on_damage="conceal").num_damaged > 0
    assert sample.contents.info.seekable


def test_time_stamps_that_mp4_cannot_hold_are_refused(numbered_video, tmp_path):
    # Matroska in units of 1 ms, with a gap of 30 days.
    path = numbered_video(tmp_path / "gap.mkv", 3, pts=[0, 40, 30 * 86_400_000], time_base=Fraction(1, 1000))
    sample = prepare(task_of(path), PROFILES["train"], "error", str(tmp_path))
    assert isinstance(sample, Refused)
    assert sample.stage == "encode"
    assert "cannot be encoded (" in sample.reason
    assert list(tmp_path.iterdir()) == [path]
