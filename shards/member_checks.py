"""Whether the members of a sample are what its record says; an encoded video is checked elsewhere."""

from collections.abc import Iterator, Mapping

import numpy as np

from vidflow.errors import DecodeError
from vidflow.media.picture import probe_picture
from vidflow.media.sound import probe_audio
from vidflow.members import MEL, feature_array, mel_array, skeleton_arrays, stream_bytes
from vidflow.schema import AudioInfo, FeatureInfo, FramesInfo, SampleRecord


def check_members(record: SampleRecord, members: Mapping[str, bytes]) -> Iterator[str]:
    """What decoding all media members shows that the record does not say.

    Args:
        members: suffix -> content, all of ``vidflow.members.suffixes``.
    """
    info = record.media
    try:
        if isinstance(info, FramesInfo):
            yield from _check_pictures(info, members)
        elif isinstance(info, FeatureInfo):
            if not np.isfinite(feature_array(record, members)).all():
                yield "holds values that are not finite"
        elif isinstance(info, AudioInfo) and info.container == MEL:
            if not np.isfinite(mel_array(record, members)).all():
                yield "holds values that are not finite"
        elif isinstance(info, AudioInfo):
            found, recorded = probe_audio(stream_bytes(record, members)).model_dump(), info.model_dump()
            for name in recorded:
                if found[name] != recorded[name]:
                    yield f"{name} is {found[name]}, the manifest says {recorded[name]}"
        if record.skeleton is not None:
            for array in skeleton_arrays(record, members):
                if array is not None and not np.isfinite(array).all():
                    yield "holds values that are not finite"
    except DecodeError as error:
        yield str(error)


def _check_pictures(info: FramesInfo, members: Mapping[str, bytes]) -> Iterator[str]:
    for suffix, data in members.items():
        if suffix.endswith(".npy"):  # skeletons of the people in the pictures
            continue
        expected = (suffix.rpartition(".")[2], info.width, info.height)
        if (found := probe_picture(data, suffix)) != expected:
            yield f"member {suffix} is {found}, the manifest says {expected} (format, width, height)"
