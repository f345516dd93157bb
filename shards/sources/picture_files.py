"""Picture collections: each JPEG or PNG file is a sample of one frame."""

from dataclasses import dataclass
from pathlib import Path

from vidflow.media.picture import probe_picture
from vidflow.members import frame_suffix
from vidflow.schema import FramesInfo
from vidflow.shards.contents import Contents, Member
from vidflow.shards.files import FileState
from vidflow.shards.sources.items import text_of


@dataclass(frozen=True, slots=True)
class PictureFile:
    """Reader of one picture."""

    def read(self, path: str, *, conceal: bool) -> Contents:
        """The file as it is, once it has been decoded."""
        file = Path(path)
        state = FileState.of(file.stat())
        name, width, height = probe_picture(file.read_bytes(), text_of(path))
        info = FramesInfo(container="jpg" if name == "jpg" else "png", num_frames=1, width=width, height=height)
        return Contents(info, (Member(frame_suffix(info, 0), path=path, state=state),))
