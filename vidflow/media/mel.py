"""Log-mel features of sound, as the audio models of MMAction2 were trained on.

Source: MMAction2 1.2.0, tools/data/build_audio_features.py, with its constants: 16 kHz, 80 bands from 125 to 7600 Hz,
-100 dB to 0. That script takes its spectrum from the package lws in speech mode; here the same is computed with NumPy.
The mel scale and the area normalisation are those of Slaney's Auditory Toolbox (librosa's default).

Shapes: L samples, T frames, N samples per window, F = N / 2 + 1 frequencies, M bands (80).
"""

from functools import lru_cache

import numpy as np

SAMPLE_RATE = 16_000
NUM_MELS = 80
FFT_SIZE = 512
"""Samples per window; the published features have 512 with a hop of 256."""
HOP_SIZE = 256

LOWEST_HZ, HIGHEST_HZ = 125.0, 7600.0
MIN_DB, REFERENCE_DB = -100.0, 20.0
LOUDNESS, MIN_LOUDNESS = 0.1, 1e-4
"""Root mean square that sound is brought to, and the least that it is taken for."""
_BLOCK = 4096  # frames that are transformed at once


def mel_features(
    samples: np.ndarray,
    *,
    sample_rate: int = SAMPLE_RATE,
    fft_size: int = FFT_SIZE,
    hop_size: int = HOP_SIZE,
    num_mels: int = NUM_MELS,
    lowest_hz: float = LOWEST_HZ,
    highest_hz: float = HIGHEST_HZ,
) -> np.ndarray:
    """Features [T, M] in [0, 1], float32; silence gives zeros.

    Args:
        samples: float [L], one channel, L > 0; their loudness does not matter.
        sample_rate: of the samples, per second.
        fft_size: N, even.
        hop_size: samples from frame to frame, at most N / 2.

    Returns:
        T = ceil((L + N - 2 hop) / hop) + 1 frames; the first one is centred N / 2 - hop before the first sample.

    Raises:
        ValueError: no samples, or sizes that do not fit.
    """
    if samples.ndim != 1 or not samples.size:
        raise ValueError(f"samples must be [L] with L > 0, not {list(samples.shape)}")
    if fft_size < 2 or fft_size % 2 or not 0 < hop_size <= fft_size // 2:
        raise ValueError(f"fft_size ({fft_size}) must be even, and hop_size ({hop_size}) from 1 to half of it")
    loudness = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    gain = LOUDNESS / max(loudness, MIN_LOUDNESS)
    num_frames = num_mel_frames(samples.size, fft_size=fft_size, hop_size=hop_size)
    padded = np.zeros((num_frames - 1) * hop_size + fft_size, np.float32)
    padded[fft_size - hop_size :][: samples.size] = samples * gain
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_size)[::hop_size]  # [L'] -> [T, N]
    bands = mel_bands(fft_size, sample_rate, num_mels, lowest_hz, highest_hz)
    window = analysis_window(fft_size, hop_size)
    out = np.empty((num_frames, num_mels), np.float32)
    for start in range(0, num_frames, _BLOCK):
        block = slice(start, start + _BLOCK)
        mel = np.abs(np.fft.rfft(frames[block] * window)) @ bands.T  # [T, N] -> [T, F] -> [T, M]
        decibels = 20 * np.log10(np.maximum(10 ** (MIN_DB / 20), mel)) - REFERENCE_DB
        out[block] = np.clip((decibels - MIN_DB) / -MIN_DB, 0, 1)
    return out


def num_mel_frames(num_samples: int, *, fft_size: int = FFT_SIZE, hop_size: int = HOP_SIZE) -> int:
    """T for L samples.

    >>> num_mel_frames(1), num_mel_frames(256), num_mel_frames(257), num_mel_frames(16000)
    (2, 2, 3, 64)
    """
    return -(-(num_samples + fft_size - 2 * hop_size) // hop_size) + 1


def analysis_window(fft_size: int, hop_size: int) -> np.ndarray:
    """The analysis window of lws in speech mode, [N]: a sine, so scaled that overlapping squares add up to one."""
    return np.asarray(np.sin(np.pi * (np.arange(fft_size) + 0.5) / fft_size) * np.sqrt(2 * hop_size / fft_size))


@lru_cache(maxsize=4)
def mel_bands(
    fft_size: int,
    sample_rate: int = SAMPLE_RATE,
    num_mels: int = NUM_MELS,
    lowest_hz: float = LOWEST_HZ,
    highest_hz: float = HIGHEST_HZ,
) -> np.ndarray:
    """Weights of the frequencies in each band, float32 [M, F]: triangles of equal area."""
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(lowest_hz), _hz_to_mel(highest_hz), num_mels + 2))
    frequencies = np.arange(fft_size // 2 + 1) * (sample_rate / fft_size)
    left, middle, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * (2 / (right - left)), np.float32)


# Slaney: linear up to 1000 Hz, which is mel 15, then 27 steps for a factor of 6.4.
_LINEAR_HZ, _BREAK_HZ = 200 / 3, 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < _BREAK_HZ else float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)
