"""Frames and flow of videos: which, how large, what they are called, and that they pack."""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.media.decode import decode_frames
from vidflow.media.flow import decode_flow
from vidflow.media.probe import probe_video
from vidflow.members import flow_arrays, frame_arrays
from vidflow.schema import SampleRecord
from vidflow.shards.extraction.frames import FlowOptions, FrameOptions, frames_at, parse_size
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.sources.by_kind import KindOptions, read_source


def pictures(folder: Path, start: str = "img") -> np.ndarray:
    """RGB frames [N, H, W, 3] in the order of their names."""
    return np.stack([cv2.imread(str(path))[..., ::-1] for path in sorted(folder.glob(f"{start}*"))])


def test_frames_are_all_there_upright_and_in_order(videos, tool, read_numbers, tmp_path, capsys):
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "out", "--workers", 2, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["found"], report["done"], report["kept"], report["failed"]) == (4, 3, 0, 1)
    assert report["passed_over"] == {"not a video's file name": 1}
    assert report["failures"][0]["id"] == "val/a/bad.mp4"
    one = tmp_path / "out/train/a/one"
    assert [path.name for path in sorted(one.iterdir())] == [f"img_{i:05d}.jpg" for i in range(1, 9)]
    assert read_numbers(pictures(one)) == list(range(8))
    turned = pictures(tmp_path / "out/train/b/two")
    assert turned.shape == (6, 64, 48, 3)
    assert read_numbers(turned) == list(range(100, 106))
    assert not (tmp_path / "out/val/a/bad").exists()


def test_png_frames_hold_the_pixels_that_the_decoder_gives(videos, tool, tmp_path):
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "out", "--format", "png")
    for name in ("train/a/one", "train/b/two"):
        source = videos / f"{name}.mp4"
        info = probe_video(source)
        expected = decode_frames(source, info, np.arange(info.num_frames))
        np.testing.assert_array_equal(pictures(tmp_path / "out" / name), expected)


def test_a_rate_takes_what_is_on_screen_at_even_times(videos, tool, read_numbers, tmp_path):
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "out", "--fps", 15)
    assert read_numbers(pictures(tmp_path / "out/train/a/one")) == [0, 2, 4, 6]  # of 30 per second
    assert read_numbers(pictures(tmp_path / "out/val/b/three")) == [200, 200, 201, 202, 202, 203, 204, 204]  # of 10


def test_a_variable_rate_is_sampled_by_time_and_not_by_number(odd_media):
    info = probe_video(odd_media["vfr.mp4"])
    numbers = frames_at(info, 10)
    assert len(numbers) == int(np.ceil(info.duration * 10 - 1e-6))
    for k, number in enumerate(numbers):
        on_screen = [i for i, seconds in enumerate(info.seconds) if seconds <= k / 10 + 1e-3]
        assert number == on_screen[-1]


def test_time_stamps_that_the_container_has_rounded_skip_no_frame(numbered_video, tmp_path):
    info = probe_video(numbered_video(tmp_path / "a.mkv", 40, height=48, width=64))
    assert info.time_base == (1, 1000)
    assert frames_at(info, 30).tolist() == list(range(40))


def test_sizes_shrink_to_a_short_side_or_become_what_is_asked(videos, tool, read_numbers, tmp_path):
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "short", "--short-side", 32)
    assert pictures(tmp_path / "short/train/a/one").shape == (8, 32, 43, 3)
    assert pictures(tmp_path / "short/train/b/two").shape == (6, 43, 32, 3)
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "size", "--size", "128x96")
    grown = pictures(tmp_path / "size/train/a/one")
    assert grown.shape == (8, 96, 128, 3)
    assert read_numbers(grown) == list(range(8))


def test_a_lower_quality_gives_smaller_files(videos, tool, tmp_path):
    for quality in (30, 95):
        tool("extract", "frames", "--src", videos, "--out", tmp_path / str(quality), "--quality", quality)
    sizes = [(tmp_path / name / "train/a/one/img_00001.jpg").stat().st_size for name in ("30", "95")]
    assert sizes[0] < sizes[1]


def test_names_follow_the_template(videos, tool, tmp_path):
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "out", "--template", "frame%04d.jpg")
    assert sorted(path.name for path in (tmp_path / "out/val/b/three").iterdir())[0] == "frame0001.jpg"


def test_damage_can_be_concealed(videos, tool, tmp_path, odd_media):
    source = tmp_path / "damaged"
    source.mkdir()
    (source / "x.mp4").write_bytes(odd_media["midcorrupt.mp4"].read_bytes())
    with pytest.raises(DataError, match=r"all 1 jobs failed, such as x.mp4: damaged at packet"):
        tool("extract", "frames", "--src", source, "--out", tmp_path / "out")
    tool("extract", "frames", "--src", source, "--out", tmp_path / "kept", "--on-damage", "conceal")
    info = probe_video(source / "x.mp4", on_damage="conceal")
    assert len(list((tmp_path / "kept/x").iterdir())) == info.num_frames


def moving_texture(path: Path, num_frames: int, step: tuple[int, int]) -> Path:
    """A lossless video whose content moves by ``step`` pixels (right, down) per frame."""
    import av

    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((200, 200)).astype(np.float32), (0, 0), 2)
    texture = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(num_frames):
            top, left = 60 - i * step[1], 60 - i * step[0]
            grey = np.ascontiguousarray(texture[top : top + 64, left : left + 96])
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("algorithm", ["dis", "farneback"])
def test_flow_is_the_motion_in_pixels_and_packs_beside_its_frames(algorithm, tool, read_back, tmp_path):
    for split in ("train", "val"):
        moving_texture(tmp_path / f"src/{split}/right/a.mp4", 5, (3, -1))
    tool("extract", "flow", "--src", tmp_path / "src", "--out", tmp_path / "out", "--algorithm", algorithm)
    names = sorted(path.name for path in (tmp_path / "out/train/right/a").iterdir())
    assert names == [
        *(f"flow_x_{i:05d}.jpg" for i in range(1, 5)),
        *(f"flow_y_{i:05d}.jpg" for i in range(1, 5)),
        *(f"img_{i:05d}.jpg" for i in range(1, 6)),
    ]
    source = read_source("frames", KindOptions(src=tmp_path / "out"))
    assert pack(source, tmp_path / "shards", PackOptions(), workers=1).info.num_rejected == 0
    samples = read_back(tmp_path / "shards")
    assert len(samples) == 2
    for sample in samples:
        record, members = SampleRecord(**sample["json"]), sample["fields"]
        assert (record.frames.num_frames, record.frames.num_flow) == (5, 4)
        assert frame_arrays(record, members, [0, 4]).shape == (2, 64, 96, 3)
        flow = decode_flow(flow_arrays(record, members, range(4)), 20)[:, 16:-16, 16:-16]
        np.testing.assert_allclose(np.median(flow, axis=(0, 1, 2)), [3, -1], atol=0.25)


def test_flow_alone_leaves_the_frames_out(videos, tool, tmp_path):
    tool("extract", "flow", "--src", videos, "--out", tmp_path / "out", "--no-frames", "--short-side", 32)
    names = sorted(path.name for path in (tmp_path / "out/val/b/three").iterdir())
    assert names == [f"flow_{axis}_{i:05d}.jpg" for axis in "xy" for i in range(1, 5)]


def test_a_still_video_has_middle_grey_as_flow(tool, tmp_path):
    moving_texture(tmp_path / "src/a.mp4", 3, (0, 0))
    tool("extract", "flow", "--src", tmp_path / "src", "--out", tmp_path / "out", "--algorithm", "farneback")
    flow = cv2.imread(str(tmp_path / "out/a/flow_x_00001.jpg"), cv2.IMREAD_GRAYSCALE)
    assert np.abs(flow.astype(int) - 128).max() <= 2


def test_one_frame_has_no_flow(numbered_video, tool, tmp_path):
    numbered_video(tmp_path / "src/a.mp4", 1, height=48, width=64)
    with pytest.raises(DataError, match=r"a.mp4: one frame only; flow needs two"):
        tool("extract", "flow", "--src", tmp_path / "src", "--out", tmp_path / "out")
    assert not (tmp_path / "out/a").exists()


def test_a_rerun_does_what_is_left_and_other_options_are_refused(videos, tool, tmp_path, capsys):
    words = ("extract", "frames", "--src", videos, "--out", tmp_path / "out", "--json")
    tool(*words)
    assert json.loads(capsys.readouterr().out)["done"] == 3
    tool(*words)
    again = json.loads(capsys.readouterr().out)
    assert (again["done"], again["kept"], again["failed"]) == (0, 3, 1)
    with pytest.raises(DataError, match="another `frames`: short_side was None and is now 32"):
        tool(*words, "--short-side", 32)
    tool(*words, "--short-side", 32, "--overwrite")
    assert json.loads(capsys.readouterr().out)["done"] == 3
    assert pictures(tmp_path / "out/train/a/one").shape == (8, 32, 43, 3)


def test_videos_that_differ_in_their_extension_alone_have_folders_of_their_own(videos, tool, tmp_path):
    (videos / "train/a/one.mkv").write_bytes((videos / "val/b/three.mp4").read_bytes())
    tool("extract", "frames", "--src", videos, "--out", tmp_path / "out")
    counts = {path.name: len(list(path.iterdir())) for path in (tmp_path / "out/train/a").iterdir()}
    assert counts == {"one.mkv": 5, "one.mp4": 8}


@pytest.mark.skipif(sys.platform != "linux", reason="file names need not be UTF-8 on Linux only")
def test_names_that_are_not_utf8_are_kept_byte_for_byte(videos, tool, tmp_path, capsys):
    odd = os.fsdecode(b"caf\xe9 \xc3\xa9 [x].y")
    (videos / "train/a" / f"{odd}.mp4").write_bytes((videos / "train/a/one.mp4").read_bytes())
    words = ("extract", "frames", "--src", videos, "--out", tmp_path / "out", "--json")
    tool(*words)
    assert len(list((tmp_path / "out/train/a" / odd).iterdir())) == 8
    capsys.readouterr()
    tool(*words)
    assert json.loads(capsys.readouterr().out)["kept"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fps", 0), "--fps 0.0: must be positive"),
        (("--short-side", 0), "--short-side 0: must be at least 1"),
        (("--short-side", 8, "--size", "9x9"), "--short-side or --size, not both"),
        (("--size", "9"), "--size '9': write width x height"),
        (("--size", "0x9"), "at least 1x1"),
        (("--quality", 0), r"--quality 0: must lie in \[1, 100\]"),
        (("--template", "img.jpg"), "--template 'img.jpg': write one such as"),
        (("--template", "img_%05d.png"), "does not end with .jpg; give --format png"),
        (("--template", "cam1%05d.jpg"), "must not end with a digit"),
        (("--template", "flow_x_%05d.jpg"), "be that of flow"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(words, message, videos, tool, tmp_path):
    with pytest.raises(ConfigError, match=message):
        tool("extract", "frames", "--src", videos, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_wrong_flow_options_are_refused(videos, tool, tmp_path):
    for words, message in (
        (("--bound", 0), "--bound 0.0: must be a positive number"),
        (("--no-frames", "--format", "png"), "--template and --format are for frames"),
    ):
        with pytest.raises(ConfigError, match=message):
            tool("extract", "flow", "--src", videos, "--out", tmp_path / "out", *words)
    with pytest.raises(ConfigError, match="must be a positive number"):
        FrameOptions(flow=FlowOptions(bound=float("nan")))
    assert parse_size("340X256") == (340, 256)


def test_a_missing_empty_or_enclosing_folder_is_refused(videos, tool, tmp_path):
    (tmp_path / "empty").mkdir()
    for src, message in ((tmp_path / "none", "no such folder"), (tmp_path / "empty", "no files to work on")):
        with pytest.raises(DataError, match=message):
            tool("extract", "frames", "--src", src, "--out", tmp_path / "out")
    with pytest.raises(ConfigError, match="lies inside --src"):
        tool("extract", "frames", "--src", videos, "--out", videos / "frames")


def test_real_videos_give_as_many_frames_as_they_have(media, tool, tmp_path):
    tool("extract", "frames", "--src", media / "videos/torchvision_assets", "--out", tmp_path / "out")
    for path in (media / "videos/torchvision_assets").glob("*.avi"):
        assert len(list((tmp_path / "out" / path.stem).iterdir())) == probe_video(path).num_frames
