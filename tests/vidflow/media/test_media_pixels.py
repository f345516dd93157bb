"""Colour, size and rotation of decoded frames, against values worked out by hand from the standards."""

import av
import numpy as np
import pytest

from vidflow.errors import DecodeError
from vidflow.media.decode import decode_frames
from vidflow.media.pixels import RgbConverter
from vidflow.media.probe import probe_video

# Kr and Kb of ITU-R BT.601, BT.709 and BT.2020.
MATRICES = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}


def expected_rgb(y, u, v, *, matrix, full_range):
    kr, kb = MATRICES[matrix]
    if full_range:
        luma, blue, red = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        luma, blue, red = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(255 * np.array([r, g, b]), 0, 255)


def flat_frame(y, u, v, *, pixel_format="yuv420p", matrix=2, color_range=0, width=64, height=48):
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, value in zip(frame.planes, (y, u, v), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.colorspace, frame.color_range = matrix, color_range
    return frame


def to_rgb(frame, **changes):
    size = {"width": frame.width, "height": frame.height, "rotation": 0} | changes
    return np.array(RgbConverter(**size)(frame))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize(
    ("matrix", "color_range", "standard", "full_range"),
    [
        (2, 0, "601", False),  # untagged
        (3, 0, "601", False),  # reserved
        (5, 1, "601", False),
        (6, 1, "601", False),
        (6, 2, "601", True),
        (1, 1, "709", False),
        (1, 2, "709", True),
        (9, 1, "2020", False),
    ],
)
def test_colours_follow_the_frames_own_matrix_and_range(pixel_format, matrix, color_range, standard, full_range):
    rgb = to_rgb(flat_frame(150, 100, 180, pixel_format=pixel_format, matrix=matrix, color_range=color_range))
    expected = expected_rgb(150, 100, 180, matrix=standard, full_range=full_range)
    assert np.abs(rgb - expected).max() <= 2


def test_full_range_pixel_formats_need_no_tag():
    rgb = to_rgb(flat_frame(150, 100, 180, pixel_format="yuvj420p"))
    assert np.abs(rgb - expected_rgb(150, 100, 180, matrix="601", full_range=True)).max() <= 2


def test_one_converter_gives_the_same_for_a_frame_whatever_came_before():
    converter = RgbConverter(width=64, height=48, rotation=0)
    plain, tagged = flat_frame(150, 100, 180), flat_frame(150, 100, 180, matrix=1, color_range=2)
    first, second = np.array(converter(plain)), np.array(converter(tagged))
    assert not np.array_equal(first, second)
    assert np.array_equal(converter(plain), first)


@pytest.mark.parametrize("matrix", [8, 14])  # YCoCg, ICtCp
def test_matrices_that_cannot_be_converted_are_an_error(matrix):
    with pytest.raises(DecodeError, match=f"colour matrix {matrix} cannot be converted"):
        to_rgb(flat_frame(150, 100, 180, matrix=matrix))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_turns_the_corner_clockwise(rotation):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32, 0] = 255  # red: the upper left
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    width, height = (48, 64) if rotation in (90, 270) else (64, 48)
    rgb = to_rgb(frame, width=width, height=height, rotation=rotation)
    corner = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}[rotation]
    corners = {(y, x): int(rgb[y, x, 0]) for y in (0, -1) for x in (0, -1)}
    assert corners.pop(corner) > 200
    assert max(corners.values()) < 50


def test_frames_of_another_size_are_scaled():
    rgb = to_rgb(flat_frame(150, 128, 128, width=128, height=96), width=50, height=31)
    assert rgb.shape == (31, 50, 3)
    assert np.abs(rgb - expected_rgb(150, 128, 128, matrix="601", full_range=False)).max() <= 3


def test_size_changes_within_a_video_end_in_the_first_size(odd_media):
    info = probe_video(odd_media["size_change.ts"])
    with av.open(str(odd_media["size_change.ts"])) as file:
        sizes = {(frame.width, frame.height) for frame in file.decode(video=0)}
    assert sizes == {(160, 120), (320, 240)}
    assert decode_frames(odd_media["size_change.ts"], info, np.array([0, 59])).shape == (2, 120, 160, 3)


def test_tagged_video_decodes_by_its_tags(odd_media):
    plain = {name: probe_video(odd_media[name]) for name in ("bt709.mp4", "full_range.mp4")}
    for name, info in plain.items():
        frame = decode_frames(odd_media[name], info, np.array([5]))[0]
        # The number 5 is drawn in 20 and 235: block 0 is white, block 1 black.
        assert abs(int(frame[10, 10].mean()) - 235) <= 6
        assert abs(int(frame[10, 60].mean()) - 20) <= 6


def test_gray_gives_three_equal_channels(odd_media):
    info = probe_video(odd_media["gray.mp4"])
    frame = decode_frames(odd_media["gray.mp4"], info, np.array([9]))[0].astype(int)
    assert np.abs(frame - frame[:, :, :1]).max() <= 1


@pytest.mark.parametrize("name", ["alpha_png.mov", "alpha.webm"])
def test_alpha_is_dropped_and_not_blended(odd_media, name):
    info = probe_video(odd_media[name])
    frame = decode_frames(odd_media[name], info, np.array([1]))[0].astype(int)
    # Alpha rises from left to right; the black blocks on the right half of a blend would differ from the left one's.
    assert np.abs(frame[100, 60] - frame[100, 150]).max() <= 8
    assert frame[10, 10].mean() > 200  # block 0 is white where alpha is 0 to 60
