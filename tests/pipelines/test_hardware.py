"""What NVDEC is given, decided from the manifest alone."""

import pytest

from vidflow.pipelines.hardware import nvdec_refusal
from vidflow.schema import VideoInfo

HOPPER, ADA, AMPERE_A100, BLACKWELL = (9, 0), (8, 9), (8, 0), (10, 0)


def video(**changes):
    values = {
        "container": "mp4",
        "codec": "h264",
        "pixel_format": "yuv420p",
        "width": 340,
        "height": 256,
        "num_frames": 10,
        "fps": 25,
        "duration": 0.4,
        "time_base": (1, 25),
        "pts_start": 0,
        "pts_step": 1,
    }
    return VideoInfo(**values | changes)


@pytest.mark.parametrize(
    ("changes", "capability"),
    [
        ({}, HOPPER),
        ({"codec": "hevc", "pixel_format": "yuv420p10le", "bit_depth": 10}, HOPPER),
        ({"codec": "av1"}, ADA),
        ({"codec": "av1"}, BLACKWELL),
        ({"codec": "vp9"}, AMPERE_A100),
    ],
)
def test_the_chip_takes(changes, capability):
    assert nvdec_refusal(video(**changes), capability) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codec": "av1"}, "av1 on compute capability 9.0"),
        ({"pixel_format": "yuv420p10le", "bit_depth": 10}, "h264 with 10 bits"),
        ({"pixel_format": "yuv422p"}, "pixel format yuv422p"),
        ({"pixel_format": "yuv444p"}, "pixel format yuv444p"),
        ({"pixel_format": "gray"}, "pixel format gray"),
        ({"width": 32, "height": 360}, "smaller than 48x16"),
        ({"codec": "prores"}, "codec prores"),
        ({"rotation": 90}, "rotation by 90"),
        ({"seekable": False, "pts_step": None}, "not seekable"),
        ({"num_damaged": 2}, "damaged"),
        ({"stream_index": 1}, "first stream"),
    ],
)
def test_the_cpu_takes_what_hopper_cannot(changes, reason):
    assert reason in nvdec_refusal(video(**changes), HOPPER)


def test_an_a100_has_no_av1():
    assert "8.0" in nvdec_refusal(video(codec="av1"), AMPERE_A100)
