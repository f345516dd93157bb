"""Class folders: ``SRC/{train,val,test}/<class>/...`` or ``SRC/<class>/...`` with a split by ratio.

Files may lie at any depth below their class folder. Links are followed; a link back to a folder above is passed over
and counted, and so are hidden files and names that are no video's.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from vidflow.errors import DataError
from vidflow.shards.files import is_folder_at
from vidflow.shards.sources.items import SPLIT_ORDER, SourceItem, SourceList, class_name, has_video_extension, text_of
from vidflow.shards.sources.splitting import (
    assign_groups,
    check_groups,
    check_ratio,
    split_by_ratio,
)

_MAX_LISTED = 10
_NO_CLASS = "not inside a class folder"


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder, in byte order.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            # Byte order: the same on every machine and in every locale.
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise DataError(f"{text_of(folder)}: {error.strerror}; make it readable, or leave it out") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: no folder, and as a file it will be rejected by name
        return False


def enter_folder(
    folder: str, ancestors: tuple[tuple[int, int], ...], skipped: Counter[str]
) -> tuple[tuple[int, int], ...] | None:
    """The folders down to this one, by device and inode; None, counted, where a link leads back to one above."""
    status = os.stat(folder)  # noqa: PTH116 -- the path may not be UTF-8 and stays a plain string here
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        skipped["link to a folder above it"] += 1
        return None
    return (*ancestors, identity)


def folders_above(*folders: str | os.PathLike[str]) -> tuple[tuple[int, int], ...]:
    """Folders and all that they lie in, by device and inode: where a link from below them would lead back."""
    found: dict[tuple[int, int], None] = {}
    for folder in folders:
        real = Path(os.path.realpath(folder))
        for path in (real, *real.parents):
            with suppress(OSError):  # one that may not be looked at cannot be entered by a link either
                status = path.stat()
                found[status.st_dev, status.st_ino] = None
    return tuple(found)


def walk_videos(
    folder: str,
    ancestors: tuple[tuple[int, int], ...],
    skipped: Counter[str],
    accepts: Callable[[str], bool] = has_video_extension,
) -> Iterator[str]:
    """Video files below a folder, or others whose names are accepted, in byte order of their paths."""
    here = enter_folder(folder, ancestors, skipped)
    if here is None:
        return
    for entry in entries_of(folder):
        if entry.name.startswith("."):
            skipped["hidden name"] += 1
        elif is_folder(entry):
            yield from walk_videos(entry.path, here, skipped, accepts)
        elif accepts(entry.name):
            yield entry.path
        else:
            skipped["not a video's file name" if accepts is has_video_extension else "another kind of file"] += 1


def _class_folders(folder: str, skipped: Counter[str]) -> Iterator[os.DirEntry[str]]:
    for entry in entries_of(folder):
        if entry.name.startswith("."):
            skipped["hidden name"] += 1
        elif is_folder(entry):
            yield entry
        else:
            skipped[_NO_CLASS] += 1


def _split_folders(source: Path, ratio: float | None) -> list[tuple[str, str]]:
    """(split, folder) pairs; with a ratio the one pair ("", source)."""
    if not is_folder_at(source):
        raise DataError(f"{source}: no such folder")
    names = [
        entry.name for entry in entries_of(os.fspath(source)) if is_folder(entry) and not entry.name.startswith(".")
    ]
    if not (splits := split_names(names, ratio, source)):
        return [("", os.fspath(source))]
    return [(split, os.fspath(source / split)) for split in splits]


def split_names(names: Sequence[str], ratio: float | None, source: object) -> list[str]:
    """Which of the folders of a source are its splits; none where a ratio makes them.

    Args:
        names: of all folders directly below the source.
        source: for messages.

    Raises:
        DataError: they are no splits, or not all of them, or they are and there is a ratio.
    """
    splits = [name for name in SPLIT_ORDER if name in names]
    others = [text_of(name) for name in names if name not in SPLIT_ORDER]
    if ratio is not None:
        check_ratio(ratio)
        if splits and not others:
            raise DataError(f"{source}: has the split folders {', '.join(splits)} already; leave --split out")
        return []
    if not splits:
        raise DataError(
            f"{source}: has neither train/ nor val/ nor test/ below it; "
            "for one level of class folders give --split 0.9, for a list of files --annotations"
        )
    if others:
        listed = ", ".join(others[:_MAX_LISTED])
        raise DataError(
            f"{source}: has {', '.join(splits)} beside {listed}; move the others away, "
            "or give --split 0.9 if they are all classes"
        )
    return splits


def _class_list(found: set[str], classes: Sequence[str] | None, source: object) -> tuple[str, ...]:
    if classes is None:
        return tuple(sorted(found))
    unknown = sorted(found - set(classes))
    if unknown:
        listed = ", ".join(repr(name) for name in unknown[:_MAX_LISTED])
        raise DataError(f"{source}: {len(unknown)} class folders are not in --classes: {listed}; add or rename them")
    return tuple(classes)


def _walk_class(folder: str, skipped: Counter[str], above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    return walk_videos(folder, above, skipped)


def read_class_folders(
    source: str | os.PathLike[str],
    *,
    split: float | None = None,
    seed: int = 0,
    group_regex: str | None = None,
    classes: Sequence[str] | None = None,
    walk: Callable[[str, Counter[str], tuple[tuple[int, int], ...]], Iterator[str]] = _walk_class,
) -> SourceList:
    """List the videos of class folders.

    Args:
        source: folder with train/, val/ or test/ below it; with ``split``, folder of the class folders themselves.
        split: share of train, in (0, 1), stratified by class; None takes the split folders.
        seed: decides the split.
        group_regex: clips of one source stay together; see ``assign_groups``.
        classes: class names in the order of their indices; None sorts the folders' names.
        walk: the samples below a class folder, where they are not video files; counts what it passes over, and gets
            the folders above (see ``folders_above``), which no link may lead back to.

    Raises:
        DataError: no such layout, or a folder that cannot be read.
    """
    root = Path(source)
    skipped: Counter[str] = Counter()
    found: list[tuple[str, str, str]] = []  # split, class, path
    names: set[str] = set()
    for split_name, folder in _split_folders(root, split):
        above = folders_above(root, folder)
        for entry in _class_folders(folder, skipped):
            if enter_folder(entry.path, above, skipped) is None:
                continue
            name = class_name(entry.name)
            paths = list(walk(entry.path, skipped, above))
            if entry.path in paths:  # frames lie right in it: the folder of a video, not of a class
                paths.remove(entry.path)
                skipped[_NO_CLASS] += 1
                if not paths:
                    continue
            names.add(name)
            found += [(split_name, name, path) for path in paths]
    return class_source(
        os.fspath(root),
        root.resolve().name,
        found,
        names,
        skipped,
        split=split,
        seed=seed,
        group_regex=group_regex,
        classes=classes,
    )


def class_source(
    root: str,
    name: str,
    found: Sequence[tuple[str, str, str]],
    names: set[str],
    skipped: Counter[str],
    *,
    split: float | None,
    seed: int,
    group_regex: str | None,
    classes: Sequence[str] | None,
) -> SourceList:
    """What has been found below class folders as a source; the options are those of ``read_class_folders``.

    Args:
        root: path or address that all paths begin with.
        name: of the data set.
        found: split, class and path of each video.
        names: all classes, those without videos too.
        skipped: what was passed over.
    """
    class_names = _class_list(names, classes, root)
    index = {name: i for i, name in enumerate(class_names)}
    prefix = len(os.path.join(root, ""))  # noqa: PTH118 -- a length in the plain string
    items = [SourceItem(path, text_of(path[prefix:]), split_name, (index[name],)) for split_name, name, path in found]
    warnings = []
    if group_regex is not None:
        items, unmatched = assign_groups(items, group_regex)
        warnings += unmatched
    if split is not None:
        items = split_by_ratio(items, ratio=split, seed=seed)
    check_groups(items)
    options: dict[str, object] = {"source": "class folders", "split": split, "group_regex": group_regex}
    if split is not None:
        options["split_seed"] = seed
    return SourceList(name, tuple(items), class_names, False, skipped, tuple(warnings), options)
