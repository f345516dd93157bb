"""Finding a data set's files below the source folder: annotation files by name, videos by the names in the lists."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from vidflow.errors import DataError
from vidflow.shards.recipes.listing import Listed, ListFile
from vidflow.shards.recipes.recipe import AnnotationFile, Fold, Recipe
from vidflow.shards.sources.class_folders import walk_videos
from vidflow.shards.sources.feature_files import has_feature_extension
from vidflow.shards.sources.frame_folders import walk_frame_folders
from vidflow.shards.sources.items import has_video_extension, text_of

_SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "validate", "validation"), "test": ("test", "testing")}


def help_text(recipe: Recipe) -> str:
    """Where a data set comes from and how it shall lie, for the end of a message."""
    tree = "\n".join(f"    {line}" for line in recipe.layout.strip("\n").splitlines())
    return f"  {recipe.title} is published at {recipe.page}\n  arrange it so:\n{tree}"


def find_annotations(
    recipe: Recipe, source: Path, *, folder: Path | None, splits: Sequence[str], fold: Fold | None
) -> dict[str, tuple[ListFile, ...]]:
    """The annotation files that some splits need, by role.

    Args:
        source: the data set's folder.
        folder: the one folder to look in; None looks in ``source`` and the recipe's folders below it.

    Raises:
        DataError: a folder or files are missing; says which, where from, and how to arrange them.
    """
    root = source if folder is None else folder
    if not root.is_dir():
        raise DataError(f"{root}: no such folder\n{help_text(recipe)}")
    folders = [root] if folder is not None else [root / name for name in recipe.annotations] + [root]
    found: dict[str, tuple[ListFile, ...]] = {}
    missing: list[str] = []
    for file in recipe.files:
        if file.role not in ("classes", "lists", *splits):
            continue
        names = recipe.file_names(file, fold)
        paths = _first_match(folders, names)
        if not paths and not file.optional:
            missing.append(f"{' or '.join(names)} ({_what(file)})")
        found[file.role] = (
            *found.get(file.role, ()),
            *(ListFile(path, file.media, fold, recipe.fps, file.content) for path in paths),
        )
    if missing:
        looked = ", ".join(text_of(os.fspath(place)) for place in folders if place.is_dir())
        raise DataError(
            f"annotation files of {recipe.title} are missing; looked in {looked} for\n  "
            + "\n  ".join(missing)
            + f"\n{help_text(recipe)}\n  or name the folder that holds them with --annotations"
        )
    return found


def _what(file: AnnotationFile) -> str:
    if file.content:
        return f"{file.content} of {file.role}"
    return {"classes": "the class names", "lists": "the annotations"}.get(file.role, f"the {file.role} list")


def _first_match(folders: Sequence[Path], names: Sequence[str]) -> list[Path]:
    for folder in folders:
        for name in names:
            pattern = os.path.join(glob.escape(os.fspath(folder)), name)  # noqa: PTH118 -- the name may hold a pattern
            paths = sorted(Path(path) for path in glob.glob(pattern) if os.path.isfile(path))  # noqa: PTH113, PTH207
            if paths:
                return paths
    return []


def _plain(name: str) -> str:
    """A folder or class name without what copies of a data set change in it: case, spaces, punctuation."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _stem(name: str) -> str:
    name = name.rpartition("/")[2]
    is_file = has_video_extension(name) or has_feature_extension(name) or has_skeleton_name(name)
    return name.rpartition(".")[0] if is_file else name


def has_skeleton_name(name: str) -> bool:
    """Whether a file name is that of one sample's skeletons: JSON, but not the labels of all."""
    return name.lower().endswith(".json") and not name.lower().endswith("_label.json")


def _walk(kind: str, root: Path, skipped: Counter[str]) -> Iterator[str]:
    """Files or folders that may be samples of a kind."""
    top = os.fspath(root)
    if kind == "frames":
        return walk_frame_folders(top, skipped)
    accepts = {"feature": has_feature_extension, "skeleton": has_skeleton_name}.get(kind, has_video_extension)
    return walk_videos(top, (), skipped, accepts)


_SPAN = re.compile(r"(.+)_(\d{6})_(\d{6})")


class AmbiguousError(Exception):
    """Several files could be the one that a list names."""


class ExactPaths:
    """Files that lie where the lists say, or not at all; nothing else is looked at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skipped: Counter[str] = Counter()

    def find(self, listed: Listed, labels: Sequence[str]) -> str | None:
        """The path below the root, or None."""
        place = os.path.join(self.root, listed.row.path)  # noqa: PTH118 -- perhaps millions of plain strings
        return listed.row.path if os.path.isfile(place) else None  # noqa: PTH113


class VideoIndex:
    """All videos (frame folders, feature files) below a folder, found by their names in the lists.

    A listed video is the file of that name (without extension) at any depth. Of several, the one in the folders that
    the list names is taken, then the one below a folder of its split.
    """

    def __init__(self, root: Path, class_names: Sequence[str] = (), *, kind: str = "video") -> None:
        """Args:
        root: folder that is searched.
        class_names: a file in the folder of one of these classes is taken for videos of that class only.
        kind: of the samples: ``video``, ``frames``, ``feature`` or ``skeleton``.
        """
        self.root = root
        self.skipped: Counter[str] = Counter()
        self._classes = {_plain(name) for name in class_names}
        self._by_stem: dict[str, list[str]] = {}
        self._spans: dict[str, list[tuple[float, float, str]]] | None = None
        prefix = len(os.path.join(os.fspath(root), ""))  # noqa: PTH118 -- a length in the plain string
        self.num_videos = 0
        for path in _walk(kind, root, self.skipped):
            name = path[prefix:].replace(os.sep, "/")
            self._by_stem.setdefault(_stem(name), []).append(name)
            self.num_videos += 1

    def find(self, listed: Listed, labels: Sequence[str]) -> str | None:
        """The path below the root, or None.

        Args:
            labels: class names of the video.

        Raises:
            AmbiguousError: several files fit equally well.
        """
        own = {_plain(label) for label in labels}
        for wanted in (listed.row.path, *listed.other_names):
            parents = PurePosixPath(wanted).parts[:-1]
            candidates = [
                name
                for name in self._by_stem.get(_stem(wanted), ())
                if self._may_be(name, listed.within, own | {_plain(part) for part in parents})
            ]
            if not candidates:
                continue
            ranks = {name: self._rank(name, parents, listed.row.split or "") for name in candidates}
            best = [name for name in candidates if ranks[name] == max(ranks.values())]
            if len(best) > 1:
                raise AmbiguousError(" and ".join(text_of(name) for name in best[:3]))
            return best[0]
        return None

    def find_span(self, video: str, seconds: float) -> tuple[str, float] | None:
        """The file ``<video>_<start>_<end>`` whose span holds a time, and its start; of several, the time is most in
        the middle of it."""
        if self._spans is None:
            self._spans = {}
            for stem, names in self._by_stem.items():
                if match := _SPAN.fullmatch(stem):
                    of_video = self._spans.setdefault(match[1], [])
                    of_video += [(float(match[2]), float(match[3]), name) for name in names]
        fitting = [span for span in self._spans.get(video, ()) if span[0] <= seconds <= span[1]]
        if not fitting:
            return None
        start, _, name = min(fitting, key=lambda span: (abs(seconds - (span[0] + span[1]) / 2), span))
        return name, start

    def _may_be(self, name: str, within: str, own: set[str]) -> bool:
        parts = name.split("/")
        if within and not name.startswith(f"{within}/"):
            return False
        folder = _plain(parts[-2]) if len(parts) > 1 else ""
        return folder not in self._classes or folder in own

    def _rank(self, name: str, parents: Sequence[str], split: str) -> tuple[int, bool]:
        folders = [_plain(part) for part in name.split("/")[:-1]]
        depth = 0
        for folder, parent in zip(reversed(folders), reversed(parents), strict=False):
            if folder != _plain(parent):
                break
            depth += 1
        spellings = {spelling for word in _SPLIT_FOLDERS.get(split, (split,)) for spelling in (word, f"videos{word}")}
        return depth, bool(spellings & set(folders))
