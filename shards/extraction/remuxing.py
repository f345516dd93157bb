"""A re-encoded video together with the sound of its source, packet for packet."""

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from vidflow.media.sound import open_sound
from vidflow.media.stream import open_video
from vidflow.schema import VideoInfo
from vidflow.shards.profiles import EncodeError


def add_sound(encoded: Path, source: Path, info: VideoInfo, out: Path) -> None:
    """Write an MP4 file with the picture of ``encoded`` and the best sound stream of ``source``, both as they are.

    Sound keeps its place beside the picture: what starts before or after the first frame does so still.

    Args:
        info: of the source.

    Raises:
        NoSoundError: the source has no sound.
        EncodeError: MP4 cannot hold the sound.
        OSError: the file cannot be written.
    """
    first_seconds = Fraction(int(info.timestamps[0])) * Fraction(*info.time_base)
    codec = "unknown"
    try:
        with (
            open_video(encoded) as (pictures, video),
            open_sound(source) as (sounds, audio, _),
            av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as file,
        ):
            codec = audio.codec_context.name
            targets = [file.add_stream_from_template(video), file.add_stream_from_template(audio)]
            packets = (_timed(pictures, video, Fraction(0), 0), _timed(sounds, audio, first_seconds, 1))
            for _, number, packet in heapq.merge(*packets, key=lambda entry: entry[:2]):
                packet.stream = targets[number]
                file.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError):
            raise
        raise EncodeError(f"{source}: its sound ({codec}) does not fit into MP4; leave --keep-sound out") from error


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, start: Fraction, number: int
) -> Iterator[tuple[Fraction, int, av.Packet]]:
    """Packets with their decoding times, counted from ``start`` seconds."""
    assert stream.time_base is not None
    shift = round(start / stream.time_base)
    for packet in container.demux(stream):
        if packet.dts is None:  # PyAV's sign of the end
            continue
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        yield packet.dts * stream.time_base, number, packet
