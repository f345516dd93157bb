"""Sizes of JPEG pictures from their headers, against OpenCV's own files."""

import cv2
import numpy as np
import pytest
from pictures import jpeg, scene

from vidflow.pipelines.jpeg_header import JpegHeader, read_jpeg_header


@pytest.mark.parametrize(("height", "width"), [(60, 80), (1, 1), (301, 17)])
def test_size_and_components_are_read(height, width):
    assert read_jpeg_header(jpeg(scene(height, width, 0))) == JpegHeader(height, width, 3, 8)
    assert read_jpeg_header(jpeg(np.zeros((height, width), np.uint8))) == JpegHeader(height, width, 1, 8)


def test_progressive_pictures_are_read():
    done, data = cv2.imencode(".jpg", scene(60, 80, 0), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    assert read_jpeg_header(data.tobytes()) == JpegHeader(60, 80, 3, 8)


def test_segments_and_fill_bytes_before_the_frame_are_passed_over():
    data = jpeg(scene(60, 80, 0))
    comment = b"\xff\xfe" + (2 + 5).to_bytes(2, "big") + b"\xff\xc0 no"
    assert read_jpeg_header(data[:2] + comment + b"\xff" + data[2:]) == JpegHeader(60, 80, 3, 8)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\xff\xd8" + bytes(40)])
def test_other_bytes_have_no_header(data):
    assert read_jpeg_header(data) is None


def test_a_picture_cut_before_its_frame_has_none():
    data = jpeg(scene(60, 80, 0))
    assert read_jpeg_header(data[: data.index(b"\xff\xc0") + 5]) is None


def test_lossless_frames_are_not_taken():
    data = bytearray(jpeg(scene(60, 80, 0)))
    data[data.index(b"\xff\xc0") + 1] = 0xC3
    assert read_jpeg_header(bytes(data)) is None
