"""Sound: files that are kept byte for byte, the sound tracks of videos, and mel features that were computed before."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from vidflow.errors import DataError
from vidflow.media.sound import probe_audio
from vidflow.media.track import write_track
from vidflow.members import MEL, from_npy, to_npy
from vidflow.schema import AudioInfo
from vidflow.shards.contents import Contents, Member
from vidflow.shards.files import FileState
from vidflow.shards.sources.items import SourceItem, has_video_extension

SOUND_EXTENSIONS = frozenset({"wav", "flac", "mp3"})
_MEL_EXTENSION = "npy"


def has_sound_extension(name: str) -> bool:
    """Whether a file name ends like that of a sound file that is packed as it is, in any case."""
    return PurePath(name).suffix[1:].lower() in SOUND_EXTENSIONS


def has_audio_extension(name: str) -> bool:
    """Whether a file name ends like that of a sound file, a video or an array of mel features."""
    return has_sound_extension(name) or has_video_extension(name) or is_mel(name)


def is_mel(name: str) -> bool:
    """Whether a file is taken for mel features."""
    return PurePath(name).suffix[1:].lower() == _MEL_EXTENSION


@dataclass(frozen=True, slots=True)
class SoundFile:
    """Reader of a sound file, of a video's sound track, or of a file of mel features, by the file's name."""

    def read(self, path: str, *, conceal: bool) -> Contents:
        """A WAV, FLAC or MP3 file as it is, a video's track as FLAC of 16 bits, or mel features [T, M] as float.

        All sound is decoded once. Damage is never concealed.
        """
        if is_mel(path):
            return _mel(path)
        if has_video_extension(path):
            return _track(path)
        state = FileState.of(os.stat(path))  # noqa: PTH116 -- the path may not be UTF-8 and stays a plain string
        info = probe_audio(Path(path))
        return Contents(info, (Member(info.container, path=path, state=state),))


def _track(path: str) -> Contents:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "track.flac")
        write_track(Path(path), out, format="flac")
        data = out.read_bytes()
    return Contents(probe_audio(data), (Member("flac", data),))


def _mel(path: str) -> Contents:
    array = from_npy(Path(path).read_bytes(), path)
    if array.ndim != 2 or not array.size or array.dtype.kind != "f":
        raise DataError(f"an array of {array.dtype} {list(array.shape)}; mel features are floats [T, M]")
    stored = array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)
    if num_bad := int((~np.isfinite(stored)).sum()):
        raise DataError(f"{num_bad} of {stored.size} values are not finite")
    info = AudioInfo(container=MEL, num_mel_frames=stored.shape[0], num_mels=stored.shape[1])
    return Contents(info, (Member(MEL, to_npy(stored)),))


def refuse_mixture(items: Sequence[SourceItem]) -> None:
    """Mel features beside sound would be the same samples twice, or samples that no model can take together.

    Raises:
        DataError: the items are of both sorts; names one of each.
    """
    mel = next((item for item in items if is_mel(item.path)), None)
    sound = next((item for item in items if not is_mel(item.path)), None)
    if mel is not None and sound is not None:
        raise DataError(f"{mel.id} holds mel features and {sound.id} sound; pack one of the two, or each on its own")
