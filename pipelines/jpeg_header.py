"""What a JPEG picture's header says, without decoding it (ITU-T T.81, annex B)."""

from dataclasses import dataclass

# Start of frame: baseline, extended and progressive Huffman; 0xC4, 0xC8 and 0xCC are other markers.
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START, _SCAN = 0xD8, 0xDA


@dataclass(frozen=True)
class JpegHeader:
    """The frame header."""

    height: int
    width: int
    num_components: int
    bit_depth: int


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """The header of a picture of Huffman-coded frames; None where there is none, or where it is damaged.

    >>> read_jpeg_header(b"no picture") is None
    True
    """
    if data[:2] != bytes((0xFF, _START)):
        return None
    position = 2
    while position + 10 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes before a marker
            position += 1
            continue
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[position + i : position + i + 2], "big") for i in (5, 7))
            return JpegHeader(height, width, data[position + 9], data[position + 4])
        if marker in _OTHER_FRAMES or marker == _SCAN:
            return None
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None
