"""Writes the odd video files of the tests and of docs/robustness.md, with PyAV; loaded by path from both.

Each frame shows its own number as 4 x 4 black and white blocks, which lossy coding and resizing leave readable.
"""

import io
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

GRID = 4  # 16 blocks: numbers below 65536

_X264 = {"g": 12, "bf": 3, "crf": 20, "sc_threshold": 0}
_VP9 = {"g": 12, "deadline": "realtime", "cpu-used": 8, "crf": 20, "b": 0}
_VP8 = {"g": 12, "deadline": "realtime", "b": 500000}
_AV1 = {"g": 12, "preset": 12, "crf": 20, "svtav1-params": "lp=1"}


def draw_number(height: int, width: int, number: int) -> np.ndarray:
    """uint8 [height, width, 3]: bit b of ``number`` is the block in row b // 4 and column b % 4, white for 1."""
    rows = np.arange(height) * GRID // height
    columns = np.arange(width) * GRID // width
    bits = rows[:, None] * GRID + columns[None, :]
    gray = ((number >> bits) & 1).astype(np.uint8) * 215 + 20
    return np.repeat(gray[:, :, None], 3, axis=2)


def read_number(frame: np.ndarray) -> int:
    """The number that ``draw_number`` has drawn, from a frame [H, W, 3] or [H, W] of any size."""
    gray = frame.mean(axis=2) if frame.ndim == 3 else frame
    height, width = gray.shape
    number = 0
    for row in range(GRID):
        for column in range(GRID):
            # The inner half of each block: its borders blur.
            top, left = int((row + 0.25) * height / GRID), int((column + 0.25) * width / GRID)
            bottom = max(int((row + 0.75) * height / GRID), top + 1)
            right = max(int((column + 0.75) * width / GRID), left + 1)
            number |= int(gray[top:bottom, left:right].mean() > 128) << (row * GRID + column)
    return number


def numbered_video(
    path: Path,
    num_frames: int = 60,
    *,
    height: int = 120,
    width: int = 160,
    rate: Fraction | int = 30,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, Any] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    audio_seconds: float = 0.0,
    first_number: int = 0,
    format: str | None = None,
    muxer: dict[str, str] | None = None,
    prepare: Callable[[av.VideoStream], None] | None = None,
    draw: Callable[[int, int, int], np.ndarray] = draw_number,
    picture_type: Callable[[int], PictureType] = lambda i: PictureType.NONE,
    file: Any = None,
) -> Path:
    """Write a video whose frame ``i`` shows the number ``first_number + i``, and return its path.

    Args:
        options: of the encoder; defaults for libx264 are g=12, bf=3, crf=20 and no scene cuts.
        pts: time stamps in ``time_base`` units; None numbers them at ``rate``.
        rotation: degrees clockwise that a player must turn the picture (0, 90, 180, 270); the number is drawn
            upright, so the coded frames lie on their side.
        audio_seconds: length of an AAC or Opus sound track; 0 writes none.
        format: FFmpeg's muxer, None takes it from the name.
        muxer: options of the muxer.
        prepare: called with the stream before anything is encoded.
        picture_type: what the encoder shall make of frame i; NONE leaves it the choice.
        file: write to this object and not to ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if options is None and codec == "libx264":
        options = _X264
    with av.open(file if file is not None else str(path), "w", format=format, options=muxer or {}) as output:
        stream = output.add_stream(codec, rate=rate, options={k: str(v) for k, v in (options or {}).items()})
        on_side = rotation in (90, 270)
        stream.width, stream.height = (height, width) if on_side else (width, height)
        stream.pix_fmt = pix_fmt
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none:keyint=12:bframes=3:pools=1:frame-threads=1"}
        stream.codec_context.thread_count = 1
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(-rotation)
        if prepare is not None:
            prepare(stream)
        sound = None
        if audio_seconds:
            sound = output.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000)
        for i in range(num_frames):
            picture = draw(height, width, first_number + i)
            if rotation:
                picture = np.ascontiguousarray(np.rot90(picture, rotation // 90))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24" if picture.shape[2] == 3 else "rgba")
            if picture_type(i):
                frame = frame.reformat(format=pix_fmt)
                frame.pict_type = picture_type(i)
            frame.pts = i if pts is None else pts[i]
            frame.time_base = time_base if time_base is not None else 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            _write_sound(output, sound, audio_seconds)
    return path


def _write_sound(output: av.container.OutputContainer, sound: Any, seconds: float) -> None:
    size = 960
    for i in range(int(seconds * 48000 / size)):
        wave = np.sin(np.arange(i * size, (i + 1) * size) * 0.05).astype(np.float32)[None] * 0.2
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, i * size, Fraction(1, 48000)
        output.mux(sound.encode(frame))
    output.mux(sound.encode(None))


class _Pipe(io.RawIOBase):
    """A file that can only be written on, so that no muxer can go back and fill in lengths."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def remux(source: Path, path: Path, *, muxer: dict[str, str] | None = None, format: str | None = None) -> Path:
    """Copy the first video stream into another container, packets as they are."""
    with av.open(str(source)) as file, av.open(str(path), "w", options=muxer or {}, format=format) as output:
        stream = output.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return path


def _base(path: Path, **changes: Any) -> Path:
    return numbered_video(path, **{"num_frames": 60, **changes})


def _x264(params: str) -> dict[str, Any]:
    return {"crf": 20, "x264-params": "scenecut=0:" + params}


def _vfr(path: Path) -> Path:
    # 30 frames at 30 per second, then every fifth.
    pts = [*range(30), *range(30, 90, 5)]
    return numbered_video(path, len(pts), pts=[p * 20 for p in pts], time_base=Fraction(1, 600))


class _Bits:
    """Reads the bit fields of a NAL unit (ITU-T H.264, 7.2 and 9.1)."""

    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.position = 0

    def fixed(self, count: int) -> int:
        self.position += count
        return int(self.text[self.position - count : self.position], 2)

    def golomb(self) -> int:
        zeros = self.text.index("1", self.position) - self.position
        self.position += zeros
        return self.fixed(zeros + 1) - 1


def _without_vui(sps: bytes) -> bytes:
    """A High profile sequence parameter set (ITU-T H.264, 7.3.2.1.1) without the part that names the reorder depth."""
    bits = _Bits(sps[1:].replace(b"\0\0\3", b"\0\0"))
    assert bits.fixed(8) == 100  # High
    bits.fixed(16)
    for _ in range(4):  # id, chroma format, two bit depths
        bits.golomb()
    assert bits.fixed(2) == 0  # no lossless bypass, no scaling matrix
    bits.golomb()
    if bits.golomb() == 0:  # picture order count type
        bits.golomb()
    bits.golomb()
    bits.fixed(1)
    bits.golomb()
    bits.golomb()
    if not bits.fixed(1):  # frames only
        bits.fixed(1)
    bits.fixed(1)
    if bits.fixed(1):  # cropping
        for _ in range(4):
            bits.golomb()
    text = bits.text[: bits.position] + "01"
    text += "0" * (-len(text) % 8)
    short = sps[:1] + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    return short + b"\0" * (len(sps) - len(short))


def _late_b(path: Path) -> Path:
    """B-frames that start late and a stream that does not name its reorder depth: FFmpeg's guess is too small."""
    whole = path.with_name("whole-" + path.stem + ".mp4")
    numbered_video(
        whole,
        options=_x264("keyint=30:bframes=8:b-adapt=0:b-pyramid=normal:ref=4"),
        picture_type=lambda i: PictureType.I if i == 0 else PictureType.P if i < 30 else PictureType.NONE,
    )
    data = bytearray(whole.read_bytes())
    start = data.index(b"avcC") + 4 + 8  # ISO/IEC 14496-15, 5.3.3.1: the first parameter set, behind its length
    size = int.from_bytes(data[start - 2 : start], "big")
    data[start : start + size] = _without_vui(bytes(data[start : start + size]))
    whole.write_bytes(data)
    remux(whole, path)
    whole.unlink()
    return path


def _damage(path: Path, *, at: float, num_bytes: int) -> Path:
    whole = _base(
        path.with_name("whole-" + path.name), muxer={"movflags": "faststart"}, options={**_X264, "crf": 12, "g": 250}
    )
    data = bytearray(whole.read_bytes())
    whole.unlink()
    start = int(len(data) * at)
    data[start : start + num_bytes] = random.Random(7).randbytes(num_bytes)
    path.write_bytes(data)
    return path


def _cut(path: Path, *, keep: float, **changes: Any) -> Path:
    whole = _base(path.with_name("whole-" + path.name), **changes)
    data = whole.read_bytes()
    whole.unlink()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def _audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        _write_sound(output, output.add_stream("aac", rate=48000), 1.0)
    return path


def _no_frames(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        output.start_encoding()
    return path


def _picture(height: int, width: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")


def _cover_first(path: Path, *, attached: bool) -> Path:
    """A picture as stream 0, the video (remuxed) as stream 1."""
    base = _base(path.with_name("whole-" + path.stem + ".mp4"), num_frames=30)
    with av.open(str(base)) as file, av.open(str(path), "w") as output:
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        if attached:
            cover.disposition = av.stream.Disposition.attached_pic
        video = output.add_stream_from_template(file.streams.video[0])
        output.mux(cover.encode(_picture(64, 64)))
        output.mux(cover.encode(None))
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                packet.stream = video
                output.mux(packet)
    base.unlink()
    return path


def _cover_only(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=48000)
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(_picture(64, 64)))
        output.mux(cover.encode(None))
        _write_sound(output, sound, 0.5)
    return path


def _size_change(path: Path) -> Path:
    parts = [path.with_name(f"part{i}-{path.name}") for i in range(2)]
    numbered_video(parts[0], 30, height=120, width=160)
    numbered_video(parts[1], 30, height=240, width=320, first_number=30)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def _with_alpha(height: int, width: int, number: int) -> np.ndarray:
    ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 1))
    return np.concatenate([draw_number(height, width, number), ramp], axis=2)


def _tag(**tags: int) -> Callable[[av.VideoStream], None]:
    def prepare(stream: av.VideoStream) -> None:
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)

    return prepare


def _sar(stream: av.VideoStream) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(2, 1)


def _packed(path: Path) -> Path:
    """As DivX and XviD wrote it for AVI: a B picture lies in the packet before its own, which is left all but empty."""
    vop = b"\0\0\1\xb6"
    plain = _base(path.with_suffix(".plain.avi"), codec="mpeg4", options={"g": 12, "bf": 1, "q": 3, "b_strategy": 0})
    with av.open(str(plain)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        coded = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        for i, data in enumerate(coded):
            is_b = data[data.index(vop) + 4] >> 6 == 2
            following = coded[i + 1] if i + 1 < len(coded) else b""
            if following and following[following.index(vop) + 4] >> 6 == 2:
                data += following
            if is_b:
                data = b"\x7f"
            packet = av.Packet(data.replace(vop, b"\0\0\1\xb2DivX503b1393p" + vop, 1) if not i else data)
            packet.stream, packet.dts, packet.pts, packet.time_base = stream, i, i, stream.time_base
            packet.is_keyframe = bool(data) and len(data) > 1 and data[data.index(vop) + 4] >> 6 == 0
            output.mux(packet)
    plain.unlink()
    return path


def _text(path: Path) -> Path:
    path.write_text("this is no video\n" * 100)
    return path


def _play_list(path: Path) -> Path:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nbase.ts\n#EXT-X-ENDLIST\n")
    return path


def _still(path: Path) -> Path:
    _picture(64, 64).save(str(path.with_suffix(".png")))
    return path.with_suffix(".png").rename(path)


def _pipe_webm(path: Path) -> Path:
    pipe = _Pipe(path)
    numbered_video(path, codec="libvpx-vp9", options=_VP9, format="webm", file=pipe)
    pipe.close()
    return path


# Files in which all frames decode; the value writes the file. 60 frames of 160 x 120 at 30 per second unless the name
# says otherwise.
GOOD: dict[str, Callable[[Path], Path]] = {
    "base.mp4": _base,
    "base.mkv": _base,
    "base.mov": _base,
    "base.flv": _base,
    "base.ts": _base,
    "base.avi": lambda p: _base(p, options={**_X264, "bf": 0}),
    "frag.mp4": lambda p: _base(p, muxer={"movflags": "frag_keyframe+empty_moov"}),
    "nodur.webm": _pipe_webm,
    "vp8.webm": lambda p: _base(p, codec="libvpx", options=_VP8),
    "av1.mp4": lambda p: _base(p, num_frames=30, codec="libsvtav1", options=_AV1),
    "open_gop.mp4": lambda p: _base(p, options=_x264("keyint=12:open-gop=1:bframes=3:b-adapt=0")),
    "open_gop.mkv": lambda p: _base(p, options=_x264("keyint=12:open-gop=1:bframes=3:b-adapt=0")),
    "intra_refresh.mp4": lambda p: _base(p, options=_x264("keyint=12:intra-refresh=1:bframes=0")),
    "pyramid.mp4": lambda p: _base(p, options=_x264("keyint=30:bframes=8:b-adapt=0:b-pyramid=normal:ref=4")),
    "late_b.mkv": _late_b,
    "late_b.ts": _late_b,
    "one_gop.mp4": lambda p: _base(p, options={**_X264, "g": 250}),
    "intra.mp4": lambda p: _base(p, options={"g": 1, "bf": 0, "crf": 20}),
    "hevc10.mp4": lambda p: _base(p, codec="libx265", pix_fmt="yuv420p10le"),
    "h264hi10.mp4": lambda p: _base(p, num_frames=30, pix_fmt="yuv420p10le"),
    "vfr.mp4": _vfr,
    "vfr.mkv": _vfr,
    "ntsc.mp4": lambda p: _base(p, rate=Fraction(30000, 1001)),
    "ntsc.mkv": lambda p: _base(p, rate=Fraction(30000, 1001)),
    "rot90.mp4": lambda p: _base(p, num_frames=30, rotation=90),
    "rot180.mp4": lambda p: _base(p, num_frames=30, rotation=180),
    "rot270.mp4": lambda p: _base(p, num_frames=30, rotation=270),
    "odd.avi": lambda p: _base(p, num_frames=30, height=121, width=161, codec="mpeg4", options={"q": 3, "g": 12}),
    "odd.webm": lambda p: _base(p, num_frames=30, height=121, width=161, codec="libvpx-vp9", options=_VP9),
    "odd444.mp4": lambda p: _base(p, num_frames=30, height=121, width=161, pix_fmt="yuv444p"),
    "narrow32x360.mp4": lambda p: _base(p, num_frames=30, height=360, width=32),
    "tiny16x16.mp4": lambda p: _base(p, num_frames=30, height=16, width=16, options={**_X264, "crf": 5}),
    "gray.mp4": lambda p: _base(p, num_frames=30, pix_fmt="gray"),
    "bt709.mp4": lambda p: _base(p, num_frames=30, prepare=_tag(colorspace=1, color_range=1)),
    "full_range.mp4": lambda p: _base(p, num_frames=30, pix_fmt="yuvj420p", prepare=_tag(color_range=2)),
    "alpha.webm": lambda p: _base(
        p, num_frames=30, codec="libvpx-vp9", pix_fmt="yuva420p", options=_VP9, draw=_with_alpha
    ),
    "alpha_png.mov": lambda p: _base(p, num_frames=30, codec="png", pix_fmt="rgba", options={}, draw=_with_alpha),
    "sar.mp4": lambda p: _base(p, num_frames=30, prepare=_sar),
    "one.mp4": lambda p: _base(p, num_frames=1),
    "five.mp4": lambda p: _base(p, num_frames=5),
    "audio.mp4": lambda p: _base(p, audio_seconds=2.0),
    "audio_longer.mp4": lambda p: _base(p, audio_seconds=5.0),
    "cover_first.mkv": lambda p: _cover_first(p, attached=False),
    "cover_attached.mkv": lambda p: _cover_first(p, attached=True),
    "mp4v_b.avi": lambda p: _base(p, codec="mpeg4", options={"g": 12, "bf": 2, "q": 3}),
    "mp4v_b.mp4": lambda p: _base(p, codec="mpeg4", options={"g": 12, "bf": 2, "q": 3}),
    "interlaced.mp4": lambda p: _base(p, options={**_X264, "x264-params": "tff=1"}),
    "mp4v_one_gop.avi": lambda p: _base(
        p, codec="mpeg4", options={"g": 300, "bf": 2, "q": 3, "sc_threshold": 1000000000}
    ),
    "mp4v_packed.avi": _packed,
    "mpeg2.mpg": lambda p: _base(p, codec="mpeg2video", options={"g": 12, "bf": 2, "q": 3}),
    "mjpeg.avi": lambda p: _base(p, num_frames=30, codec="mjpeg", pix_fmt="yuvj420p", options={"q": 3}),
    "size_change.ts": _size_change,
    "webm_named.mp4": lambda p: _base(p, num_frames=30, codec="libvpx-vp9", options=_VP9, format="webm"),
}

# Files that the default policy must refuse.
BAD: dict[str, Callable[[Path], Path]] = {
    "empty.mp4": lambda p: (p.write_bytes(b""), p)[1],
    "text.mp4": _text,
    "play_list.mp4": _play_list,
    "still.mp4": _still,
    "nomoov.mp4": lambda p: _cut(p, keep=0.5),
    "trunc_faststart.mp4": lambda p: _cut(p, keep=0.6, muxer={"movflags": "faststart"}),
    "trunc.mkv": lambda p: _cut(p, keep=0.5),
    "trunc.avi": lambda p: _cut(p, keep=0.5, codec="mpeg4", options={"q": 3, "g": 12}),
    "midcorrupt.mp4": lambda p: _damage(p, at=0.55, num_bytes=600),
    "audio_only.mp4": _audio_only,
    "cover_only.mp4": _cover_only,
    "zero.avi": _no_frames,
}
