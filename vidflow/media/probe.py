"""Probing: what a video really holds, found by decoding all of it once.

The rule for damage, the same for all containers:

- ``error``: a packet that the decoder refuses, a frame that it flags as damaged, a packet cut off by the end of the
  file, or a stream that ends clearly before its container says, makes the video unusable.
- ``conceal``: the decoder goes on behind a damaged packet. Frames that come out are kept with their own time stamps,
  in their order; refused packets and flagged frames are counted in ``num_damaged``, and such a video is always decoded
  from its start, since concealment depends on what was decoded before. A read error ends the stream.

"Clearly before": an MP4 index is exact, so one missing packet counts; for AVI and Matroska, whose headers are only
roughly right, more than 10 % of the promised length and at least half a second must be missing.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import av

from vidflow.errors import DecodeError
from vidflow.media.pixels import RgbConverter, rotation_of
from vidflow.media.seekpoints import KeyFrames
from vidflow.media.stream import Source, container_of, decode_linear, describe, open_video
from vidflow.media.timestamps import Times
from vidflow.schema import VideoInfo

OnDamage = Literal["error", "conceal"]


@dataclass
class _Seen:
    """What one linear decode has seen."""

    pts: list[int | None] = field(default_factory=list)
    """One per frame, in presentation order."""
    first: av.VideoFrame | None = None
    last_duration: int = 0
    num_packets: int = 0
    num_damaged: int = 0
    reorder_depth: int = 0
    key_frames: KeyFrames = field(default_factory=KeyFrames)

    def sort(self) -> None:
        """Put frames that came out in disorder, as they do behind damage, in the order of their time stamps."""
        pts = [p for p in self.pts if p is not None]
        if len(set(pts)) < len(self.pts):
            return
        self.pts = list[int | None](sorted(pts))


def probe_video(
    source: Source, *, on_damage: OnDamage = "error", container: str | None = None, num_threads: int = 1
) -> VideoInfo:
    """Decode a video once and say what it holds.

    Args:
        source: the encoded file's content, or its path.
        on_damage: what damage does, see the module's docstring.
        container: extension of the shard member; None takes it from the format that FFmpeg finds in the bytes.
        num_threads: threads of the decoder.

    Raises:
        DecodeError: cannot be opened, no video stream, no frame decodes, mirrored, or damaged under ``error``; the
            message names the source and where in it decoding stopped.
    """
    where = describe(source)
    depth: int | None = None
    while True:
        with open_video(source, num_threads=num_threads, reorder_depth=depth) as (file, stream):
            depth_before = stream.codec_context.reorder_depth
            seen = _decode_all(file, stream, where, on_damage)
            # A decoder that found only later that it must hold back more frames has dropped some: once more.
            if seen.reorder_depth > depth_before and len(seen.pts) < seen.num_packets:
                depth = seen.reorder_depth
                continue
            if seen.first is None:
                damage = f", {seen.num_damaged} of {seen.num_packets} packets are damaged" if seen.num_damaged else ""
                promised = f"; its header promises {stream.frames}" if stream.frames else ""
                raise DecodeError(f"{where}: no frame decodes{damage}{promised}")
            if on_damage == "error":
                _check_end(file, stream, seen, where)
            return _info(source, file, stream, seen, where, container)


def _decode_all(file: av.container.InputContainer, stream: av.VideoStream, where: str, on_damage: OnDamage) -> _Seen:
    """Decode the whole stream; under ``error`` stop at the first damage."""
    context = stream.codec_context
    seen = _Seen()

    def damaged(what: str) -> None:
        seen.num_damaged += 1
        if on_damage == "error":
            at = f"packet {seen.num_packets}" + (f" of {stream.frames}" if stream.frames else "")
            raise DecodeError(f"{where}: damaged at {at}, after {len(seen.pts)} frames: {what}")

    def saw(packet: av.Packet) -> None:
        seen.num_packets += 1
        seen.key_frames.saw_packet(packet, context)

    for frame in decode_linear(file, stream, damaged=damaged, saw=saw):
        if seen.first is None:
            seen.first = frame
        seen.pts.append(frame.pts)
        seen.key_frames.saw_frame(frame)
        seen.last_duration = frame.duration
    seen.reorder_depth = context.reorder_depth
    if seen.num_damaged:
        seen.sort()
    return seen


def _check_end(file: av.container.InputContainer, stream: av.VideoStream, seen: _Seen, where: str) -> None:
    """Refuse a stream that ends clearly before its container says."""
    early = f"{where}: ends early, the file is cut off:"
    if file.format.name.startswith("mov,"):
        promised = len(stream.index_entries)
        if seen.num_packets < promised:
            raise DecodeError(f"{early} {len(seen.pts)} frames decode, the index promises {promised} packets")
        return
    end = _promised_seconds(file, stream)
    known = [pts for pts in seen.pts if pts is not None]
    if end is None or not known or stream.time_base is None:
        return
    last = float(max(known) * stream.time_base)
    if last < end - max(0.5, 0.1 * end):
        at = f"the last of {len(seen.pts)} frames stands at {last:.2f} s"
        raise DecodeError(f"{early} {at}, the header promises {end:.2f} s")


def _promised_seconds(file: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Where the container says that the video ends; None for formats whose length FFmpeg only guesses."""
    if file.format.name == "avi" and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if file.format.name == "matroska,webm" and file.duration:
        # The whole file's length counts the sound too; a tag tells the video's own, but may stem from an earlier cut.
        whole = float(file.duration / av.time_base)
        alone = len(file.streams.video) + len(file.streams.audio) == 1
        tag = _tag_seconds(stream.metadata.get("DURATION", ""))
        return whole if alone else None if tag is None else min(tag, whole)
    return None


def _tag_seconds(tag: str) -> float | None:
    """Seconds of Matroska's DURATION tag, such as 00:00:10.333000000; None where it is none."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", tag)
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _info(
    source: Source,
    file: av.container.InputContainer,
    stream: av.VideoStream,
    seen: _Seen,
    where: str,
    container: str | None,
) -> VideoInfo:
    first = seen.first
    assert first is not None
    assert stream.time_base is not None
    try:
        rotation = rotation_of(first)
        width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
        # Colours that cannot be converted are found now and not in training.
        RgbConverter(width=width, height=height, rotation=rotation)(first)
    except DecodeError as error:
        raise DecodeError(f"{where}: {error}") from error
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    times = Times.of(seen.pts, unit=stream.time_base, last_duration=seen.last_duration, rate=rate)
    seekable = bool(times.pts) and not seen.num_damaged
    keys = seen.key_frames.seek_points(source, stream.index, times.pts, seen.reorder_depth) if seekable else (0,)
    aspect = float(stream.sample_aspect_ratio or 1)
    context = stream.codec_context
    return VideoInfo(
        container=container or container_of(file, stream, source.name if isinstance(source, Path) else ""),
        codec=context.codec.canonical_name,
        codec_profile=context.profile,
        pixel_format=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        stream_index=stream.index,
        width=width,
        height=height,
        rotation=rotation,
        sample_aspect_ratio=1 / aspect if rotation in (90, 270) else aspect,
        num_frames=len(seen.pts),
        fps=times.fps,
        duration=times.duration,
        variable_frame_rate=times.variable,
        time_base=(stream.time_base.numerator, stream.time_base.denominator),
        pts_start=times.pts[0] if times.pts else 0,
        pts_step=times.step,
        pts=tuple(times.pts) if times.pts and times.step is None else None,
        key_frames=keys,
        seekable=seekable,
        reorder_depth=seen.reorder_depth,
        has_audio=len(file.streams.audio) > 0,
        num_damaged=seen.num_damaged,
        header_num_frames=stream.frames or None,
    )
