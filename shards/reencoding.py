"""Re-encoding of one probed video, and the proof that no frame and no time stamp was lost."""

from pathlib import Path

import numpy as np

from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.schema import VideoInfo
from vidflow.shards.profiles import EncodeError, Profile, encode

_MAX_TIME_ERROR = 1e-4  # seconds


def reencode_video(source: Path, video: VideoInfo, out: Path, profile: Profile) -> VideoInfo:
    """Re-encode a video by a profile; what the new file holds, with the damage of the source still counted.

    Raises:
        EncodeError: it cannot be encoded, or the result has other frames or times.
        DecodeError: the source does not decode as it did when it was probed.
        OSError: the file cannot be written.
    """
    encode(source, video, out, profile)
    try:
        encoded = probe_video(out)
    except DecodeError as error:
        raise EncodeError(f"{source}: the result does not decode: {str(error).removeprefix(f'{out}: ')}") from error
    if encoded.num_frames != video.num_frames:
        raise EncodeError(f"{source}: gave {encoded.num_frames} frames for {video.num_frames}")
    if np.abs(encoded.seconds - video.seconds).max() > _MAX_TIME_ERROR:
        raise EncodeError(f"{source}: time stamps that MP4 cannot hold")
    return encoded.model_copy(update={"num_damaged": video.num_damaged, "has_audio": False})
