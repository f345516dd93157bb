"""The media members of a sample: what they are called, and their content as arrays.

A member's name in the shard is ``KEY.<suffix>``. Every sample ends with ``KEY.json``, which is not a media member.
"""

import io
import math
import re
import struct
import tokenize
from collections.abc import Mapping, Sequence

import numpy as np

from vidflow.errors import DecodeError
from vidflow.schema import FramesInfo, SampleRecord, VideoInfo

KEYPOINT, SCORE, FEATURE, MEL = "keypoint.npy", "keypoint_score.npy", "feature.npy", "mel.npy"
_NPY_VERSIONS = ((1, 0), (2, 0))
_PLAIN_HEADER = re.compile(rb"\{'descr': '([<|][fiub]\d+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n")


def suffixes(record: SampleRecord) -> tuple[str, ...]:
    """Suffixes of the media members of a sample, in the order in which they lie in the shard."""
    skeleton = () if record.skeleton is None else (KEYPOINT, SCORE) if record.skeleton.has_scores else (KEYPOINT,)
    if record.kind == "skeleton":
        return skeleton
    if record.feature is not None:
        return (FEATURE,)
    if record.frames is not None:
        info = record.frames
        flow = (flow_suffix(axis, step) for step in range(info.num_flow) for axis in "xy")
        return (*(frame_suffix(info, frame) for frame in range(info.num_frames)), *flow, *skeleton)
    info_with_stream = record.video or record.audio
    assert info_with_stream is not None
    return (info_with_stream.container, *skeleton)


def frame_suffix(info: FramesInfo, frame: int) -> str:
    """Suffix of a frame's member.

    Args:
        frame: from 0; the names count from 1.
    """
    return f"rgb.{frame + 1:05d}.{info.container}"


def flow_suffix(axis: str, step: int) -> str:
    """Suffix of a flow picture's member.

    Args:
        axis: ``x`` or ``y``.
        step: from 0; the names count from 1.
    """
    return f"flow_{axis}.{step + 1:05d}.jpg"


def to_npy(array: np.ndarray) -> bytes:
    """An array of numbers as a ``.npy`` file: row by row, little-endian, the same bytes for the same values."""
    assert array.dtype.kind in "fiub", f"no plain numbers: {array.dtype}"
    file = io.BytesIO()
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    np.lib.format.write_array(file, plain, version=None, allow_pickle=False)
    return file.getvalue()


NPY_ERRORS = (
    ValueError, TypeError, EOFError, OverflowError, MemoryError, SyntaxError, RecursionError, struct.error,
    tokenize.TokenError,
)  # fmt: skip
"""What NumPy raises for a damaged ``.npy`` file: it parses the header as Python, and passes on what that raises."""


def from_npy(data: bytes, where: str) -> np.ndarray:
    """The array of a ``.npy`` member, float or whole numbers of any shape. Pickles are never read.

    Args:
        where: what to call it in messages.

    Raises:
        DecodeError: not a ``.npy`` file of version 1 or 2, cut short, or not an array of numbers.
    """
    if (plain := _plain_array(data)) is not None:
        return plain
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _NPY_VERSIONS:
            raise DecodeError(f"{where}: .npy of version {version[0]}.{version[1]}; save it as version 1 or 2")
        file.seek(0)
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except NPY_ERRORS as error:
        raise DecodeError(f"{where}: no readable .npy array ({error})") from error
    if array.dtype.kind not in "fiub":
        raise DecodeError(f"{where}: an array of {array.dtype}, not of numbers")
    return array


def _plain_array(data: bytes) -> np.ndarray | None:
    """The array of a file as ``to_npy`` writes it, read several times as fast as NumPy does; None for any other."""
    end = 10 + int.from_bytes(data[8:10], "little")
    match = _PLAIN_HEADER.fullmatch(data, 10, end) if data.startswith(b"\x93NUMPY\x01\x00") else None
    if match is None:
        return None
    try:
        dtype = np.dtype(match[1].decode())
    except TypeError:
        return None
    shape = tuple(int(size) for size in match[2].split(b",") if size.strip())
    if len(data) - end != dtype.itemsize * math.prod(shape):
        return None
    return np.frombuffer(data, dtype, offset=end).reshape(shape).copy()


def _member(members: Mapping[str, bytes], suffix: str, record: SampleRecord) -> bytes:
    if suffix not in members:
        raise DecodeError(f"sample {record.key} ({record.id}): has no member {suffix}, only {', '.join(members)}")
    return members[suffix]


def _array(record: SampleRecord, members: Mapping[str, bytes], suffix: str, shape: tuple[int, ...]) -> np.ndarray:
    where = f"sample {record.key} ({record.id}), {suffix}"
    array = from_npy(_member(members, suffix, record), where)
    if array.shape != shape:
        raise DecodeError(f"{where}: has shape {list(array.shape)}, the record says {list(shape)}")
    return array


def skeleton_arrays(record: SampleRecord, members: Mapping[str, bytes]) -> tuple[np.ndarray, np.ndarray | None]:
    """Keypoints [M, T, K, C] and scores [M, T, K] (None where the sample has none), float16, float32 or float64.

    A keypoint whose coordinates are all 0 is missing; see ``present_keypoints``.

    Args:
        members: suffix -> content, as ``read_members`` of the loaders gives them.

    Raises:
        DecodeError: a member is missing, damaged, or of another shape than the record says.
    """
    info = record.skeleton
    assert info is not None
    shape = (info.num_people, info.num_frames, info.num_keypoints)
    keypoints = _array(record, members, KEYPOINT, (*shape, info.num_coords))
    return keypoints, _array(record, members, SCORE, shape) if info.has_scores else None


def present_keypoints(keypoints: np.ndarray) -> np.ndarray:
    """Which keypoints are there, bool [M, T, K], for keypoints [M, T, K, C]."""
    return np.asarray(keypoints.any(axis=-1))


def feature_array(record: SampleRecord, members: Mapping[str, bytes]) -> np.ndarray:
    """Features [T, C], in the type that they were packed with.

    Raises:
        DecodeError: the member is missing, damaged, or of another shape than the record says.
    """
    info = record.feature
    assert info is not None
    return _array(record, members, FEATURE, (info.num_steps, info.num_features))


def mel_array(record: SampleRecord, members: Mapping[str, bytes]) -> np.ndarray:
    """Mel features [T, M], in the type that they were packed with.

    Raises:
        DecodeError: the sample has a sound stream instead, or the member is missing, damaged, or of another shape than
            the record says.
    """
    info = record.audio
    assert info is not None
    if info.num_mel_frames is None or info.num_mels is None:
        raise DecodeError(
            f"sample {record.key} ({record.id}): has sound as {info.container} and no mel features; make them with "
            "`vidflow extract mel` and pack them"
        )
    return _array(record, members, MEL, (info.num_mel_frames, info.num_mels))


def frame_arrays(record: SampleRecord, members: Mapping[str, bytes], frames: Sequence[int]) -> np.ndarray:
    """Chosen frames as RGB pictures, uint8 [N, H, W, 3].

    Args:
        frames: from 0, any order, repeats allowed.

    Raises:
        DecodeError: a frame is missing, damaged, or of another size than the record says.
    """
    import cv2  # see _picture

    info = record.frames
    assert info is not None
    out = np.empty((len(frames), info.height, info.width, 3), np.uint8)
    for row, frame in zip(out, frames, strict=True):
        cv2.cvtColor(_picture(record, members, frame_suffix(info, frame), grey=False), cv2.COLOR_BGR2RGB, dst=row)
    return out


def flow_arrays(record: SampleRecord, members: Mapping[str, bytes], steps: Sequence[int]) -> np.ndarray:
    """Chosen flow pictures as stored, uint8 [N, H, W, 2], x then y; 128 is about no motion.

    Args:
        steps: from 0, any order, repeats allowed.

    Raises:
        DecodeError: a picture is missing, damaged, or of another size than the record says.
    """
    info = record.frames
    assert info is not None
    out = np.empty((len(steps), info.height, info.width, 2), np.uint8)
    for row, step in zip(out, steps, strict=True):
        for channel, axis in enumerate("xy"):
            row[..., channel] = _picture(record, members, flow_suffix(axis, step), grey=True)
    return out


def _picture(record: SampleRecord, members: Mapping[str, bytes], suffix: str, *, grey: bool) -> np.ndarray:
    import cv2  # here, because packing needs the rest of this module and not OpenCV

    info = record.frames
    assert info is not None
    data = np.frombuffer(_member(members, suffix, record), np.uint8)
    # Pixels as stored: an orientation tag would turn single frames of a sample.
    mode = (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(data, mode) if len(data) else None
    if picture is None or picture.shape[:2] != (info.height, info.width):
        found = "does not decode" if picture is None else f"has {picture.shape[1]}x{picture.shape[0]} pixels"
        raise DecodeError(
            f"sample {record.key} ({record.id}), {suffix}: {found}, the record says {info.width}x{info.height}"
        )
    return np.asarray(picture)


def stream_bytes(record: SampleRecord, members: Mapping[str, bytes]) -> bytes:
    """The encoded stream of a video or audio sample.

    Raises:
        DecodeError: the member is missing, or the sample has mel features in place of a stream.
    """
    info: VideoInfo | object = record.media
    assert hasattr(info, "container"), "samples of this kind have no stream"
    if info.container == MEL:
        raise DecodeError(f"sample {record.key} ({record.id}): has mel features and no sound stream; pack sound files")
    return _member(members, info.container, record)
