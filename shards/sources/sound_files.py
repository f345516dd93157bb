"""Sound files: one sample each, kept byte for byte."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

from vidflow.media.sound import probe_audio
from vidflow.shards.contents import Contents, Member
from vidflow.shards.files import FileState

AUDIO_EXTENSIONS = frozenset({"wav", "flac", "mp3"})


def has_audio_extension(name: str) -> bool:
    """Whether a file name ends like a sound file's that can be packed, in any case."""
    return PurePath(name).suffix[1:].lower() in AUDIO_EXTENSIONS


@dataclass(frozen=True, slots=True)
class SoundFile:
    """Reader of a WAV, FLAC or MP3 file."""

    def read(self, path: str, *, conceal: bool) -> Contents:
        """The file as it is, once all of it has been decoded. Damage is never concealed."""
        state = FileState.of(os.stat(path))  # noqa: PTH116 -- the path may not be UTF-8 and stays a plain string
        info = probe_audio(Path(path))
        return Contents(info, (Member(info.container, path=path, state=state),))
