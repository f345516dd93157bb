"""Sound files of pure tones, for tests of sound."""

from pathlib import Path

import av
import numpy as np

CODECS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame"}


def tone(hz: float, *, seconds: float = 0.5, rate: int = 16_000, loudness: float = 0.3) -> np.ndarray:
    """A sine, float32 [samples]."""
    return (loudness * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_sound(path: Path, channels: np.ndarray, rate: int = 16_000) -> Path:
    """Write float samples [channels, samples] (or [samples]) with 16 bits in the format of the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.rint(np.atleast_2d(channels) * 32767).astype(np.int16)
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format=path.suffix[1:]) as container:
        stream = container.add_stream(CODECS[path.suffix[1:]], rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def write_floats(path: Path, channels: np.ndarray, rate: int = 16_000) -> Path:
    """Write float32 or float64 samples [channels, samples] (or [samples]) as they are, in a WAV or Matroska file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.atleast_2d(channels)
    codec, format = {"f4": ("pcm_f32le", "flt"), "f8": ("pcm_f64le", "dbl")}[samples.dtype.str[1:]]
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format=format, layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
