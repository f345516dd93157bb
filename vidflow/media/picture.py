"""Single pictures: their size, seen by decoding them."""

import av

from vidflow.errors import DecodeError

_CODECS = {b"\xff\xd8\xff": ("jpg", "mjpeg"), b"\x89PN": ("png", "png")}


def probe_picture(data: bytes, where: str) -> tuple[str, int, int]:
    """Decode a JPEG or PNG file; its format (``jpg`` or ``png``), width and height in pixels, as stored.

    Raises:
        DecodeError: of another format, damaged, or cut short.
    """
    if data[:3] not in _CODECS:
        raise DecodeError(f"{where}: neither JPEG nor PNG" if data else f"{where}: 0 bytes")
    name, codec = _CODECS[data[:3]]
    context = av.CodecContext.create(codec, "r")
    context.options = {"err_detect": "explode"}
    try:
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    except av.FFmpegError as error:
        raise DecodeError(f"{where}: damaged or cut short ({error.strerror})") from error
    if len(frames) != 1 or frames[0].is_corrupt:
        raise DecodeError(f"{where}: damaged, it does not decode to one picture")
    return name, frames[0].width, frames[0].height
