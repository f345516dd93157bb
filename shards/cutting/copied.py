"""A stretch of a video as a file of its own without encoding it anew: from a key frame to a key frame."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.media.stream import decode_linear, open_video, read_packets
from vidflow.media.window import TOLERANCE_SECONDS, Window, guesses_stamps
from vidflow.shards.cutting.encoded import CutVideo
from vidflow.shards.files import NO_ROOM
from vidflow.shards.profiles import EncodeError

_FORMATS = {".mp4": "mp4", ".webm": "webm", ".mkv": "matroska"}


def copy_suffix(source: str) -> str:
    """Extension of a copy: MP4 and its kin stay what they are, WebM too, and all others go into Matroska.

    >>> copy_suffix("a.MOV"), copy_suffix("b.webm"), copy_suffix("c.avi")
    ('.mp4', '.webm', '.mkv')
    """
    suffix = Path(source).suffix.lower()
    if suffix in (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v"):
        return ".mp4"
    return ".webm" if suffix == ".webm" else ".mkv"


def copy_window(source: Path, window: Window, out: Path, suffix: str) -> CutVideo:
    """Copy the packets from the last key frame at or before the window's start to the first one at or behind its end.

    Args:
        suffix: of the file that ``out`` will become, ``.mp4``, ``.webm`` or ``.mkv``.

    Raises:
        DecodeError: the source cannot be read, has no time stamps, or ends before the window.
        EncodeError: the container cannot hold the stream, or what was copied does not decode.
        OSError: the file cannot be written.
    """
    with open_video(source) as (file, stream):
        first = next(decode_linear(file, stream, damaged=lambda what: None), None)
        if first is None or first.pts is None or stream.time_base is None:
            raise DecodeError(f"{source}: no frame with a time stamp decodes; cut it without --copy")
        if guesses_stamps(file, stream):
            raise DecodeError(f"{source}: its time stamps are made up (AVI with B-frames); cut it without --copy")
        origin, unit = first.pts, stream.time_base
        start = origin + int((window.start + TOLERANCE_SECONDS) / unit)
        key = _copy_packets(file, stream, source, out, suffix, start=start, end=origin + int(window.end / unit))
    try:
        info = probe_video(out)
    except DecodeError as error:
        reason = str(error).removeprefix(f"{out}: ")
        raise EncodeError(f"{source}: does not decode once it is copied ({reason}); cut it without --copy") from error
    start_seconds = float((key - origin) * Fraction(unit))
    if start_seconds + info.duration <= window.start:
        raise DecodeError(f"{source}: has no frame in [{window.start:g}, {window.end:g}) s; it ends before that")
    return CutVideo(info, start_seconds)


def _from_key_frame(
    file: av.container.InputContainer, stream: av.VideoStream, source: Path, start: int
) -> Iterator[av.Packet]:
    """Packets from the last key frame at or before ``start`` on.

    Containers without an index, such as MPEG-TS, are sought by time stamps alone; they are read from their beginning.
    """
    file.seek(start, stream=stream)
    packets = read_packets(file, stream)
    first = next(packets, None)
    if first is not None and first.is_keyframe and (first.pts is None or first.pts <= start):
        return itertools.chain([first], packets)
    beginning = min(file.start_time or 0, 0)
    file.seek(beginning)
    key: int | None = None
    for packet in read_packets(file, stream):
        if packet.dts is not None and packet.dts > start:
            break
        if packet.is_keyframe and packet.pts is not None and packet.pts <= start:
            key = packet.pts
    if key is None:
        raise DecodeError(f"{source}: has no key frame before the stretch; cut it without --copy")
    file.seek(beginning)
    return itertools.dropwhile(lambda packet: not packet.is_keyframe or packet.pts != key, read_packets(file, stream))


def _with_decoding_times(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Packets behind a seek; Matroska stores no decoding times, and FFmpeg knows them from the third or so on."""
    waiting: list[av.Packet] = []
    for packet in packets:
        waiting.append(packet)
        if packet.dts is None:
            continue
        # Any times that rise will do for the ones before.
        for earlier, later in itertools.pairwise(reversed(waiting)):
            later.dts = earlier.dts - max(later.duration or 1, 1)
        yield from waiting
        waiting = []
    yield from waiting


def _copy_packets(
    file: av.container.InputContainer,
    stream: av.VideoStream,
    source: Path,
    out: Path,
    suffix: str,
    *,
    start: int,
    end: int,
) -> int:
    """Write the packets; gives the time stamp of the first one."""
    key: int | None = None
    try:
        with av.open(out, "w", format=_FORMATS[suffix], options={"fflags": "+bitexact"}) as container:
            # As it is: the name of a mere decoder (libdav1d) would be looked up as that of an encoder otherwise.
            copied = container.add_stream_from_template(stream, opaque=True)
            for packet in _with_decoding_times(_from_key_frame(file, stream, source, start)):
                if packet.pts is None or packet.dts is None:
                    raise DecodeError(f"{source}: packets without time stamps; cut it without --copy")
                if key is None:
                    key = packet.pts
                elif packet.is_keyframe and packet.pts >= end:
                    break
                if packet.pts < key:
                    continue  # leans on frames before the key frame
                packet.pts, packet.dts = packet.pts - key, packet.dts - key
                packet.stream = copied
                container.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        reason = error.strerror if isinstance(error, av.FFmpegError) else error
        raise EncodeError(f"{source}: cannot be copied into {suffix} ({reason}); cut it without --copy") from error
    if key is None:
        raise DecodeError(f"{source}: ends before the stretch")
    return key
