"""What the packets of a stream tell about decoding it inside a DALI graph: would its frames have the same numbers?

DALI 2.4 numbers frames by the time stamps of packets, whatever the decoder makes of them: it sorts those at 0 and later
(BuildIndex in ``dali/operators/video/frames_decoder_base.cc`` of NVIDIA/DALI), seeks to key frames, and on the GPU
hands the time stamps to decoded pictures one after the other (``frames_decoder_gpu.cc``). Wherever that could lead
elsewhere than the manifest, the CPU decodes.

Its colours on the GPU are always those of ITU-R BT.601 (``color_space.cu``), as on the CPU; those of other matrices are
put right behind the decoder.
"""

from dataclasses import dataclass

import av
import numpy as np

from vidflow.media.seekpoints import has_idr
from vidflow.media.stream import Source, open_video
from vidflow.schema import VideoInfo

# FFmpeg's AVColorSpace -> weights of red and blue in luma: ITU-R BT.709-6, item 3.2, and BT.2020-2, table 4.
_WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
# Unspecified, reserved, and two names of BT.601: what DALI's conversion means.
_AS_DALI = {2, 3, 5, 6}
_BT601 = (0.299, 0.114)
_FULL_RANGE = 2
# Codecs of which NVDEC's parser reports the range of grey levels.
_TELLS_RANGE = {"h264", "hevc"}
_PROGRESSIVE = {0, 1}  # AVFieldOrder: unknown, progressive
_HEVC_RASL = {8, 9}  # ITU-T H.265, table 7-1
_AV1_FRAME_HEADERS = {3, 7}  # AV1 specification 1.0.0 with errata 1, 6.2.2: OBU_FRAME_HEADER, and a repeated one


@dataclass(frozen=True, eq=False)
class StreamOrder:
    """What was found."""

    refusal: str | None
    """Why the CPU must decode; None where DALI's frames have the manifest's numbers."""
    colors: np.ndarray | None = None
    """float32 [3, 3], from RGB as DALI converts it to the stream's RGB; None where they are the same."""


def check_stream(source: Source, info: VideoInfo) -> StreamOrder:
    """Look through the packets of a stream; no frame is decoded.

    Raises:
        DecodeError: the source cannot be opened.
    """
    with open_video(source, stream_index=info.stream_index) as (container, stream):
        context = stream.codec_context
        matrix = int(context.colorspace)
        if matrix not in _AS_DALI and matrix not in _WEIGHTS:
            return StreamOrder(f"colour matrix {matrix}")
        if int(context.color_range) == _FULL_RANGE and info.codec not in _TELLS_RANGE:
            return StreamOrder(f"full range {info.codec}")
        if int(context.field_order) not in _PROGRESSIVE:
            return StreamOrder("interlaced")
        try:
            refusal = _packet_refusal(container, stream, info)
        except av.FFmpegError as error:
            refusal = f"packets that cannot be read ({error.strerror})"
    return StreamOrder(refusal, None if refusal or matrix in _AS_DALI else colors_from_bt601(*_WEIGHTS[matrix]))


def _packet_refusal(container: av.container.InputContainer, stream: av.VideoStream, info: VideoInfo) -> str | None:
    extradata = stream.codec_context.extradata
    stamps: list[int] = []
    keys: list[int] = []
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.pts is None:
            return "packets without time stamps"
        if packet.is_discard:
            return "packets that are not shown (edit list)"
        if stamps and packet.has_sidedata("new_extradata"):
            return "decoder settings that change midway"
        if _gives_no_picture(packet, info.codec):
            return f"{info.codec} that shows frames again"
        if packet.is_keyframe and (info.codec != "h264" or has_idr(bytes(packet), extradata)):
            keys.append(packet.pts)
        elif info.codec == "hevc" and keys and packet.pts < keys[-1] and _is_rasl(packet, extradata):
            return "hevc with open groups of pictures"
        stamps.append(packet.pts)
    if not np.array_equal(np.sort(np.array(stamps, np.int64)), info.timestamps):
        return "packets that are not its frames"
    # The first frame is found without seeking, by reading from the start.
    if set(keys[1:]).difference(info.timestamps[list(info.key_frames)].tolist()):
        return "key frames that seeking does not find"
    return None


def _gives_no_picture(packet: av.Packet, codec: str) -> bool:
    """Whether a packet only shows an earlier picture once more: none is decoded then, and time stamps would shift."""
    if codec == "vp9":
        return bool(memoryview(packet)[0] & 0b1000)  # show_existing_frame, VP9 specification 0.6, 6.2
    return codec == "av1" and _av1_shows_again(bytes(packet))


def _av1_shows_again(data: bytes) -> bool:
    """Whether a temporal unit holds a frame header with show_existing_frame (AV1 specification, 5.3 and 5.9.2)."""
    position = 0
    while position < len(data):
        header = data[position]
        position += 2 if header & 0b100 else 1  # with an extension
        size = len(data) - position
        if header & 0b10:
            size = shift = 0
            while position < len(data):
                byte = data[position]
                size |= (byte & 127) << shift
                position, shift = position + 1, shift + 7
                if not byte & 128:
                    break
        if (header >> 3) & 15 in _AV1_FRAME_HEADERS and position < len(data) and data[position] & 128:
            return True
        position += size
    return False


def _is_rasl(packet: av.Packet, extradata: bytes | None) -> bool:
    """Whether an HEVC picture leans on one before the latest key frame: a decoder that begins there drops it."""
    data = bytes(packet)
    if extradata and extradata[0] == 1:  # hvcC: NAL units with their length in front (ISO/IEC 14496-15, 8.3.3.1)
        prefix = (extradata[21] & 3) + 1
        position = 0
        while position + prefix < len(data):
            if (data[position + prefix] >> 1) & 63 in _HEVC_RASL:
                return True
            position += prefix + int.from_bytes(data[position : position + prefix], "big")
        return False
    return any(unit and (unit[0] >> 1) & 63 in _HEVC_RASL for unit in data.split(b"\0\0\1")[1:])


def colors_from_bt601(red: float, blue: float) -> np.ndarray:
    """From RGB that was converted with BT.601's matrix to the RGB of another one, float32 [3, 3].

    Args:
        red, blue: weights in luma of the other one.
    """
    return np.asarray(_from_luma(red, blue) @ np.linalg.inv(_from_luma(*_BT601)), np.float32)


def _from_luma(red: float, blue: float) -> np.ndarray:
    """From luma in [0, 1] and colour differences in [-0.5, 0.5], Cb before Cr, to RGB in [0, 1]; float64 [3, 3]."""
    green = 1 - red - blue
    to_blue, to_red = 2 * (1 - blue), 2 * (1 - red)
    return np.array([[1, 0, to_red], [1, -to_blue * blue / green, -to_red * red / green], [1, to_blue, 0]])
