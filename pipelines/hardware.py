"""Which streams NVDEC decodes, decided from the manifest before anything is sent to it.

Source: the decode support matrix and limits of NVIDIA's NVDEC application note, Video Codec SDK 13.0. Where DALI's
frame numbering could differ from the manifest's (missing time stamps, damage), the CPU decoder is taken too.
"""

from vidflow.schema import VideoInfo

# Smallest width and height per codec, table "NVDEC capabilities": a smaller stream is refused by the chip.
_MIN_SIZE = {
    "h264": (48, 16),
    "hevc": (144, 144),
    "vp8": (48, 16),
    "vp9": (128, 128),
    "av1": (128, 128),
    "mpeg4": (48, 16),
}
_TEN_BIT = {"hevc", "vp9", "av1"}


def nvdec_refusal(video: VideoInfo, capability: tuple[int, int]) -> str | None:
    """Why a stream takes the CPU decoder, or None where NVDEC takes it.

    Args:
        capability: the device's compute capability, such as (9, 0) for Hopper.
    """
    if video.codec not in _MIN_SIZE:
        return f"codec {video.codec}"
    # AV1 came with Ampere's GA10x (8.6) and Ada (8.9); A100 (8.0) and Hopper (9.0) lack it, Blackwell (10.0) has it.
    if video.codec == "av1" and capability not in ((8, 6), (8, 9)) and capability < (10, 0):
        return f"codec av1 on compute capability {capability[0]}.{capability[1]}"
    if video.bit_depth > 8 and video.codec not in _TEN_BIT:
        return f"{video.codec} with {video.bit_depth} bits"
    if not video.pixel_format.startswith(("yuv420p", "yuvj420p", "nv12")):
        return f"pixel format {video.pixel_format}"
    if video.width < _MIN_SIZE[video.codec][0] or video.height < _MIN_SIZE[video.codec][1]:
        return f"{video.codec} smaller than {_MIN_SIZE[video.codec][0]}x{_MIN_SIZE[video.codec][1]}"
    if video.rotation:
        return f"rotation by {video.rotation} degrees"
    if video.num_damaged or not video.seekable:
        return "damaged or not seekable stream"
    if video.stream_index:
        return "video is not the file's first stream"
    return None
