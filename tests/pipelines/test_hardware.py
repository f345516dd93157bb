"""What NVDEC is given, decided from the manifest alone."""

import pytest

from vidflow.pipelines.hardware import nvdec_refusal
from vidflow.schema import VideoInfo

TURING, HOPPER, ADA, AMPERE_A100, BLACKWELL = (7, 5), (9, 0), (8, 9), (8, 0), (10, 0)
AFTER_THEM = (13, 0)


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
        ({"codec": "av1", "bit_depth": 10, "pixel_format": "yuv420p10le"}, ADA),
        ({"codec": "vp9"}, AMPERE_A100),
        ({"codec": "mpeg4"}, TURING),
        ({"pixel_format": "yuv420p10le", "bit_depth": 10}, BLACKWELL),
        ({"pixel_format": "yuvj420p"}, TURING),
        ({"variable_frame_rate": True, "pts_step": None, "pts": tuple(range(0, 30, 3))}, HOPPER),
        ({"width": 8192, "height": 4320}, BLACKWELL),
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
        ({"codec": "hevc", "width": 142}, "smaller than 144x144"),
        ({"width": 341}, "odd width or height"),
        ({"height": 255}, "odd width or height"),
        ({"width": 8192, "height": 4320}, "larger than 4096"),
        ({"container": "avi"}, "container avi"),
        ({"container": "ts"}, "container ts"),
        ({"pts_start": -2}, "time stamps below 0"),
        ({"codec": "prores"}, "codec prores"),
        ({"rotation": 90}, "rotation by 90"),
        ({"seekable": False, "pts_step": None}, "not seekable"),
        ({"num_damaged": 2}, "damaged"),
        ({"stream_index": 1}, "first stream"),
    ],
)
def test_the_cpu_takes_what_hopper_cannot(changes, reason):
    assert reason in nvdec_refusal(video(**changes), HOPPER)


@pytest.mark.parametrize("capability", [TURING, AMPERE_A100, HOPPER])
def test_there_is_no_av1_before_ampere_nor_on_data_centre_chips_before_blackwell(capability):
    assert f"{capability[0]}.{capability[1]}" in nvdec_refusal(video(codec="av1"), capability)


def test_a_chip_that_is_not_in_the_table_is_left_to_the_trial_in_what_depends_on_the_chip():
    assert nvdec_refusal(video(codec="av1"), AFTER_THEM) is None
    assert nvdec_refusal(video(pixel_format="yuv420p10le", bit_depth=10), AFTER_THEM) is None
    assert nvdec_refusal(video(rotation=90), AFTER_THEM) == "rotation by 90 degrees"
