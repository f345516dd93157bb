"""What can be done to a whole data set: choose samples, split anew, write other shards or code otherwise."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.shards.editing import Edit, edited_options, in_order, limits, refuse_same_place
from vidflow.shards.pack import PackOptions, PackReport, pack
from vidflow.shards.packed_samples import PackedSkeletons, choose, rows_at
from vidflow.shards.profiles import Profile
from vidflow.shards.sources.items import Annotations, Companion, SourceItem, SourceList
from vidflow.shards.sources.splitting import assign_groups, check_groups, split_by_ratio

_CHOSEN_BY_PROFILE = ("profile", "gop", "short_side", "crf", "libavcodec", "libswscale")


def selection(dataset: PackedDataset, *, splits: Sequence[str] | None = None, where: str = "") -> Edit:
    """Keep the samples of some splits that a pandas query keeps, in their order.

    Raises:
        DataError: no such split, a query that does not work, or nothing is left.
    """
    positions = choose(dataset, splits, where)
    return Edit(
        command={"command": "select", "split": sorted(set(splits)) if splits else None, "where": where},
        positions=in_order(dataset, positions, dataset.column("split")[positions].tolist()),
        classes=dataset.info.classes,
    )


def reordering(
    dataset: PackedDataset, *, max_bytes: int | None = None, max_count: int | None = None, seed: int | None = None
) -> Edit:
    """Write all samples in shards of another size, mixed by a seed or in their order."""
    positions = np.arange(len(dataset), dtype=np.int64)
    return Edit(
        command={"command": "repack", "seed": seed},
        positions=in_order(dataset, positions, dataset.column("split").tolist(), seed=seed),
        classes=dataset.info.classes,
        max_bytes=max_bytes,
        max_count=max_count,
    )


def splitting(
    dataset: PackedDataset,
    *,
    ratio: float,
    seed: int = 0,
    only: Sequence[str] | None = None,
    group_regex: str | None = None,
) -> Edit:
    """Split into train and val anew: stratified by class, groups whole; see ``split_by_ratio``.

    Args:
        ratio: share of train, in (0, 1).
        only: splits whose samples are split; others stay as they are. None splits all samples.
        group_regex: gives samples groups by their ids; see ``assign_groups``.

    Raises:
        ConfigError: the ratio, or groups by regex where there are some already.
        DataError: a split that stays is called train or val, or shares a group with those that are split.
    """
    chosen = choose(dataset, only)
    kept = np.setdiff1d(np.arange(len(dataset)), chosen)
    staying = set(dataset.column("split")[kept].tolist())
    if taken := sorted(staying & {"train", "val"}):
        raise DataError(
            f"{dataset.storage.root}: split {taken[0]!r} stays, and the new one has that name too; "
            f"split it as well: --from {taken[0]}"
        )
    items = [
        SourceItem("", record.id, record.split, record.labels, record.group)
        for record, _ in rows_at(dataset, np.arange(len(dataset), dtype=np.int64))
    ]
    if group_regex is not None:
        if any(item.group is not None for item in items):
            raise ConfigError("--group-regex: the data set has groups already; leave it out")
        items, _ = assign_groups(items, group_regex)
    new = split_by_ratio([items[position] for position in chosen.tolist()], ratio=ratio, seed=seed)
    for position, item in zip(chosen.tolist(), new, strict=True):
        items[position] = item
    check_groups(items)
    splits = [item.split for item in items]
    positions = np.arange(len(dataset), dtype=np.int64)
    return Edit(
        command={
            "command": "split",
            "split": ratio,
            "seed": seed,
            "from": sorted(set(only)) if only else None,
            "group_regex": group_regex,
        },
        positions=in_order(dataset, positions, splits),
        classes=dataset.info.classes,
        change=lambda position, record: {"split": items[position].split, "group": items[position].group},
    )


def reencode(
    dataset: PackedDataset,
    out: str | os.PathLike[str],
    profile: Profile,
    *,
    max_bytes: int | None = None,
    max_count: int | None = None,
    seed: int | None = None,
    workers: int,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> PackReport:
    """Pack all videos of a data set again by another profile; see ``pack``.

    Raises:
        ConfigError: the profile keeps the bytes.
        DataError: samples of other kinds than video.
    """
    refuse_same_place(dataset, out)
    if not profile.encodes:
        raise ConfigError(f"--profile {profile.name}: keeps the bytes; leave it out to copy them")
    if others := sorted(set(dataset.column("kind").tolist()) - {"video"}):
        raise DataError(
            f"{dataset.storage.root}: holds samples of kind {', '.join(others)}, only video has profiles; "
            "select with --where \"kind == 'video'\" first"
        )
    items = []
    for record, location in rows_at(dataset, np.arange(len(dataset), dtype=np.int64)):
        address = dataset.storage.address(location.shard)
        skeletons = None
        if record.skeleton is not None:
            skeletons = Companion(address, PackedSkeletons(dataset.storage.root, record, location))
        notes = Annotations(record.segments, record.boxes, record.captions, record.moments, record.questions)
        items.append(
            SourceItem(
                address,
                record.id,
                record.split,
                record.labels,
                record.group,
                annotations=notes if notes != Annotations() else None,
                span=(location.data_offset, location.data_length),
                companion=skeletons,
            )
        )
    options = edited_options(dataset, {"command": "repack", "profile": profile.name, "seed": seed})
    inherited = {name: value for name, value in options.items() if name not in _CHOSEN_BY_PROFILE}
    info = dataset.info
    source = SourceList(info.name, tuple(items), info.classes, info.multi_label, options=inherited, task=info.task)
    size, count = limits(dataset, max_bytes, max_count)
    conceal: Literal["error", "conceal"] = "conceal" if info.options.get("on_damage") == "conceal" else "error"
    pack_options = PackOptions(
        profile=profile, max_bytes=size, max_count=count, seed=seed or 0, shuffle=seed is not None, on_damage=conceal
    )
    return pack(
        source,
        out if isinstance(out, str) else Path(out),
        pack_options,
        workers=workers,
        overwrite=overwrite,
        on_progress=on_progress,
    )
