"""Writes docs/robustness.md: what becomes of odd video files, each outcome checked against a plain decode.

    python docs/make_robustness.py [--media DIR]

The table covers the files that tests/odd_media.py writes and, with --media, every file below a folder. Each file is
handled in a process of its own with a time limit, so that a crash or a hang is an outcome like others. The exit status
is 1 if any outcome is wrong.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from types import ModuleType

import av
import numpy as np
from rich.console import Console
from rich.progress import track

from vidflow.errors import DecodeError
from vidflow.media.decode import decode_frames, iter_video_frames
from vidflow.media.probe import probe_video
from vidflow.schema import VideoInfo

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT = 120  # seconds per file
BATCH = 16  # frames held at once
NOT_MEDIA = {".json", ".txt", ".md", ".csv"}
console = Console(stderr=True)

HEAD = """# What becomes of odd video files

`vidflow shard` decodes every video once, to its last frame, before it packs it (`vidflow.media.probe`). This table
shows the outcome for files that have broken other readers. Written by `docs/make_robustness.py` with PyAV {pyav} and
FFmpeg {ffmpeg}; do not edit by hand.

Each accepted file was checked: the frames of a plain PyAV loop were compared, to the bit, with those that
`decode_frames` gives for all frames in reverse order, for a shuffled sample one by one, and for the same sample again
through a file in memory. "Rejected" files go to `rejected.jsonl` with the words shown here.

- **default** is the policy `on_damage = "error"`: a damaged video is rejected.
- **conceal** keeps what decodes; "same" means that the outcome is the default's.
- "not seekable" videos are decoded from their start and counted, because their time stamps or their seeks cannot be
  trusted or because they are damaged; they are right, but slower to sample.
- Rotation is applied; pixels are not stretched by their aspect ratio (PAR); alpha is dropped; HDR is not tone-mapped.
- A header that names another number of frames than decode is noted; it is never believed.
"""


def load_writers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("odd_media", ROOT / "tests" / "odd_media.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain_checksums(path: Path, info: VideoInfo) -> list[int]:
    """CRCs of all frames as RGB by a loop that shares no code with vidflow; behind damage in the order of time."""
    size = (info.height, info.width) if info.rotation in (90, 270) else (info.width, info.height)
    found: list[tuple[int | None, int]] = []
    with av.open(str(path), metadata_errors="replace") as file:
        stream = file.streams[info.stream_index]
        context = stream.codec_context
        context.thread_count = 1
        context.reorder_depth = max(info.reorder_depth, context.reorder_depth)
        packets = file.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                packet = None
            try:
                frames = context.decode(packet if packet is not None and packet.size else None)
            except av.FFmpegError:
                frames = []
            for frame in frames:
                picture = np.rot90(
                    frame.to_ndarray(format="rgb24", width=size[0], height=size[1]), -(info.rotation // 90)
                )
                found.append((frame.pts, zlib.crc32(picture.tobytes())))
            if packet is None or not packet.size:
                break
    if info.num_damaged and info.pts is not None:
        found.sort(key=lambda item: item[0] or 0)
    return [crc for _, crc in found]


def check(path: Path, info: VideoInfo) -> list[str]:
    """What is wrong with an accepted file; empty if nothing is."""
    expected = plain_checksums(path, info)
    if len(expected) != info.num_frames:
        return [f"{info.num_frames} frames probed, {len(expected)} decode"]
    wrong = []
    for start in range(info.num_frames, 0, -BATCH):
        numbers = np.arange(max(start - BATCH, 0), start)[::-1]
        for number, picture in zip(numbers, decode_frames(path, info, numbers), strict=True):
            if zlib.crc32(picture.tobytes()) != expected[number]:
                wrong.append(f"frame {number} in reverse order")
    data = path.read_bytes()
    for number in np.random.default_rng(0).permutation(info.num_frames)[:24]:
        for source in (path, memoryview(data)):
            picture = decode_frames(source, info, np.array([number]))[0]
            if zlib.crc32(picture.tobytes()) != expected[number]:
                wrong.append(f"frame {number} alone")
    frames = list(zip(iter_video_frames(path, info), info.timestamps.tolist(), strict=True))
    if any(frame.pts != pts or (frame.width, frame.height) != (info.width, info.height) for frame, pts in frames):
        wrong.append("linear iteration")
    return wrong


def describe(info: VideoInfo) -> str:
    notes = []
    if info.rotation:
        notes.append(f"turned by {info.rotation}°")
    if info.variable_frame_rate:
        notes.append("variable frame rate")
    if info.bit_depth > 8:
        notes.append(f"{info.bit_depth} bit")
    if abs(info.sample_aspect_ratio - 1) > 1e-6:
        notes.append(f"PAR {info.sample_aspect_ratio:.3g}")
    if info.stream_index:
        notes.append(f"stream {info.stream_index}")
    if info.num_damaged:
        notes.append(f"{info.num_damaged} damaged")
    if not info.seekable:
        notes.append("not seekable")
    if info.header_num_frames not in (None, info.num_frames):
        notes.append(f"header says {info.header_num_frames} frames")
    frames = "1 frame" if info.num_frames == 1 else f"{info.num_frames} frames"
    stream = f"{info.codec} {info.pixel_format} in {info.container}"
    return "; ".join([f"{frames}, {info.width}x{info.height}, {info.fps:.4g} fps, {stream}", *notes])


def outcome(path: Path, on_damage: str) -> dict[str, str]:
    """What one policy makes of one file."""
    try:
        info = probe_video(path, on_damage=on_damage)
    except DecodeError as error:
        return {"text": "rejected: " + str(error).removeprefix(f"{path}: "), "wrong": ""}
    return {"text": describe(info), "wrong": "; ".join(check(path, info)[:3])}


def outcome_apart(path: Path) -> dict[str, dict[str, str]]:
    """Both policies' outcomes, from a process of its own."""
    command = [sys.executable, __file__, "--one", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        broken = {"text": f"no end within {TIME_LIMIT} s", "wrong": "hang"}
    else:
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        last = (done.stderr.strip().splitlines() or [""])[-1]
        broken = {"text": f"exit status {done.returncode}: {last}", "wrong": "crash"}
    return {"error": broken, "conceal": broken}


def table(title: str, files: list[tuple[str, Path]]) -> tuple[list[str], int]:
    """Markdown lines of one table, and how many outcomes in it are wrong."""
    lines = [f"## {title}", "", "| file | default | conceal |", "|---|---|---|"]
    num_wrong = 0
    for name, path in track(files, description=title, console=console):
        found = outcome_apart(path)
        cells = []
        for policy in ("error", "conceal"):
            text = found[policy]["text"]
            if found[policy]["wrong"]:
                num_wrong += 1
                text += f" **WRONG: {found[policy]['wrong']}**"
                console.print(f"{name} ({policy}): {found[policy]['wrong']}", style="red")
            cells.append(text.replace("|", "\\|"))
        if cells[0] == cells[1]:
            cells[1] = "same"
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return [*lines, ""], num_wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, help="folder of further files")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "robustness.md")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        sys.stdout.write(json.dumps({policy: outcome(arguments.one, policy) for policy in ("error", "conceal")}) + "\n")
        return 0
    lines = [*HEAD.format(pyav=av.__version__, ffmpeg=av.ffmpeg_version_info).splitlines(), ""]
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        writers = load_writers()
        files = [(name, write(Path(folder) / name)) for name, write in {**writers.GOOD, **writers.BAD}.items()]
        more, wrong = table("Files that the tests write", files)
        lines, num_wrong = lines + more, num_wrong + wrong
    if arguments.media is not None:
        paths = sorted(p for p in arguments.media.rglob("*") if p.is_file() and p.suffix.lower() not in NOT_MEDIA)
        more, wrong = table(
            "Files from other projects' tests", [(str(p.relative_to(arguments.media)), p) for p in paths]
        )
        lines, num_wrong = lines + more, num_wrong + wrong
    arguments.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    console.print(f"{arguments.out}: {num_wrong} wrong")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
