"""Re-encoding a folder: sizes, key frames, all frames kept, and only what is left on a rerun."""

import json

import av
import numpy as np
import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.media.decode import decode_frames
from vidflow.media.probe import probe_video
from vidflow.media.track import read_track


def test_the_tree_is_kept_and_every_frame_comes_back_upright(videos, tool, read_numbers, tmp_path, capsys):
    tool("resize", "--src", videos, "--out", tmp_path / "out", "--short-side", 32, "--workers", 2, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["done"], report["failed"], report["failures"][0]["id"]) == (3, 1, "val/a/bad.mp4")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/*/*.mp4"))
    assert found == ["train/a/one.mp4", "train/b/two.mp4", "val/b/three.mp4"]
    for name, size, numbers in (
        ("train/a/one.mp4", (42, 32), range(8)),
        ("train/b/two.mp4", (32, 42), range(100, 106)),
        ("val/b/three.mp4", (42, 32), range(200, 205)),
    ):
        before, after = probe_video(videos / name), probe_video(tmp_path / "out" / name)
        assert (after.width, after.height, after.rotation) == (*size, 0)
        np.testing.assert_allclose(after.seconds, before.seconds, atol=1e-4)
        frames = decode_frames(tmp_path / "out" / name, after, np.arange(after.num_frames))
        assert read_numbers(frames) == list(numbers)


def test_key_frames_come_as_often_as_asked(videos, tool, tmp_path):
    for words, expected in ((("--gop", 3), (0, 3, 6)), (("--profile", "intra"), tuple(range(8)))):
        out = tmp_path / str(words[1])
        tool("resize", "--src", videos, "--out", out, *words)
        assert probe_video(out / "train/a/one.mp4").key_frames == expected


def test_other_containers_become_mp4_and_keep_their_extension_only_where_names_meet(videos, tool, tmp_path, odd_media):
    (videos / "train/a/clip.avi").write_bytes(odd_media["odd.avi"].read_bytes())
    (videos / "train/a/one.mkv").write_bytes(odd_media["base.mkv"].read_bytes())
    tool("resize", "--src", videos, "--out", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/train/a").iterdir())
    assert names == ["clip.mp4", "one.mkv.mp4", "one.mp4.mp4"]


def test_a_rerun_keeps_the_files_and_a_better_quality_makes_larger_ones(videos, tool, tmp_path, capsys):
    words = ("resize", "--src", videos, "--out", tmp_path / "out", "--json")
    path = tmp_path / "out/train/a/one.mp4"
    tool(*words, "--crf", 40)
    small = path.read_bytes()
    capsys.readouterr()
    tool(*words, "--crf", 40)
    assert json.loads(capsys.readouterr().out)["kept"] == 3
    assert path.read_bytes() == small
    tool(*words, "--crf", 10, "--overwrite")
    assert len(path.read_bytes()) > len(small)


def test_sound_is_dropped_or_copied_packet_for_packet(numbered_video, tool, read_numbers, tmp_path):
    numbered_video(tmp_path / "src/a.mp4", 30, height=48, width=64, audio_seconds=2.0)
    numbered_video(tmp_path / "src/b.webm", 30, height=48, width=64, codec="libvpx-vp9", options={}, audio_seconds=1.0)
    numbered_video(tmp_path / "src/silent.mp4", 5, height=48, width=64)
    tool("resize", "--src", tmp_path / "src", "--out", tmp_path / "dropped", "--short-side", 32)
    tool("resize", "--src", tmp_path / "src", "--out", tmp_path / "kept", "--short-side", 32, "--keep-sound")
    for name in ("a.mp4", "b.mp4", "silent.mp4"):
        before, after = probe_video(tmp_path / "dropped" / name), probe_video(tmp_path / "kept" / name)
        assert not before.has_audio
        assert after.has_audio == (name != "silent.mp4")
        np.testing.assert_allclose(after.seconds, before.seconds, atol=1e-6)
        numbers = np.arange(after.num_frames)
        frames = decode_frames(tmp_path / "kept" / name, after, numbers)
        np.testing.assert_array_equal(frames, decode_frames(tmp_path / "dropped" / name, before, numbers))
        assert read_numbers(frames) == numbers.tolist()
    expected, found = (read_track(tmp_path / name / "a.mp4", sample_rate=48000) for name in ("src", "kept"))
    np.testing.assert_array_equal(found, expected)
    # Matroska tells the delay of Opus in whole milliseconds.
    expected = read_track(tmp_path / "src/b.webm", sample_rate=48000)[4000:40000]
    found = read_track(tmp_path / "kept/b.mp4", sample_rate=48000)
    errors = {lag: np.abs(found[4000 + lag : 40000 + lag] - expected).max() for lag in range(-48, 49)}
    assert min(errors.values()) < 1e-3


def test_sound_keeps_its_place_where_times_do_not_begin_at_zero(numbered_video, tool, tmp_path):
    numbered_video(tmp_path / "src/a.ts", 30, height=48, width=64, audio_seconds=2.0)
    tool("resize", "--src", tmp_path / "src", "--out", tmp_path / "out", "--keep-sound")
    offsets = []
    for path in (tmp_path / "src/a.ts", tmp_path / "out/a.mp4"):
        with av.open(str(path)) as file:
            firsts = {}
            for packet in file.demux():
                if packet.pts is not None:
                    seconds = float(packet.pts * packet.time_base)
                    firsts[packet.stream.type] = min(seconds, firsts.get(packet.stream.type, seconds))
        offsets.append(firsts["audio"] - firsts["video"])
        assert (firsts["video"] > 0) == (path.suffix == ".ts")
    assert offsets[0] == pytest.approx(offsets[1], abs=1e-3)


def test_the_same_source_gives_the_same_bytes_with_sound(numbered_video, tool, tmp_path):
    numbered_video(tmp_path / "src/a.mp4", 10, height=48, width=64, audio_seconds=1.0)
    for name in "xy":
        tool("resize", "--src", tmp_path / "src", "--out", tmp_path / name, "--keep-sound")
    assert (tmp_path / "x/a.mp4").read_bytes() == (tmp_path / "y/a.mp4").read_bytes()


def test_sound_that_mp4_cannot_hold_fails_by_name_and_leaves_nothing(tool, tmp_path, odd_media):
    (tmp_path / "src").mkdir()
    with av.open(str(tmp_path / "src/a.avi"), "w") as file, av.open(str(odd_media["odd.avi"])) as picture:
        video = file.add_stream_from_template(picture.streams.video[0])
        sound = file.add_stream("pcm_u8", rate=8000, layout="mono")
        for packet in picture.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                file.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.arange(8000, dtype=np.uint8)[None] % 200, format="u8", layout="mono")
        frame.sample_rate = 8000
        file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    with pytest.raises(DataError, match=r"a.avi: its sound \(pcm_u8\) does not fit into MP4"):
        tool("resize", "--src", tmp_path / "src", "--out", tmp_path / "out", "--keep-sound")
    assert list((tmp_path / "out").rglob("*.mp4")) == []
    tool("resize", "--src", tmp_path / "src", "--out", tmp_path / "out", "--overwrite")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gop", 0), "--gop 0: must be at least 1"),
        (("--gop", 4, "--profile", "intra"), "--gop: profile intra makes every frame a key frame"),
        (("--short-side", 8), "--short-side 8: must be at least 16"),
        (("--crf", 99), r"--crf 99: must lie in \[0, 51\]"),
        (("--max-failures", -1), "--max-failures -1"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(words, message, videos, tool, tmp_path):
    with pytest.raises(ConfigError, match=message):
        tool("resize", "--src", videos, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_writing_into_the_source_is_refused(videos, tool):
    with pytest.raises(ConfigError, match="lies inside --src"):
        tool("resize", "--src", videos, "--out", videos)
