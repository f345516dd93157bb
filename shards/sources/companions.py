"""Videos with the skeletons of their people, which lie in files of their own."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vidflow.errors import ConfigError, DataError
from vidflow.shards.contents import Contents
from vidflow.shards.files import is_folder_at, is_there
from vidflow.shards.sources.items import Companion, SourceItem, SourceList
from vidflow.shards.sources.skeleton_archives import SkeletonNpz
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_entries import PICKLES, list_entries
from vidflow.shards.sources.unpacked_arrays import UnpackedSkeleton
from vidflow.shards.unpacking import safe_path

_POLICY = SkeletonPolicy(nobody="keep")
"""A video in which nobody was found is still a video."""
_MAX_LISTED = 3


@dataclass(frozen=True, slots=True)
class SkeletonsOfVideo:
    """Reader of what ``vidflow extract pose`` or ``vidflow unpack`` wrote for a video."""

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints and scores, as such files have them."""
        return UnpackedSkeleton(_POLICY, SkeletonNpz(_POLICY)).read(path, conceal=conceal)


@dataclass(frozen=True, slots=True)
class NotListed:
    """In place of a reader, where a pickle has nothing of a video."""

    name: str

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Nothing.

        Raises:
            DataError: always.
        """
        raise DataError(f"{path}: has no sample named {self.name}")


def with_skeletons(source: SourceList, place: Path) -> SourceList:
    """The same videos, each with its skeletons; one that has none is rejected when it is packed.

    In a folder those of ``a/b.mp4``, and of ``/a/b.mp4``, are ``a/b.npz``, or ``a/b.mp4.npz`` where another video
    differs in its extension alone, or a folder ``a/b.mp4`` (see ``safe_path``). In a pickle they are called ``a/b``, or
    just ``b`` where no other video is; of ``b_rgb``, as NTU RGB+D's videos are named, also ``b``.

    Args:
        place: folder of ``.npz`` files of ``vidflow extract pose``, or ``skeletons`` of ``vidflow unpack``; or a pickle
            of MMAction2 or PYSKL.

    Raises:
        ConfigError: samples that are no videos, or only parts of them.
        DataError: no such folder or pickle, or it has skeletons of none of the videos.
    """
    if any(item.reader is not None for item in source.items):
        raise ConfigError(f"--skeletons {place}: belong to videos, and {source.name} has other samples")
    if any(item.window is not None for item in source.items):
        raise ConfigError(f"--skeletons {place}: belong to whole videos, and {source.name} is cut out of longer ones")
    if place.suffix.lower() in PICKLES and place.is_file():
        companion_of = _in_pickle(place, source.items)
    elif is_folder_at(place):
        companion_of = _in_folder(place, source.items)
    else:
        raise DataError(f"--skeletons {place}: neither a folder nor a pickle ({', '.join(PICKLES)})")
    items = tuple(replace(item, companion=companion_of(item)) for item in source.items)
    found = [item.companion for item in items if item.companion is not None]
    if not any(is_there(one.path) and not isinstance(one.reader, NotListed) for one in found):
        some = ", ".join(item.id for item in items[:_MAX_LISTED])
        hint = "; list the videos by their paths from --src" if any(item.id.startswith("/") for item in items) else ""
        raise DataError(f"--skeletons {place}: has those of none of the {len(items)} videos, such as {some}{hint}")
    return replace(source, items=items, options=source.options | {"skeletons": True})


def _stem(item: SourceItem) -> str:
    return str(PurePosixPath(item.id).with_suffix(""))


def _in_folder(folder: Path, items: Sequence[SourceItem]) -> Callable[[SourceItem], Companion]:
    stems = Counter(map(_stem, items))

    def companion_of(item: SourceItem) -> Companion:
        unpacked = folder / safe_path(item.id)
        if is_folder_at(unpacked):
            return Companion(str(unpacked), SkeletonsOfVideo())
        stem = _stem(item)
        return Companion(str(folder / safe_path(f"{stem if stems[stem] == 1 else item.id}.npz")), SkeletonsOfVideo())

    return companion_of


def _in_pickle(file: Path, items: Sequence[SourceItem]) -> Callable[[SourceItem], Companion]:
    readers = {entry.name: entry.reader for entry in list_entries(file, _POLICY)}
    names = Counter(PurePosixPath(_stem(item)).name for item in items)

    def companion_of(item: SourceItem) -> Companion:
        stem = _stem(item)
        name = PurePosixPath(stem).name
        candidates = [stem, *([name, name.removesuffix("_rgb")] if names[name] == 1 else [])]
        reader = next((readers[candidate] for candidate in candidates if candidate in readers), NotListed(stem))
        return Companion(str(file), reader)

    return companion_of
