"""Mel features are those of the reference, for all lengths of sound."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from vidflow.media.mel import mel_bands, mel_features, num_mel_frames

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[2] / "data/parity"))
CASES = {case["what"]: case for case in json.loads((PARITY / "ops/audio.json").read_text())}


def wave(rule: dict) -> np.ndarray:
    if "u" in rule:
        drawn = np.random.default_rng(zlib.crc32(rule["u"].encode())).random(rule["shape"], dtype=np.float32) * 2 - 1
        return drawn * np.float32(rule["scale"]) + np.float32(rule["offset"])
    if rule["rule"] == "zeros(3000)":
        return np.zeros(3000, np.float32)
    assert rule["rule"].startswith("0.5*sin(2*pi*440*k/16000), k<4000")
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 16000)).astype(np.float32)


@pytest.mark.parametrize("what", [what for what in CASES if what.startswith("mel feature ")])
def test_features_equal_the_reference(what):
    inputs, expected = CASES[what]["inputs"], CASES[what]["outputs"]
    found = mel_features(wave(inputs["wave"]), fft_size=inputs["fft_size"], hop_size=inputs["hop_size"])
    assert (found.dtype, list(found.shape)) == (np.float32, expected["shape"])
    for row, values in expected["rows"].items():
        np.testing.assert_allclose(found[int(row)], values, atol=1e-6)
    assert found.sum(dtype=np.float64) == pytest.approx(expected["sum"], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("what", [what for what in CASES if what.startswith("frame count")])
def test_the_number_of_frames_equals_the_reference(what):
    inputs, expected = CASES[what]["inputs"], CASES[what]["outputs"]["frames"]
    sizes = {"fft_size": inputs["fft_size"], "hop_size": inputs["hop_size"]}
    assert num_mel_frames(inputs["length"], **sizes) == expected
    assert len(mel_features(np.ones(inputs["length"], np.float32), **sizes)) == expected


def test_the_mel_matrix_equals_the_reference():
    expected = CASES["mel matrix (16 kHz, 512, 80, 125..7600)"]["outputs"]
    found = mel_bands(512)
    assert list(found.shape) == expected["shape"]
    np.testing.assert_allclose(found.sum(axis=1), expected["row_sums"], rtol=1e-5)
    for row in (0, 40, 79):
        assert np.flatnonzero(found[row]).tolist() == expected[f"row{row}"]["nz_index"]
        np.testing.assert_allclose(found[row][found[row] > 0], expected[f"row{row}"]["nz_value"], rtol=1e-5)


def test_loudness_does_not_matter():
    samples = wave({"u": "loud", "shape": [4000], "scale": 0.3, "offset": 0})
    np.testing.assert_allclose(mel_features(samples * 0.2), mel_features(samples), atol=1e-5)


def test_long_sound_is_the_same_in_blocks_as_frame_by_frame():
    samples = wave({"u": "long", "shape": [256 * 5000], "scale": 0.1, "offset": 0})
    whole = mel_features(samples)
    # Frames 4090 to 4100 lie around the border of a block; the loudness of the whole is 0.1 / sqrt(3).
    part = samples[4088 * 256 : 4104 * 256]
    gain = np.sqrt(np.mean(samples**2, dtype=np.float64) / np.mean(part**2, dtype=np.float64))
    np.testing.assert_allclose(
        whole[4091:4101], mel_features(part)[3:13] - np.log10(gain) / 5, atol=1e-5
    )  # 20 log10(gain) of 100 dB


@pytest.mark.parametrize(
    ("samples", "sizes", "message"),
    [
        (np.zeros((2, 10)), {}, r"samples must be \[L\]"),
        (np.zeros(0), {}, r"samples must be \[L\]"),
        (np.zeros(10), {"fft_size": 511}, "must be even"),
        (np.zeros(10), {"hop_size": 257}, "from 1 to half"),
        (np.zeros(10), {"hop_size": 0}, "from 1 to half"),
    ],
)
def test_wrong_samples_and_sizes_are_refused(samples, sizes, message):
    with pytest.raises(ValueError, match=message):
        mel_features(samples, **sizes)
