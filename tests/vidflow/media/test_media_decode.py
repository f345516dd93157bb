"""Random access: every frame is the one that a linear decode gives, whatever the order, the file and the thread."""

import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest

from vidflow.errors import DecodeError
from vidflow.media import decode as decode_module
from vidflow.media.decode import decode_frames, iter_video_frames
from vidflow.media.probe import probe_video


def plain_linear(path, info):
    """uint8 [N, H, W, 3] by a plain PyAV loop that shares no code with what is tested."""
    size = (info.height, info.width) if info.rotation in (90, 270) else (info.width, info.height)
    with av.open(str(path), metadata_errors="replace") as file:
        stream = file.streams[info.stream_index]
        stream.codec_context.thread_count = 1
        stream.codec_context.reorder_depth = max(info.reorder_depth, stream.codec_context.reorder_depth)
        pictures = [f.to_ndarray(format="rgb24", width=size[0], height=size[1]) for f in file.decode(stream)]
    return np.stack([np.rot90(picture, -(info.rotation // 90)) for picture in pictures])


@pytest.fixture(scope="module")
def linear(odd_media):
    """name -> (path, info, frames of a plain linear decode)."""
    known = {}

    def get(name):
        if name not in known:
            info = probe_video(odd_media[name])
            known[name] = (odd_media[name], info, plain_linear(odd_media[name], info))
        return known[name]

    return get


def test_frames_show_their_own_numbers(linear, good_name, read_numbers):
    path, info, _ = linear(good_name)
    frames = decode_frames(path, info, np.arange(info.num_frames))
    assert frames.shape == (info.num_frames, info.height, info.width, 3)
    assert frames.dtype == np.uint8
    assert read_numbers(frames) == list(range(info.num_frames))


def test_every_single_frame_equals_the_linear_decode(linear, good_name):
    path, info, expected = linear(good_name)
    data = path.read_bytes()
    for i in random.Random(3).sample(range(info.num_frames), info.num_frames):
        assert np.array_equal(decode_frames(data, info, np.array([i]))[0], expected[i]), f"frame {i}"


@pytest.mark.parametrize("seed", range(3))
def test_reversed_shuffled_and_repeated_frames_equal_the_linear_decode(linear, good_name, seed):
    path, info, expected = linear(good_name)
    n = info.num_frames
    order = np.random.default_rng(seed).permutation(n)
    for frames in (np.arange(n)[::-1], order, order[: max(n // 7, 1)], np.repeat(order[:3], 2), np.r_[n - 1, 0, n - 1]):
        assert np.array_equal(decode_frames(path, info, frames), expected[frames])


def test_results_do_not_depend_on_the_number_of_threads(linear, good_name):
    path, info, expected = linear(good_name)
    frames = np.arange(0, info.num_frames, 3)
    assert np.array_equal(decode_frames(path, info, frames, num_threads=4), expected[frames])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_memory_of_any_kind_is_read_in_place(linear, kind):
    path, info, expected = linear("base.mp4")
    padded = b"xxxx" + path.read_bytes() + b"yyyy"
    data = memoryview(padded)[4:-4] if kind is memoryview else kind(padded[4:-4])
    assert np.array_equal(decode_frames(data, info, np.array([30, 2])), expected[[30, 2]])


def test_no_frames_give_an_empty_array(linear):
    path, info, _ = linear("base.mp4")
    assert decode_frames(path, info, np.array([], np.int64)).shape == (0, 120, 160, 3)


@pytest.mark.parametrize("frames", [[-1], [60], [0, 59, 60]])
def test_frames_outside_the_video_are_the_callers_mistake(linear, frames):
    path, info, _ = linear("base.mp4")
    with pytest.raises(ValueError, match="lies outside the video, which has frames 0 to 59"):
        decode_frames(path, info, np.array(frames))


@pytest.mark.parametrize("frames", [np.array([0.5]), np.array([[1, 2]]), np.array(["1"])])
def test_frames_must_be_a_row_of_integers(linear, frames):
    path, info, _ = linear("base.mp4")
    with pytest.raises(ValueError, match="one-dimensional integers"):
        decode_frames(path, info, frames)


def test_a_file_that_differs_from_the_probed_one_never_gives_a_neighbour(linear):
    _, info, _ = linear("base.mp4")
    for other in ("ntsc.mp4", "five.mp4", "frag.mp4", "vfr.mp4"):
        with pytest.raises(DecodeError, match=r"frame 40|frame \d+|unknown time stamp"):
            decode_frames(linear(other)[0], info, np.array([40]))


def test_fewer_frames_than_probed_are_an_error_that_names_the_frame(linear):
    path, info, _ = linear("five.mp4")
    longer = info.model_copy(update={"num_frames": 9})
    with pytest.raises(DecodeError, match="frame 7 of 9 does not come out"):
        decode_frames(path, longer, np.array([2, 7]))
    with pytest.raises(DecodeError, match="frame 5 of 9 does not come out"):
        list(iter_video_frames(path, longer))
    counted = longer.model_copy(update={"pts_step": None, "seekable": False})
    with pytest.raises(DecodeError, match="frame 7 of 9 does not come out"):
        decode_frames(path, counted, np.array([2, 7]))


def test_a_wrong_seek_is_an_error(linear):
    path, info, _ = linear("base.mp4")
    with pytest.raises(DecodeError, match="seeking to frame 30 leads to frame 24"):
        decode_frames(path, info.model_copy(update={"key_frames": (0, 30)}), np.array([40]))


@pytest.mark.parametrize("name", ["base.mp4", "one_gop.mp4"])
def test_bytes_damaged_after_probing_are_an_error(linear, name):
    path, info, _ = linear(name)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 60
    data[start : start + 1500] = random.Random(1).randbytes(1500)
    with pytest.raises(DecodeError):
        decode_frames(bytes(data), info, np.arange(60))


@pytest.mark.timeout(20)
def test_a_wanted_frame_that_no_longer_comes_out_is_an_error(numbered_video, tmp_path):
    options = {"g": 12, "deadline": "realtime", "b": 500000}
    path = numbered_video(tmp_path / "a.webm", 30, codec="libvpx", options=options)
    info = probe_video(path)
    with av.open(str(path)) as file:
        (coded,) = (bytes(packet) for packet in file.demux(video=0) if packet.pts == info.timestamps[17])
    hidden = bytes([coded[0] & ~0x10]) + coded[1:]  # show_frame, RFC 6386, 9.1
    assert hidden != coded
    data = path.read_bytes().replace(coded, hidden)
    for frames in ([17], [3, 17, 29]):
        with pytest.raises(DecodeError, match="frame 17 of 30 does not come out"):
            decode_frames(data, info, np.array(frames))


@pytest.mark.parametrize("name", ["midcorrupt.mp4", "trunc_faststart.mp4", "trunc.mkv", "trunc.avi"])
def test_concealed_videos_give_the_same_frames_in_any_order(odd_media, name):
    path = odd_media[name]
    info = probe_video(path, on_damage="conceal")
    every = decode_frames(path, info, np.arange(info.num_frames))
    for i in range(info.num_frames):
        assert np.array_equal(decode_frames(path, info, np.array([i]))[0], every[i]), f"frame {i}"
    assert [f.pts for f in iter_video_frames(path, info)] == info.timestamps.tolist()


def test_frames_before_the_damage_are_the_undamaged_ones(odd_media, read_numbers):
    info = probe_video(odd_media["midcorrupt.mp4"], on_damage="conceal")
    assert read_numbers(decode_frames(odd_media["midcorrupt.mp4"], info, np.arange(5))) == [0, 1, 2, 3, 4]


def test_jumps_skip_what_lies_between_key_frames(linear, monkeypatch):
    path, info, _ = linear("base.mp4")
    read = []
    packets = decode_module.read_packets
    monkeypatch.setattr(decode_module, "read_packets", lambda f, s: (read.append(p) or p for p in packets(f, s)))
    decode_frames(path, info, np.array([1, 50]))
    assert len(read) < 20  # of 60
    read.clear()
    decode_frames(path, info, np.array([3]))
    assert len(read) < 12  # it stops behind the last wanted frame


@pytest.mark.parametrize("name", ["one_gop.mp4", "mp4v_one_gop.avi"])
def test_pictures_without_reference_are_not_decoded_unless_wanted(linear, monkeypatch, name):
    path, info, expected = linear(name)
    decoded = []

    class Counting(decode_module._Numbering):
        def number(self, frame):
            decoded.append(super().number(frame))
            return decoded[-1]

    monkeypatch.setattr(decode_module, "_Numbering", Counting)
    frames = np.array([21, 59])
    assert np.array_equal(decode_frames(path, info, frames), expected[frames])
    assert {21, 59} <= set(decoded)
    assert len(decoded) < 45  # a third or more of the pictures are B without reference
    decoded.clear()
    monkeypatch.setattr(decode_module, "_SKIPS_UNREFERENCED", set())
    assert np.array_equal(decode_frames(path, info, frames), expected[frames])
    assert len(decoded) > 55  # all but those that come behind the last wanted one in coding order


def test_threads_do_not_disturb_each_other(linear):
    names = ["base.mp4", "open_gop.mp4", "nodur.webm", "mp4v_b.avi", "rot90.mp4", "size_change.ts"]
    sources = {name: (linear(name)[0].read_bytes(), linear(name)[1], linear(name)[2]) for name in names}

    def work(job):
        name, seed = job
        data, info, expected = sources[name]
        frames = np.random.default_rng(seed).integers(0, info.num_frames, 5)
        return np.array_equal(decode_frames(data, info, frames), expected[frames])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, [(name, seed) for seed in range(20) for name in names]))


def test_memory_stays_flat_over_2000_decodes(odd_media):
    data = odd_media["five.mp4"].read_bytes()
    info = probe_video(data)
    process = psutil.Process()
    for i in range(2000):
        decode_frames(data, info, np.array([i % 5]))
        if i == 200:
            before = process.memory_info().rss
    assert process.memory_info().rss - before < 50e6


def test_failed_decodes_leave_no_memory_and_no_open_files(odd_media):
    process = psutil.Process()
    bad, other = odd_media["nomoov.mp4"], odd_media["trunc_faststart.mp4"]
    for i in range(600):
        for path in (bad, other):
            with pytest.raises(DecodeError):
                probe_video(path)
        if i == 100:
            before, files = process.memory_info().rss, process.num_fds()
    assert process.memory_info().rss - before < 50e6
    assert process.num_fds() == files


def test_iterating_gives_upright_frames_in_their_own_format_with_times(linear, good_name, read_numbers):
    path, info, _ = linear(good_name)
    frames = list(iter_video_frames(path, info))
    assert [frame.pts for frame in frames] == info.timestamps.tolist()
    assert {frame.time_base for frame in frames} == {Fraction(*info.time_base)}
    assert {(frame.width, frame.height) for frame in frames} == {(info.width, info.height)}
    assert frames[0].format.name == info.pixel_format
    assert read_numbers([frame.to_ndarray(format="rgb24") for frame in frames]) == list(range(info.num_frames))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_iterating_a_turned_video_gives_the_pixels_of_decoding(odd_media, rotation):
    path = odd_media[f"rot{rotation}.mp4"]
    info = probe_video(path)
    turned = np.stack([frame.to_ndarray(format="rgb24") for frame in iter_video_frames(path, info)])
    expected = decode_frames(path, info, np.arange(info.num_frames))
    # Chroma is interpolated before turning in one and after it in the other.
    assert np.abs(turned.astype(int) - expected).mean() < 1


def test_turned_frames_are_not_turned_again(odd_media):
    path = odd_media["rot90.mp4"]
    frame = next(iter_video_frames(path, probe_video(path)))
    assert (frame.width, frame.height) == (160, 120)
    assert frame.rotation == 0
