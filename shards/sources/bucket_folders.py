"""Class folders on S3: ``s3://bucket/prefix/{train,val,test}/<class>/...``, or one level with a split by ratio."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from vidflow.errors import DataError
from vidflow.shards.files import FileState
from vidflow.shards.sources.class_folders import class_source, split_names
from vidflow.shards.sources.items import SourceList, class_name, has_video_extension
from vidflow.storage.s3 import list_objects


def read_bucket_folders(
    address: str,
    *,
    split: float | None = None,
    seed: int = 0,
    group_regex: str | None = None,
    classes: Sequence[str] | None = None,
) -> SourceList:
    """List the videos below an address as ``read_class_folders`` lists those of a folder; workers fetch them.

    Raises:
        DataError: no such layout.
        StorageError: the bucket cannot be listed.
    """
    root = address.rstrip("/")
    skipped: Counter[str] = Counter()
    paths: list[list[str]] = []
    states: dict[str, FileState] = {}
    for name, info in list_objects(root):
        parts = name.split("/")
        if parts[-1] == "" or info.size is None:
            continue  # consoles make empty objects in place of folders
        if any(part.startswith(".") for part in parts):
            skipped["hidden name"] += 1
        else:
            paths.append(parts)
            states[f"{root}/{name}"] = FileState(info.size, 0, 0, info.version)
    if not paths:
        raise DataError(f"{root}: holds nothing; check the address")
    splits = split_names(sorted({parts[0] for parts in paths if len(parts) > 1}), split, root)
    depth = 1 if splits else 0  # folders above the class folder
    found: list[tuple[str, str, str]] = []
    names: set[str] = set()
    for parts in paths:
        if len(parts) < depth + 2:
            skipped["not inside a class folder"] += 1
            continue
        name = class_name(parts[depth])
        names.add(name)
        if has_video_extension(parts[-1]):
            found.append((parts[0] if splits else "", name, f"{root}/{'/'.join(parts)}"))
        else:
            skipped["not a video's file name"] += 1
    source = class_source(
        root,
        root.rpartition("/")[2],
        found,
        names,
        skipped,
        split=split,
        seed=seed,
        group_regex=group_regex,
        classes=classes,
    )
    return replace(source, items=tuple(replace(item, state=states[item.path]) for item in source.items))
