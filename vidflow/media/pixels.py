"""From a decoded frame to upright RGB: the one rule of colour, size and rotation.

Colour: FFmpeg's swscale with the frame's own matrix and range (BT.601, BT.709, BT.2020, limited or full, as tagged or
as the pixel format implies); a frame without tags counts as BT.601, limited range, as OpenCV and decord take it.
Chroma is taken from the nearest sample where the size stays (swscale's unscaled path). High bit depths are cut to 8
bits, HDR is not tone-mapped, alpha is dropped, gray becomes three equal channels.
Size: a frame of another size than the sample's is scaled to it, bilinearly.
Rotation: the display matrix's quarter turns. Pixels are never stretched by the sample aspect ratio.
"""

import math
import struct
from fractions import Fraction
from typing import ClassVar

import av
import av.filter
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from vidflow.errors import DecodeError

_RESERVED_MATRIX = 3  # AVCOL_SPC_RESERVED: no meaning, read as untagged
_UNTAGGED_MATRIX = 2  # AVCOL_SPC_UNSPECIFIED
_QUARTER_TURN_TOLERANCE = 5.0  # degrees


def rotation_of(frame: av.VideoFrame) -> int:
    """Degrees, 0, 90, 180 or 270, by which the frame must be turned clockwise to stand upright.

    A matrix that is no quarter turn to within 5 degrees (degenerate, skewed) is ignored, as players do.

    Raises:
        DecodeError: the matrix mirrors the picture, which a rotation cannot express.
    """
    data = next((bytes(item) for item in _side_data(frame) if item.type == SideDataType.DISPLAYMATRIX), None)
    if data is None:
        return 0
    a, b, _, c, d = struct.unpack_from("<5i", data)  # rows (a b u), (c d v), 16.16 fixed point
    if a == b == c == d == 0:
        return 0
    # x' = a x + c y, y' = b x + d y, with y pointing down: (a, b) is where the x axis goes, clockwise from it.
    degrees = math.degrees(math.atan2(b, a)) % 360
    turn = round(degrees / 90) * 90
    if abs(degrees - turn) > _QUARTER_TURN_TOLERANCE:
        return 0
    if a * d - b * c < 0:
        raise DecodeError("its display matrix mirrors the picture, which is not supported; re-encode it upright")
    return turn % 360


def _side_data(frame: av.VideoFrame) -> list[av.sidedata.sidedata.SideData]:
    return [frame.side_data[i] for i in range(len(frame.side_data))]


class RgbConverter:
    """Turns frames into upright RGB; not to be shared between threads.

    Args:
        width: of the upright frame, in pixels.
        height: likewise.
        rotation: degrees clockwise, as ``rotation_of`` gives it.
    """

    def __init__(self, *, width: int, height: int, rotation: int) -> None:
        self._coded_size = (height, width) if rotation in (90, 270) else (width, height)
        self._turns = -rotation // 90  # NumPy turns counter-clockwise
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 [H, W, 3], a view of FFmpeg's memory, whose rows may lie apart.

        Raises:
            DecodeError: the frame's colour matrix is one that swscale cannot convert (YCoCg, ICtCp, ...).
        """
        if frame.colorspace == _RESERVED_MATRIX:
            frame.colorspace = _UNTAGGED_MATRIX
        width, height = self._coded_size
        try:
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        except OSError as error:
            what = f"{frame.format.name} with colour matrix {frame.colorspace}"
            raise DecodeError(f"{what} cannot be converted to RGB ({error.strerror})") from error
        plane = rgb.planes[0]
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)[:, : 3 * width]
        pixels = lines.reshape(height, width, 3)
        return np.rot90(pixels, self._turns) if self._turns else pixels


class Uprighter:
    """Turns frames upright in their own pixel format, and scales those that differ in size; not for several threads.

    Args:
        width: of the upright frame, in pixels.
        height: likewise.
        rotation: degrees clockwise, as ``rotation_of`` gives it.
    """

    _FILTERS: ClassVar[dict[int, list[tuple[str, str | None]]]] = {
        90: [("transpose", "clock")],
        180: [("hflip", None), ("vflip", None)],
        270: [("transpose", "cclock")],
    }

    def __init__(self, *, width: int, height: int, rotation: int) -> None:
        self._coded_size = (height, width) if rotation in (90, 270) else (width, height)
        self._filters = self._FILTERS.get(rotation, [])
        self._reformatter = VideoReformatter()
        self._graph: av.filter.Graph | None = None
        self._graph_format = ""

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The upright frame; the same one where nothing is to be done."""
        if (frame.width, frame.height) != self._coded_size:
            frame = self._reformatter.reformat(frame, width=self._coded_size[0], height=self._coded_size[1], threads=1)
        if not self._filters:
            return frame
        if self._graph is None or self._graph_format != frame.format.name:
            self._graph, self._graph_format = self._build(frame), frame.format.name
        self._graph.push(frame)
        return self._graph.pull()

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = {"width": frame.width, "height": frame.height, "format": frame.format}
        nodes = [graph.add_buffer(**source, time_base=Fraction(1, 1000))]
        nodes += [graph.add(name, argument) for name, argument in self._filters]
        # Or whoever comes next turns the frame once more.
        nodes += [graph.add("sidedata", "mode=delete:type=DISPLAYMATRIX"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph
