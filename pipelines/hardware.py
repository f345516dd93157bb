"""Which streams NVDEC is given, decided from the manifest before anything is sent to it.

Source: tables "NVDEC Hardware Capabilities" and the minimal sizes of NVIDIA's NVDEC application note, Video Codec SDK
13.0. What the note says of "select GPUs" only, and chips that came after it, are not in the table: there the first
stream of each class is tried (``vidflow.pipelines.nvdec``).

Beside the chip, DALI 2.4 sets limits: it takes every pixel for 8 bits in 4:2:0 and even sizes, knows no rotation, and
needs a container that holds the time stamps by which frames are numbered.
"""

from dataclasses import dataclass

from vidflow.schema import VideoInfo


@dataclass(frozen=True)
class Generation:
    """What the chips of one generation decode, 4:2:0 all of it."""

    name: str
    codecs: frozenset[str]
    high_depth: frozenset[str]
    """Codecs that it decodes with more than 8 bits."""
    h264_side: int = 4096
    """Largest width and height in pixels of H.264."""


_OLD = frozenset({"h264", "hevc", "mpeg4", "vp8", "vp9"})
# VP9 with more than 8 bits is not in the note's table: it is left to the trial.
_TURING = Generation("Turing, GA100 or Hopper", _OLD, frozenset({"hevc", "vp9"}))
_AMPERE = Generation("GA10x or Ada", _OLD | {"av1"}, frozenset({"hevc", "vp9", "av1"}))
_BLACKWELL = Generation("Blackwell", _OLD | {"av1"}, frozenset({"h264", "hevc", "vp9", "av1"}), h264_side=8192)

GENERATIONS: dict[tuple[int, int], Generation] = {
    (7, 5): _TURING,
    (8, 0): _TURING,
    (9, 0): _TURING,
    (8, 6): _AMPERE,
    (8, 9): _AMPERE,
    (10, 0): _BLACKWELL,
    (10, 3): _BLACKWELL,
    (12, 0): _BLACKWELL,
    (12, 1): _BLACKWELL,
}
"""By compute capability."""

# Smallest width and height per codec: a smaller stream is refused by the chip.
_MIN_SIZE = {
    "h264": (48, 16),
    "hevc": (144, 144),
    "vp8": (48, 16),
    "vp9": (128, 128),
    "av1": (128, 128),
    "mpeg4": (48, 16),
}
# Containers whose packets carry presentation times; elsewhere FFmpeg guesses, and DALI's may guess otherwise than ours.
_CONTAINERS = {"mp4", "mkv", "webm"}


def chip_name(capability: tuple[int, int]) -> str:
    """What to call a chip in messages.

    >>> chip_name((9, 0))
    'compute capability 9.0'
    """
    return f"compute capability {capability[0]}.{capability[1]}"


def nvdec_refusal(video: VideoInfo, capability: tuple[int, int]) -> str | None:
    """Why a stream takes the CPU decoder, or None where NVDEC may take it.

    Args:
        capability: the device's compute capability, such as (9, 0) for Hopper. Of one that is not in ``GENERATIONS``
            only what holds for all chips is decided.
    """
    return _stream_refusal(video) or _chip_refusal(video, capability)


def _stream_refusal(video: VideoInfo) -> str | None:
    if video.codec not in _MIN_SIZE:
        return f"codec {video.codec}"
    if not video.pixel_format.startswith(("yuv420p", "yuvj420p", "nv12", "p010")):
        return f"pixel format {video.pixel_format}"
    width, height = _MIN_SIZE[video.codec]
    if video.width < width or video.height < height:
        return f"{video.codec} smaller than {width}x{height}"
    if video.width % 2 or video.height % 2:
        return "odd width or height"
    if video.rotation:
        return f"rotation by {video.rotation} degrees"
    if video.num_damaged:
        return "damaged stream"
    if not video.seekable:
        return "stream that is not seekable"
    if video.stream_index:
        return "video is not the file's first stream"
    if video.container not in _CONTAINERS:
        return f"container {video.container}"
    if video.pts_start < 0:
        return "time stamps below 0"  # DALI leaves such frames out of its numbering
    return None


def _chip_refusal(video: VideoInfo, capability: tuple[int, int]) -> str | None:
    chip = GENERATIONS.get(capability)
    if chip is None:
        return None
    where = f"on {chip_name(capability)}"
    if video.codec not in chip.codecs:
        return f"codec {video.codec} {where}"
    if video.bit_depth > 8 and video.codec not in chip.high_depth:
        return f"{video.codec} with {video.bit_depth} bits {where}"
    if video.codec == "h264" and max(video.width, video.height) > chip.h264_side:
        return f"h264 larger than {chip.h264_side} pixels {where}"
    return None
