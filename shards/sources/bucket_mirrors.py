"""A prefix of S3 as a folder, for sources that look at names: an empty file stands for each object.

Recipes and readers of lists see the folder that they know. The annotation files of a recipe, and files that hold many
samples, are fetched; all others stay empty, and the items that come out name the objects, which workers fetch one by
one.
"""

import fnmatch
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from vidflow.errors import ConfigError, DataError, VidflowError
from vidflow.shards.files import FileState
from vidflow.shards.recipes.recipe import Recipe
from vidflow.shards.sources.items import SourceItem, SourceList
from vidflow.storage.remote import ObjectInfo, RemoteStorage
from vidflow.storage.s3 import S3Transport, list_objects

_ARCHIVES = frozenset({".pkl", ".pickle", ".npz"})  # given as --src, they are files with many samples
_CHUNK = 1 << 20


class BucketMirror:
    """The objects below an address, by their names, in a temporary folder that goes with this object."""

    def __init__(self, address: str, lists: tuple[str, ...] = ()) -> None:
        """Args:
        address: ``s3://bucket/prefix``, or a file of many samples on S3.
        lists: patterns of the names, from the address on, of objects to fetch.

        Raises:
            DataError: there is nothing.
            StorageError: it cannot be listed or fetched.
        """
        self.address = address.rstrip("/")
        self._top = Path(tempfile.mkdtemp(prefix="vidflow-"))
        self._end = weakref.finalize(self, shutil.rmtree, self._top, ignore_errors=True)
        self.infos: dict[str, ObjectInfo] = {}
        self.fetched: set[str] = set()
        self.root = self._top / self.address.rpartition("/")[2]
        """The folder; or the file, if the address is that of one."""
        self._base, self._folder = self.address, self.root
        if PurePosixPath(self.address).suffix.lower() in _ARCHIVES:
            self._base, self._folder = self.address.rpartition("/")[0], self._top
            name = self.root.name
            self.infos[name] = self._storage().info(name)
            self._fetch(name)
            return
        self.root.mkdir()
        for name, info in list_objects(self.address):
            if self._stand_in(name):
                self.infos[name] = info
        if not self.infos:
            raise DataError(f"{self.address}: holds nothing; check the address")
        for name in self.infos:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in lists):
                self._fetch(name)

    def _storage(self) -> RemoteStorage:
        return RemoteStorage(S3Transport(self._base))

    def _stand_in(self, name: str) -> bool:
        """Make an empty file for an object, unless no folder could hold its name."""
        parts = name.split("/")
        if not all(parts) or any(part in (".", "..") or "\0" in part for part in parts):
            return False  # also the empty objects that consoles make in place of folders
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise DataError(
                f"{self._base}/{name}: cannot be a file beside the others ({error.strerror}); rename it"
            ) from error
        return True

    def _fetch(self, name: str) -> None:
        path = self._folder / name
        with self._storage().open(name) as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
        self.fetched.add(name)

    def read(self, function: Callable[..., SourceList], *arguments: object, **options: object) -> SourceList:
        """The source that a function reads from ``root``, with the addresses in place of the files that stand for them.

        Raises:
            ConfigError: its samples cannot be read from a server.
            VidflowError: as the function does, with the address.
        """
        try:
            source = function(*arguments, **options)
        except VidflowError as error:
            raise type(error)(self._spelled(str(error))) from error
        items = tuple(self._addressed(item) for item in source.items)
        warnings = tuple(map(self._spelled, source.warnings))
        # A list at the top of the mirror would be called like the temporary folder.
        name = self.root.stem if source.name == self._top.name else source.name
        return replace(source, items=items, warnings=warnings, name=name)

    def _spelled(self, text: str) -> str:
        return text.replace(os.fspath(self._folder), self._base)

    def _addressed(self, item: SourceItem) -> SourceItem:
        if not Path(item.path).is_relative_to(self._folder):
            return item
        name = Path(item.path).relative_to(self._folder).as_posix()
        if Path(item.path).is_dir():
            raise _piecemeal(f"{self._base}/{name}")
        if item.window is not None:
            raise ConfigError(
                f"--src {self.address}: clips of long videos are cut from local files only, lest each clip fetches its "
                "whole video; copy the videos to this machine first"
            )
        info = self.infos.get(name)
        state = None if info is None or info.size is None else FileState(info.size, 0, 0, info.version)
        if name in self.fetched:
            return replace(item, state=state)
        return replace(item, path=f"{self._base}/{name}", state=state)


def _piecemeal(address: str) -> ConfigError:
    return ConfigError(
        f"{address}: samples of many files, such as frame folders, are read from local folders only, for a server "
        "would be asked for each file; copy them to this machine first (aws s3 sync), or pack the videos behind them"
    )


def open_mirror(address: str, kind: str, recipe: Recipe | None) -> BucketMirror:
    """The mirror that a recipe or the source of a kind can read.

    Raises:
        ConfigError: such samples are not read from there.
        DataError: there is nothing.
        StorageError: it cannot be listed or fetched.
    """
    if not address.startswith("s3://"):
        raise ConfigError(
            f"--src {address}: a web server does not list its files; with --recipe and --kind give a folder or s3://"
        )
    if (kind if recipe is None else recipe.kind) == "frames":
        raise _piecemeal(f"--src {address}")
    return BucketMirror(address, () if recipe is None else _lists_of(recipe))


def _lists_of(recipe: Recipe) -> tuple[str, ...]:
    folders = ("", *(f"{folder}/" for folder in recipe.annotations))
    folds = recipe.folds or (None,)
    names = {name for file in recipe.files for fold in folds for name in recipe.file_names(file, fold)}
    return tuple(f"{folder}{name}" for name in sorted(names) for folder in folders)
