"""Exact access to the frames of a probed video: any frame numbers in, upright RGB out.

A frame is told by its time stamp, never by where a seek has landed. The reader moves forward only: for each wanted
frame, in presentation order, it decodes on or jumps to the last key frame before it where that skips work. Frames that
no other frame needs and nobody wants are not decoded where the codec marks them (H.264: pictures without reference;
MPEG-4: B-VOPs); everything else is decoded as in a linear decode, so that pixels are equal to the bit.
A video whose time stamps or seeks cannot be trusted (``VideoInfo.seekable``) is decoded from its start and counted.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import takewhile

import av
import numpy as np

from vidflow.errors import DecodeError
from vidflow.media.pixels import RgbConverter, Uprighter
from vidflow.media.stream import Source, decode_linear, describe, open_video, read_packets
from vidflow.schema import VideoInfo

# Codecs in which FFmpeg's AVDISCARD_NONREF drops only pictures that the standard bars from being referenced (H.264:
# nal_ref_idc 0, ITU-T H.264 7.4.1; MPEG-4 part 2: B-VOPs, ISO/IEC 14496-2 7.6.9). HEVC's "sub-layer non-reference"
# pictures may still be referenced by higher sub-layers, so these are left out.
_SKIPS_UNREFERENCED = {"h264", "mpeg4"}
_MPEG4_PICTURE = b"\0\0\1\xb6"  # vop_start_code
_CHANGED = "the file differs from the one that was probed; pack it again"


def decode_frames(source: Source, info: VideoInfo, frames: np.ndarray, *, num_threads: int = 1) -> np.ndarray:
    """Decode the given frames.

    Safe to call from many threads at once; FFmpeg works without the GIL.

    Args:
        source: the encoded file's content, or its path.
        info: what probing this very file has shown.
        frames: integers [N], frame numbers in [0, num_frames), any order, repeats allowed.
        num_threads: threads of the decoder.

    Returns:
        uint8 [N, H, W, 3], RGB, H and W as ``info`` has them; see ``vidflow.media.pixels``.

    Raises:
        ValueError: a frame number lies outside the video.
        DecodeError: a wanted frame does not come out, or comes out damaged: the bytes are not those that were probed.
    """
    numbers = np.asarray(frames)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(f"frames must be one-dimensional integers, got {numbers.dtype} of shape {numbers.shape}")
    out = np.empty((len(numbers), info.height, info.width, 3), np.uint8)
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers.tolist()):
        places.setdefault(number, []).append(place)

    def keep(number: int, rgb: np.ndarray) -> None:
        for place in places[number]:
            np.copyto(out[place], rgb)

    show_frames(source, info, sorted(places), keep, num_threads=num_threads)
    return out


def show_frames(
    source: Source,
    info: VideoInfo,
    frames: Sequence[int],
    show: Callable[[int, np.ndarray], None],
    *,
    num_threads: int = 1,
) -> None:
    """As ``decode_frames``, without memory for all frames: each is shown as soon as it comes out.

    Args:
        frames: distinct frame numbers, ascending.
        show: called with the frame's number and its pixels, uint8 [H, W, 3], which are gone when it returns.

    Raises:
        ValueError, DecodeError: as ``decode_frames``.
    """
    if not frames:
        return
    if frames[0] < 0 or frames[-1] >= info.num_frames:
        bad = frames[0] if frames[0] < 0 else frames[-1]
        raise ValueError(f"frame {bad} lies outside the video, which has frames 0 to {info.num_frames - 1}")
    where = describe(source)
    converter = RgbConverter(width=info.width, height=info.height, rotation=info.rotation)
    with _opened(source, info, num_threads) as (file, stream):
        if info.seekable:
            numbered = _jumping(file, stream, info, list(frames), where)
        else:
            numbered = _from_start(file, stream, info, where)
        missing = set(frames)
        for number, frame in numbered:
            if number in missing:
                try:
                    rgb = converter(frame)
                except DecodeError as error:
                    raise DecodeError(f"{where}: frame {number}: {error}") from error
                show(number, rgb)
                missing.remove(number)
                if not missing:
                    break
    if missing:
        raise DecodeError(f"{where}: frame {min(missing)} of {info.num_frames} does not come out; {_CHANGED}")


def iter_video_frames(source: Source, info: VideoInfo, *, num_threads: int = 1) -> Iterator[av.VideoFrame]:
    """All frames in presentation order, upright, in their own pixel format, with ``pts`` and ``time_base`` set.

    Time stamps are ``info.timestamps``: the stream's own, or evenly spaced ones where it has none to be used. Frames of
    another size than the first are scaled to it.

    Raises:
        DecodeError: damage that probing has not counted, or other frames than probing has seen.
    """
    upright = Uprighter(width=info.width, height=info.height, rotation=info.rotation)
    time_base = Fraction(*info.time_base)
    stamps = info.timestamps.tolist()
    for frame, stamp in zip(_in_order(source, info, num_threads), stamps, strict=True):
        turned = upright(frame)
        turned.pts = stamp
        turned.time_base = time_base
        yield turned


def iter_rgb_frames(source: Source, info: VideoInfo, *, num_threads: int = 1) -> Iterator[np.ndarray]:
    """All frames in presentation order, upright RGB, uint8 [H, W, 3]: the same pixels as ``decode_frames`` gives.

    Raises:
        DecodeError: as ``iter_video_frames`` does.
    """
    converter = RgbConverter(width=info.width, height=info.height, rotation=info.rotation)
    for number, frame in enumerate(_in_order(source, info, num_threads)):
        try:
            rgb = converter(frame)
        except DecodeError as error:
            raise DecodeError(f"{describe(source)}: frame {number}: {error}") from error
        yield np.array(rgb, order="C")


def _in_order(source: Source, info: VideoInfo, num_threads: int) -> Iterator[av.VideoFrame]:
    """All frames as they are coded, in presentation order."""
    where = describe(source)
    early: dict[int, av.VideoFrame] = {}  # behind damage the decoder may give frames out of order
    following = 0
    with _opened(source, info, num_threads) as (file, stream):
        for number, frame in _from_start(file, stream, info, where):
            if number >= info.num_frames or number < following or number in early:
                raise DecodeError(f"{where}: frame {number} comes out twice or past the end; {_CHANGED}")
            early[number] = frame
            while following in early:
                yield early.pop(following)
                following += 1
    if following < info.num_frames:
        raise DecodeError(f"{where}: frame {following} of {info.num_frames} does not come out; {_CHANGED}")


def _opened(
    source: Source, info: VideoInfo, num_threads: int
) -> AbstractContextManager[tuple[av.container.InputContainer, av.VideoStream]]:
    return open_video(
        source,
        stream_index=info.stream_index,
        num_threads=num_threads,
        reorder_depth=info.reorder_depth,
        container=info.container,
    )


class _Numbering:
    """From time stamps to frame numbers and back, without a table where the step is constant."""

    def __init__(self, info: VideoInfo, where: str) -> None:
        self._start, self._step, self._pts, self._count = info.pts_start, info.pts_step, info.pts, info.num_frames
        self._where = where
        self.known = self._pts is not None or self._step is not None

    def find(self, pts: int | None) -> int | None:
        """The frame that has this time stamp; None where none has."""
        if pts is None:
            return None
        if self._pts is not None:
            number = bisect_left(self._pts, pts)
            return number if number < self._count and self._pts[number] == pts else None
        assert self._step is not None
        number, rest = divmod(pts - self._start, self._step)
        return number if rest == 0 and 0 <= number < self._count else None

    def number(self, frame: av.VideoFrame) -> int:
        number = self.find(frame.pts)
        if number is None:
            raise DecodeError(f"{self._where}: a frame with the unknown time stamp {frame.pts} comes out; {_CHANGED}")
        return number

    def pts(self, number: int) -> int:
        if self._pts is not None:
            return self._pts[number]
        assert self._step is not None
        return self._start + number * self._step


def _from_start(
    file: av.container.InputContainer, stream: av.VideoStream, info: VideoInfo, where: str
) -> Iterator[tuple[int, av.VideoFrame]]:
    """All frames with their numbers, by time stamp or else by counting; damage that was not counted is an error."""

    def damaged(what: str) -> None:
        if not info.num_damaged:
            raise DecodeError(f"{where}: {what}; {_CHANGED}")

    frames = decode_linear(file, stream, damaged=damaged)
    numbering = _Numbering(info, where)
    if not numbering.known:
        yield from enumerate(frames)
        return
    for frame in frames:
        yield numbering.number(frame), frame


def _jumping(
    file: av.container.InputContainer, stream: av.VideoStream, info: VideoInfo, wanted: list[int], where: str
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The wanted frames (ascending) and some others with their numbers, jumping to key frames where that skips work."""
    numbering = _Numbering(info, where)
    decoder = _Decoder(stream, set(wanted))
    pending = deque(wanted)
    latest = -1  # newest frame that has come out
    floor = 0  # frames before it lean, after a jump, on frames that were not decoded
    unfed: set[int] = set()  # wanted frames behind the same key frame whose packets the decoder has not had
    last_pts = 0  # of the last one of them
    ended = False  # the decoder has given up all frames, and takes no packet before the next jump
    may_end = True  # whether to ask for what the decoder holds back, which ends it
    packets = read_packets(file, stream)
    while pending:
        key = _key_before(info, pending[0])
        jumps = ended or key > latest + 1 + info.reorder_depth
        try:
            if jumps:
                file.seek(numbering.pts(key), stream=stream)
                packets = read_packets(file, stream)
                floor, latest, ended = key, key - 1, False
            if jumps or not unfed:
                unfed = _behind_one_key(info, pending)
                last_pts = numbering.pts(max(unfed))
            packet = next(packets, None)
            number = None if packet is None else numbering.find(packet.pts)
            if jumps and number != key:
                raise DecodeError(f"{where}: seeking to frame {key} leads to frame {number}; {_CHANGED}")
            frames = decoder.decode(packet, number)
            if number in unfed:
                unfed.remove(number)
                if not unfed and may_end and all(frame.pts != last_pts for frame in frames):
                    # The decoder holds the last ones back for the sake of order; no more packets are needed for them.
                    rest, ended = decoder.decode(None, None), True
                    # Of interlaced frames, the packet may have been one field of two.
                    frames += [] if any(frame.interlaced_frame for frame in rest) else rest
        except av.FFmpegError as error:
            raise DecodeError(f"{where}: damaged before frame {pending[0]} ({error.strerror}); {_CHANGED}") from error
        for frame in frames:
            if floor and frame.pts is not None and frame.pts < numbering.pts(floor):
                continue
            number = numbering.number(frame)
            if frame.is_corrupt:
                raise DecodeError(f"{where}: frame {number} comes out damaged; {_CHANGED}")
            yield number, frame
            latest = number
            while pending and pending[0] <= latest:
                pending.popleft()
        if ended and pending and _key_before(info, pending[0]) == key:
            # It did not come out so: once more, and on behind it, to the end of the stream if it must be.
            may_end = False
        if packet is None:
            return


def _key_before(info: VideoInfo, frame: int) -> int:
    return info.key_frames[bisect_right(info.key_frames, frame) - 1]


def _behind_one_key(info: VideoInfo, frames: Iterable[int]) -> set[int]:
    """The first of the ascending frames, and those that follow up to the next key frame."""
    keys = ((frame, _key_before(info, frame)) for frame in frames)
    first, key = next(keys)
    return {first, *(frame for frame, _ in takewhile(lambda pair: pair[1] == key, keys))}


class _Decoder:
    """Decodes packets, without the pictures that nobody needs where the codec marks them."""

    def __init__(self, stream: av.VideoStream, kept: set[int]) -> None:
        self._context, self._kept = stream.codec_context, kept
        self._codec = self._context.codec.canonical_name
        self._skips = self._codec in _SKIPS_UNREFERENCED

    def decode(self, packet: av.Packet | None, number: int | None) -> list[av.VideoFrame]:
        """Frames that are ready.

        Args:
            packet: None asks for all that are left.
            number: of the packet's frame; None where it is not known.
        """
        if self._skips and self._codec == "mpeg4" and packet is not None and bytes(packet).count(_MPEG4_PICTURE) != 1:
            # DivX's packed streams: a packet holds the next one's picture too, and is no longer known by its time.
            self._skips, self._context.skip_frame = False, "DEFAULT"
        if self._skips:
            needed = number is None or number in self._kept
            self._context.skip_frame = "DEFAULT" if needed else "NONREF"
        frames: list[av.VideoFrame] = self._context.decode(packet)
        return frames
