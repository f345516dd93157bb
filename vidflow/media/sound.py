"""Sound: what a stream holds, seen by decoding the whole of it once, and its samples as an array."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import av
import numpy as np

from vidflow.errors import DecodeError
from vidflow.media.stream import open_container
from vidflow.schema import AudioInfo

# FFmpeg's name of the format -> file name extension of the member.
_CONTAINERS: dict[str, Literal["flac", "wav", "mp3"]] = {"flac": "flac", "wav": "wav", "mp3": "mp3"}
LOUDEST = 1e14
"""The largest sample that is taken for sound, which by custom lies in [-1, 1]. Whole numbers of 32 bits that were
written as floats stay far below, and the squares of samples up to it, hours of them, have a sum in single precision."""


@contextmanager
def open_sound(source: Path | bytes) -> Iterator[tuple[av.container.InputContainer, av.AudioStream, str]]:
    """A file of any format, its best sound stream, and what to call it in messages.

    Raises:
        DecodeError: it cannot be opened, or has no sound that FFmpeg can decode.
    """
    where = str(source) if isinstance(source, Path) else "memory"
    try:
        with open_container(source, "sound") as container:
            streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
            if not streams:
                raise NoSoundError(f"{where}: no sound stream")
            best = container.streams.best("audio")
            yield container, best if best in streams else streams[0], where
    except av.FFmpegError as error:
        raise DecodeError(f"{where}: damaged ({error.strerror})") from error


class NoSoundError(DecodeError):
    """A file without a sound stream."""


def iter_sound_frames(
    container: av.container.InputContainer, stream: av.AudioStream, where: str
) -> Iterator[av.AudioFrame]:
    """All decoded frames; damage, a change of rate or channels and samples that are no numbers are errors, never a
    shorter or bent answer."""
    first: tuple[int, int] | None = None
    seconds = 0.0
    try:
        for frame in container.decode(stream):
            kind = (frame.sample_rate, len(frame.layout.channels))
            if first is not None and kind != first:
                raise DecodeError(
                    f"{where}: changes at {seconds:.3f} s from {first[0]} Hz, {first[1]} channels "
                    f"to {kind[0]} Hz, {kind[1]} channels"
                )
            first = kind
            _refuse_odd_samples(frame, where, seconds)
            seconds += frame.samples / frame.sample_rate
            yield frame
    except av.FFmpegError as error:
        raise DecodeError(f"{where}: damaged at {seconds:.3f} s ({error.strerror})") from error


def _refuse_odd_samples(frame: av.AudioFrame, where: str, seconds: float) -> None:
    """One such sample would make all features of its file NaN or silence, since the loudness is that of the whole.

    Args:
        seconds: where the frame starts.

    Raises:
        DecodeError: NaN, an infinity, or beyond ``LOUDEST``; which only formats of floats can hold.
    """
    if not frame.format.name.startswith(("flt", "dbl")) or not frame.samples:
        return
    values = frame.to_ndarray()
    # With NaN among them both are NaN, and no comparison holds.
    if values.min() >= -LOUDEST and values.max() <= LOUDEST:
        return
    values = _by_channel(frame)
    bad = ~(np.abs(values) <= LOUDEST)
    place = int(bad.any(axis=0).argmax())
    first = f"at {seconds + place / frame.sample_rate:.3f} s is {values[bad[:, place], place][0]:g}"
    raise DecodeError(
        f"{where}: holds samples that are no sound, the first {first}; sound has numbers in [-1, 1], and none beyond "
        f"{LOUDEST:g}; make the file again from its source"
    )


def probe_audio(source: Path | bytes) -> AudioInfo:
    """Decode a whole WAV, FLAC or MP3 file and say what it holds.

    Raises:
        DecodeError: of another format, without sound, damaged, cut short, or with samples that are no numbers.
    """
    with open_sound(source) as (container, stream, where):
        name = container.format.name
        if name not in _CONTAINERS:
            raise DecodeError(f"{where}: format {name}; sound is packed as wav, flac or mp3")
        rate = channels = count = 0
        for frame in iter_sound_frames(container, stream, where):
            rate, channels, count = frame.sample_rate, len(frame.layout.channels), count + frame.samples
        if not count:
            raise DecodeError(f"{where}: no sound decodes")
        # A FLAC file says how many samples it holds. FFmpeg guesses for MP3, and for WAV goes by the file's size.
        if name == "flac" and stream.duration and stream.time_base:
            claimed = round(stream.duration * stream.time_base * rate)
            if count < claimed:
                raise DecodeError(f"{where}: cut short, {count} of {claimed} samples decode")
        if name == "wav" and (missing := _missing_wav_bytes(source)):
            raise DecodeError(f"{where}: cut short, {missing} bytes of sound are missing")
        return AudioInfo(
            container=_CONTAINERS[name],
            codec=stream.codec_context.name,
            sample_rate=rate,
            num_channels=channels,
            num_samples=count,
            duration=count / rate,
        )


def _missing_wav_bytes(source: Path | bytes) -> int:
    """How many bytes the ``data`` chunk of a RIFF file promises beyond the file's end; 0 where it makes no promise."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(4) != b"RIFF":
            return 0
        file.seek(12)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                # Programs that write to a pipe cannot know the length, and put in 0 or the largest number.
                return 0 if length >= 2**32 - 2**16 else max(0, file.tell() + length - size)
            file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def decode_audio(source: Path | bytes) -> np.ndarray:
    """All samples of a sound file, float32 [channels, samples] in [-1, 1] at the file's own rate.

    Whole numbers are divided by the largest power of two that their type holds, as is usual.

    Raises:
        DecodeError: without sound, damaged, or with samples that are no numbers.
    """
    parts = []
    with open_sound(source) as (container, stream, where):
        for frame in iter_sound_frames(container, stream, where):
            parts.append(sound_array(frame))
    if not parts:
        raise DecodeError(f"{where}: no sound decodes")
    return np.concatenate(parts, axis=1)


def sound_array(frame: av.AudioFrame) -> np.ndarray:
    """The samples of a frame, float32 [channels, samples] in [-1, 1]."""
    return _to_float(_by_channel(frame))


def _by_channel(frame: av.AudioFrame) -> np.ndarray:
    """The samples of a frame as they are, [channels, samples]."""
    values: np.ndarray = frame.to_ndarray()  # [channels, samples], or [1, samples * channels] where interleaved
    return values if frame.format.is_planar else values.reshape(-1, len(frame.layout.channels)).T


def _to_float(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
