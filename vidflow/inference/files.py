"""Which files a user means by paths of files and folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vidflow.errors import DataError
from vidflow.shards.sources.items import has_video_extension, text_of


def list_videos(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as they are, and for each folder the videos at any depth below it, in byte order of their paths.

    A file that is named itself need not look like a video, nor exist: opening it will tell. Hidden names in folders are
    passed over, and links to folders are not followed.

    Raises:
        DataError: a folder without any video, or one that cannot be read.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(_walk(path), key=os.fsencode)
        if not inside:
            raise DataError(
                f"{text_of(str(path))}: has no file with a video's extension at any depth; name the files themselves"
            )
        found += inside
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(
            f"{text_of(str(error.filename))}: {error.strerror}; make it readable, or name the files themselves"
        )

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if has_video_extension(name) and not name.startswith("."))
