"""Finding the frames at which decoding may start, by trying.

A key frame counts if a seek to its time stamp in a freshly opened file lands on its very packet. Where the codec does
not promise that decoding may start there, all frames up to the next key frame are decoded once more and compared with
the linear decode; where it does, this is tried at the first two only.
"""

import itertools
import zlib
from dataclasses import dataclass, field

import av
import numpy as np
from av.video.frame import PictureType

from vidflow.media.stream import Source, open_video, read_packets

_H264_IDR = 5
_NUM_TRIED = 2
"""Key frames behind the first at which decoding is tried even where the codec promises that it works: FFmpeg works
around faults of some encoders (old x264 in 4:4:4) only after it has seen the stream's first packet."""


@dataclass(frozen=True)
class PacketMark:
    """What tells one packet from all others of a stream."""

    pts: int | None
    dts: int | None
    pos: int | None
    size: int

    @classmethod
    def of(cls, packet: av.Packet) -> "PacketMark":
        return cls(packet.pts, packet.dts, packet.pos, packet.size)


@dataclass
class KeyFrames:
    """Gathers, during a linear decode, what the trials need afterwards."""

    packets: dict[int, PacketMark] = field(default_factory=dict)
    """Time stamp of each packet with the key flag, and how to recognise it."""
    unproven: set[int] = field(default_factory=set)
    """Those of ``packets`` at which the codec does not promise that decoding may start."""
    intra: set[int] = field(default_factory=set)
    """Time stamps of frames that came out as key frames and stand for themselves."""
    checksums: dict[int, int] = field(default_factory=dict)
    """Time stamp -> checksum, for the frames that a trial may compare."""

    def saw_packet(self, packet: av.Packet, context: av.VideoCodecContext) -> None:
        """Note a packet that is about to be decoded."""
        if packet.is_keyframe and packet.pts is not None:
            self.packets[packet.pts] = PacketMark.of(packet)
            if context.codec.canonical_name == "h264" and not has_idr(bytes(packet), context.extradata):
                self.unproven.add(packet.pts)

    def saw_frame(self, frame: av.VideoFrame) -> None:
        """Note a decoded frame."""
        if frame.pts is None:
            return
        # With intra refresh, packets have the key flag though nothing but a stripe of the picture is intra.
        intra = frame.key_frame and frame.pict_type == PictureType.I
        if intra:
            self.intra.add(frame.pts)
        if self.unproven or (intra and len(self.intra) <= 1 + _NUM_TRIED):
            self.checksums[frame.pts] = _checksum(frame)

    def seek_points(self, source: Source, stream_index: int, pts: list[int], reorder_depth: int) -> tuple[int, ...]:
        """Numbers of the frames at which decoding may start; frame 0, the start of the file, is always one.

        Args:
            pts: time stamps of all frames, strictly increasing.
        """
        numbers = [i for i, time in enumerate(pts) if i > 0 and time in self.packets and time in self.intra]
        if not numbers:
            return (0,)
        found = [0]
        # A fresh file: the index that FFmpeg builds while reading would let it seek where later readers cannot.
        with open_video(source, stream_index=stream_index, reorder_depth=reorder_depth) as (file, stream):
            landed = [i for i in numbers if _lands_on(file, stream, self.packets[pts[i]])]
            for tried, number in enumerate(landed):
                if pts[number] in self.unproven:
                    end = next((later for later in numbers if later > number), len(pts))
                    if not self._decodes_alike(file, stream, pts[number:end]):
                        continue
                elif tried < _NUM_TRIED and not self._decodes_alike(file, stream, pts[number : number + 1]):
                    return (0,)
                found.append(number)
        return tuple(found)

    def _decodes_alike(self, file: av.container.InputContainer, stream: av.VideoStream, pts: list[int]) -> bool:
        """Whether decoding from the first of these frames gives all of them as the linear decode did."""
        expected = {time: self.checksums[time] for time in pts if time in self.checksums}
        try:
            file.seek(pts[0], stream=stream)
            for packet in itertools.chain(read_packets(file, stream), [None]):
                for frame in stream.codec_context.decode(packet):
                    if frame.pts in expected and expected.pop(frame.pts) != _checksum(frame):
                        return False
                if not expected:
                    return True
        except av.FFmpegError:
            return False
        return False


def _lands_on(file: av.container.InputContainer, stream: av.VideoStream, mark: PacketMark) -> bool:
    assert mark.pts is not None
    try:
        file.seek(mark.pts, stream=stream)
        packet = next(read_packets(file, stream), None)
    except av.FFmpegError:
        return False
    return packet is not None and PacketMark.of(packet) == mark


def has_idr(data: bytes, extradata: bytes | None) -> bool:
    """Whether an H.264 access unit holds an IDR picture (ITU-T H.264, table 7-1: NAL unit type 5)."""
    if extradata and extradata[0] == 1:  # avcC: NAL units with their length in front (ISO/IEC 14496-15, 5.3.3.1)
        prefix = (extradata[4] & 3) + 1
        position = 0
        while position + prefix < len(data):
            if data[position + prefix] & 31 == _H264_IDR:
                return True
            position += prefix + int.from_bytes(data[position : position + prefix], "big")
        return False
    return any(unit and unit[0] & 31 == _H264_IDR for unit in data.split(b"\0\0\1"))


def _checksum(frame: av.VideoFrame) -> int:
    """CRC of a frame's pixels, the padding of rows left out."""
    crc = 0
    for index, plane in enumerate(frame.planes):
        samples = [component.bits for component in frame.format.components if component.plane == index]
        bytes_per_pixel = len(samples) * (2 if max(samples, default=0) > 8 else 1)
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
        crc = zlib.crc32(rows[:, : plane.width * bytes_per_pixel or None].tobytes(), crc)
    return crc
