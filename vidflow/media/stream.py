"""Opening one video stream and reading its packets: the same for probing, random access and transcoding.

FFmpeg sees the bytes only, never the file's name: the name would take part in its guess of the format, and a stream
probed as a file must read the same later as a shard member. Only formats of the table below are opened; play lists,
which would name other files, and still pictures are refused.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av

from vidflow.errors import DecodeError

Source = bytes | bytearray | memoryview | Path
"""An encoded video file: its content, or where it lies."""

# FFmpeg's demuxer -> extension of the shard member. Matroska is decided in ``container_of``.
CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "mkv",
    "avi": "avi",
    "flv": "flv",
    "mpegts": "ts",
    "mpeg": "mpg",
    "asf": "wmv",
    "ogg": "ogv",
    "gif": "gif",
    "apng": "apng",
    "rm": "rm",
    "mxf": "mxf",
    "nut": "nut",
    "ivf": "ivf",
    "dv": "dv",
    "h264": "h264",
    "hevc": "hevc",
    "m4v": "m4v",
    "mpegvideo": "m1v",
    "mjpeg": "mjpeg",
    "obu": "obu",
    "vc1": "vc1",
    "h263": "h263",
    "yuv4mpegpipe": "y4m",
}
# Formats whose headers hold all that decoding needs, so that the frame that FFmpeg decodes on opening (8 ms for
# 1920x1080) shows nothing new once a file has been probed.
_TELLING_CONTAINERS = {"mp4", "mkv", "webm"}
# A play list must not make FFmpeg open what it names.
_OPTIONS = {"protocol_whitelist": "none"}
_NO_LOOK = {"probesize": "32", "analyzeduration": "1", "skip_frame": "all"}  # the last is for FFmpeg's own decoders
_WEBM_CODECS = {"vp8", "vp9", "av1"}
_NOT_VIDEO = (
    av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails | av.stream.Disposition.still_image
)


class _Window:
    """A read-only file over memory that copies only what is read (``io.BytesIO`` would copy all of a memoryview)."""

    def __init__(self, data: memoryview) -> None:
        self._data = data.cast("B")
        self._position = 0

    def read(self, size: int) -> bytes:
        chunk = bytes(self._data[self._position : self._position + size])
        self._position += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = (0, self._position, len(self._data))[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position


class _Nameless:
    """An open file without the ``name`` that PyAV would hand to FFmpeg."""

    def __init__(self, file: io.FileIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def describe(source: Source) -> str:
    """What to call a source in messages."""
    return str(source) if isinstance(source, Path) else f"video of {len(source)} bytes"


@contextmanager
def open_video(
    source: Source,
    *,
    stream_index: int | None = None,
    num_threads: int = 1,
    reorder_depth: int | None = None,
    container: str | None = None,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a source and its video stream, ready to demux and decode.

    Args:
        stream_index: the stream that probing has chosen; None chooses (see ``choose_stream``).
        num_threads: threads of the decoder; 1 is right where many samples are decoded side by side.
        reorder_depth: frames that the decoder holds back to put them in order, as probing has seen it; None leaves
            it to FFmpeg's guess from the first packets, which can be too small and then costs frames.
        container: extension of a file that was probed before; some need no second look at their first frames.

    Raises:
        DecodeError: the source cannot be read or opened, or has no video stream.
    """
    where = describe(source)
    with open_container(source, "a video", looks_at_frames=container not in _TELLING_CONTAINERS) as file:
        if file.format.name not in CONTAINERS:
            raise DecodeError(f"{where}: FFmpeg takes it for {file.format.long_name!r}, which is no video container")
        stream = choose_stream(file, where) if stream_index is None else _stream_at(file, stream_index, where)
        stream.codec_context.thread_count = num_threads
        if num_threads > 1:
            stream.codec_context.thread_type = "AUTO"
        if reorder_depth is not None:
            stream.codec_context.reorder_depth = max(reorder_depth, stream.codec_context.reorder_depth)
        yield file, stream


@contextmanager
def open_container(source: Source, kind: str, *, looks_at_frames: bool = True) -> Iterator[av.container.InputContainer]:
    """Open a source of any format.

    Args:
        kind: what it should be, for messages.
        looks_at_frames: let FFmpeg decode the first frames to learn of each stream what its header does not tell.

    Raises:
        DecodeError: it cannot be read or opened.
    """
    where = describe(source)
    raw: io.FileIO | None = None
    try:
        if isinstance(source, Path):
            raw = io.FileIO(source)
            file: object = _Nameless(raw)
        else:
            file = _Window(source) if isinstance(source, memoryview) else io.BytesIO(source)
        container = av.open(
            file,
            options={**_OPTIONS, **({} if looks_at_frames else _NO_LOOK)},
            metadata_errors="replace",
        )
    except (OSError, ValueError, av.FFmpegError) as error:
        if raw is not None:
            raw.close()
        raise DecodeError(f"{where}: cannot be opened as {kind} ({_why_not_opened(source, error)})") from error
    try:
        yield container
    finally:
        container.close()
        if raw is not None:
            raw.close()


def _why_not_opened(source: Source, error: Exception) -> str:
    if isinstance(source, Path):
        if not source.is_file():
            return "not a regular file" if source.exists() else "no such file"
        try:
            with source.open("rb") as file:
                return _look_into(file) or _reason(error)
        except OSError as unreadable:
            return _reason(unreadable)
    return _look_into(_Window(memoryview(source))) or _reason(error)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _look_into(file: BinaryIO | _Window) -> str | None:
    """What is plainly wrong with a file that FFmpeg refuses."""
    head = file.read(1 << 20)
    if not head:
        return "0 bytes"
    if b"encv" in head or b"enca" in head:
        return "its streams are encrypted"
    if head[4:8] == b"ftyp" and b"moov" not in _mp4_boxes(file):
        return "an MP4 file without its index (no moov box); it is cut off"
    return None


def _mp4_boxes(file: BinaryIO | _Window) -> list[bytes]:
    """Types of the top-level boxes (ISO/IEC 14496-12, 4.2)."""
    boxes: list[bytes] = []
    position = 0
    while True:
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return boxes
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        boxes.append(header[4:8])
        if size < 8:  # 0 means: to the end
            return boxes
        position += size


def choose_stream(container: av.container.InputContainer, where: str) -> av.VideoStream:
    """The stream that people mean: FFmpeg's best video stream, cover art and thumbnails left out.

    Raises:
        DecodeError: there is none, or FFmpeg has no decoder for it.
    """
    videos = [stream for stream in container.streams.video if not stream.disposition & _NOT_VIDEO]
    if not videos:
        others = [
            f"{stream.type} {'(picture)' if stream.type == 'video' else ''}".strip() for stream in container.streams
        ]
        raise DecodeError(f"{where}: no video stream (streams: {', '.join(others) or 'none'})")
    best = container.streams.best("video")
    stream = best if best is not None and best.index in {s.index for s in videos} else videos[0]
    return _decodable(stream, where)


def _stream_at(container: av.container.InputContainer, index: int, where: str) -> av.VideoStream:
    if index >= len(container.streams) or container.streams[index].type != "video":
        raise DecodeError(f"{where}: stream {index} is no video stream; the sample differs from its manifest row")
    return _decodable(container.streams[index], where)


def _decodable(stream: av.VideoStream, where: str) -> av.VideoStream:
    if stream.codec_context is None:
        raise DecodeError(f"{where}: FFmpeg has no decoder for stream {stream.index} (unknown or encrypted)")
    if stream.codec_context.codec_tag in ("encv", "drmi"):
        raise DecodeError(f"{where}: stream {stream.index} is encrypted")
    return stream


def container_of(container: av.container.InputContainer, stream: av.VideoStream, name: str) -> str:
    """Extension for the shard member, from the format that FFmpeg found; ``name`` only decides between mkv and webm."""
    extension = CONTAINERS[container.format.name]
    if (
        extension == "mkv"
        and stream.codec_context.codec.canonical_name in _WEBM_CODECS
        and not name.lower().endswith(".mkv")
    ):
        return "webm"
    return extension


def read_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The stream's packets in file order, without the empty ones by which PyAV asks for a flush.

    Raises:
        av.FFmpegError: reading failed; the stream ends there.
    """
    for packet in container.demux(stream):
        if packet.size:
            yield packet


def decode_linear(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    *,
    damaged: Callable[[str], None],
    saw: Callable[[av.Packet], None] = lambda packet: None,
) -> Iterator[av.VideoFrame]:
    """All frames in presentation order, from the position where the container stands.

    Args:
        damaged: called with a few words for each packet or frame that is broken. It may raise; where it returns,
            decoding goes on behind the damage (a read error ends the stream all the same).
        saw: called with each packet before it is decoded.
    """
    packets = read_packets(container, stream)
    packet: av.Packet | None
    # In MPEG-TS the flag says no more than that a counter jumps, as it does where two recordings were joined.
    flags_mean_damage = container.format.name != "mpegts"
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            damaged(f"reading the file fails ({error.strerror})")
            packet = None
        if packet is not None:
            saw(packet)
        cut_off = packet is not None and packet.is_corrupt and flags_mean_damage
        if cut_off:
            damaged("a packet is cut off or broken")
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            frames = []
            if not cut_off:
                damaged(f"the decoder refuses a packet ({error.strerror})")
        for frame in frames:
            if frame.is_corrupt:
                damaged("the decoder could not restore a frame")
            yield frame
        if packet is None:
            return
