"""Groups of clips that belong together, and a split by ratio that keeps them so.

Order and choice follow a hash of the seed and the id, not a random stream: one more file moves no other file.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from vidflow.errors import ConfigError, DataError
from vidflow.shards.sources.items import SourceItem

_MAX_LISTED = 10


def shuffle_key(seed: int, text: str) -> bytes:
    """Sort key that orders texts at random, the same way each time for one seed."""
    return hashlib.blake2b(f"{seed}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def assign_groups(items: Sequence[SourceItem], regex: str) -> tuple[list[SourceItem], list[str]]:
    """Give each item the group that a pattern finds at the start of its file name (without extension).

    The group is the pattern's first parenthesis, or the whole match where it has none: ``(.+)_clip\\d+``.

    Returns:
        The items, and a warning if some names do not match; those stay without a group.

    Raises:
        ConfigError: no regular expression.
        DataError: it matches no item at all.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(f"--group-regex {regex!r}: not a regular expression ({error})") from error
    stems = [PurePosixPath(item.id).stem for item in items]
    matches = [pattern.match(stem) for stem in stems]
    unmatched = sum(match is None for match in matches)
    if items and unmatched == len(items):
        raise DataError(f"--group-regex {regex!r} matches none of {len(items)} file names, such as {stems[0]!r}")
    grouped = [
        replace(item, group=match[1 if pattern.groups else 0]) if match else item
        for item, match in zip(items, matches, strict=True)
    ]
    one_each = f"--group-regex {regex!r} does not match {unmatched} of {len(items)} names; each is a group of its own"
    return grouped, [one_each] if unmatched else []


def check_groups(items: Sequence[SourceItem]) -> None:
    """Refuse a source whose own splits tear a group apart."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.group is not None:
            splits[item.group].add(item.split)
    torn = sorted(group for group, found in splits.items() if len(found) > 1)
    if torn:
        listed = ", ".join(f"{group!r} ({' and '.join(sorted(splits[group]))})" for group in torn[:_MAX_LISTED])
        raise DataError(f"{len(torn)} groups lie in several splits: {listed}; mend the splits, or leave the groups out")


def check_split_names(found: Iterable[tuple[str, str]]) -> None:
    """Refuse splits whose names differ in case alone: many disks would take the files of their shards for the same.

    Args:
        found: split of each sample, and where it stands.
    """
    first: dict[str, tuple[str, str]] = {}
    for name, where in found:
        other, place = first.setdefault(name.casefold(), (name, where))
        if other != name:
            raise DataError(
                f"{where}: split {name!r} differs from {other!r} ({place}) in case alone; write one of them"
            )


def check_ratio(ratio: float) -> None:
    """Refuse a ``--split`` that leaves a side empty."""
    if not 0 < ratio < 1:
        raise ConfigError(f"--split {ratio}: must lie between 0 and 1, the share of train")


def split_by_ratio(items: Sequence[SourceItem], *, ratio: float, seed: int) -> list[SourceItem]:
    """Send about ``ratio`` of each class to ``train`` and the rest to ``val``, whole groups only.

    A group counts to the first label that most of its items have. A class with two groups or more has at least one on
    each side.

    Args:
        items: their split is ignored.
        ratio: share of train, in (0, 1).
        seed: another seed gives another choice.
    """
    check_ratio(ratio)
    # An item without a group is a group of its own; the pair keeps it apart from a group of that name.
    groups: dict[tuple[bool, str], list[SourceItem]] = defaultdict(list)
    for item in items:
        groups[(item.group is not None, item.id if item.group is None else item.group)].append(item)
    by_class: dict[int, list[tuple[bool, str]]] = defaultdict(list)
    for name, members in groups.items():
        counts = Counter(item.labels[0] if item.labels else -1 for item in members)
        by_class[min(counts, key=lambda label: (-counts[label], label))].append(name)
    val: set[tuple[bool, str]] = set()
    for names in by_class.values():
        names.sort(key=lambda name: (shuffle_key(seed, name[1]), name))
        wanted = (1 - ratio) * sum(len(groups[name]) for name in names)
        taken = 0
        # The last group of the shuffled list stays in train.
        for position, name in enumerate(names[:-1]):
            size = len(groups[name])
            # Taken when that comes closer to the wanted number; the first one always, so that val has the class.
            if position == 0 or abs(taken + size - wanted) < abs(taken - wanted):
                val.add(name)
                taken += size
    return [
        replace(
            item,
            split="val" if (item.group is not None, item.id if item.group is None else item.group) in val else "train",
        )
        for item in items
    ]
