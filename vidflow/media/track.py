"""The sound of a video or sound file: any part of it at any rate, and as a WAV or FLAC file.

Where the rate changes, FFmpeg's swresample does it with its default filter; several channels become one by their mean.
The track starts where its first sound is; where that is after the first picture, nothing is put in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.codec.context import Flags

from vidflow.errors import DataError, DecodeError
from vidflow.media.sound import iter_sound_frames, open_sound, sound_array

_FULL_SCALE = 32768  # of 16 bits


@dataclass(frozen=True, slots=True)
class Track:
    """What has been written."""

    sample_rate: int
    num_channels: int
    num_samples: int
    """Per channel."""


def read_track(source: Path | bytes, *, sample_rate: int) -> np.ndarray:
    """The sound of a file as one channel, float32 [samples], in [-1, 1] but for what resampling overshoots.

    Args:
        sample_rate: of the result, per second.

    Raises:
        NoSoundError: it has no sound stream.
        DecodeError: it cannot be opened, is damaged, or no sound decodes.
    """
    parts = [frame.to_ndarray()[0] for frame in _frames(source, sample_rate=sample_rate, mono=True)]
    if not sum(part.size for part in parts):
        raise DecodeError(f"{source if isinstance(source, Path) else 'memory'}: no sound decodes")
    return np.concatenate(parts)


def first_sound_seconds(source: Path | bytes) -> float:
    """The time stamp of the first sound that decodes, in the file's own time; 0 where it has none.

    Raises:
        NoSoundError: there is no sound stream.
        DecodeError: it cannot be opened, is damaged, or no sound decodes.
    """
    with open_sound(source) as (container, stream, where):
        for frame in iter_sound_frames(container, stream, where):
            return float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else 0.0
        raise DecodeError(f"{where}: no sound decodes")


def write_track(
    source: Path | bytes,
    out: Path,
    *,
    format: Literal["wav", "flac"],
    sample_rate: int | None = None,
    mono: bool = False,
) -> Track:
    """Write the sound of a file with 16 bits per sample; what has 16 bits already stays bit for bit.

    Args:
        sample_rate: per second; None keeps it.
        mono: whether several channels become one.

    Raises:
        NoSoundError: it has no sound stream.
        DecodeError: it cannot be opened, is damaged, or no sound decodes.
        DataError: the format cannot hold it.
        OSError: the file cannot be written.
    """
    where = source if isinstance(source, Path) else "memory"
    # "+bitexact" keeps FFmpeg's version out of the file: the same sound gives the same bytes.
    with av.open(out, "w", format=format, options={"fflags": "+bitexact"}) as file:
        stream = None
        num_samples = 0
        for frame in _frames(source, sample_rate=sample_rate, mono=mono):
            pcm = _in_16_bits(frame)
            pcm.pts = num_samples
            num_samples += pcm.samples
            try:
                if stream is None:
                    codec = "pcm_s16le" if format == "wav" else "flac"
                    stream = file.add_stream(codec, rate=frame.sample_rate, layout=frame.layout.name)
                    stream.codec_context.flags |= Flags.bitexact
                file.mux(stream.encode(pcm))
            except ValueError as error:  # FFmpeg's "invalid argument"
                what = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz"
                raise DataError(f"{where}: {what} cannot be written as {format}") from error
        if stream is None or not num_samples:
            raise DecodeError(f"{where}: no sound decodes")
        file.mux(stream.encode(None))
        return Track(stream.rate, stream.codec_context.layout.nb_channels, num_samples)


def _frames(source: Path | bytes, *, sample_rate: int | None, mono: bool) -> Iterator[av.AudioFrame]:
    """All sound as interleaved float frames of the wanted rate and channels (planar ones hold 8 channels at most)."""
    resampler = None
    with open_sound(source) as (container, stream, where):
        for decoded in iter_sound_frames(container, stream, where):
            samples = sound_array(decoded)
            layout = decoded.layout.name
            if mono and len(samples) > 1:
                samples, layout = samples.mean(axis=0, keepdims=True), "mono"
            frame = av.AudioFrame.from_ndarray(_interleaved(samples), format="flt", layout=layout)
            frame.sample_rate = decoded.sample_rate
            if sample_rate in (None, frame.sample_rate):
                yield frame
                continue
            if resampler is None:
                resampler = av.AudioResampler(format="flt", layout=layout, rate=sample_rate)
            yield from resampler.resample(frame)
        if resampler is not None:
            yield from resampler.resample(None)


def _interleaved(samples: np.ndarray) -> np.ndarray:
    """[channels, samples] -> [1, samples * channels]."""
    return np.ascontiguousarray(samples.T).reshape(1, -1)


def _in_16_bits(frame: av.AudioFrame) -> av.AudioFrame:
    values = np.rint(np.clip(frame.to_ndarray() * _FULL_SCALE, -_FULL_SCALE, _FULL_SCALE - 1)).astype(np.int16)
    pcm = av.AudioFrame.from_ndarray(values, format="s16", layout=frame.layout.name)
    pcm.sample_rate = frame.sample_rate
    return pcm
