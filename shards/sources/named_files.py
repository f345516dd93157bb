"""Files whose names say what they are, such as ``7_jackson_12.wav`` or ``S001C002P003R002A013.skeleton``."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from vidflow.errors import ConfigError, DataError
from vidflow.shards.files import is_folder_at
from vidflow.shards.sources.class_folders import walk_videos
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.items import SourceItem, SourceList, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row
from vidflow.shards.sources.splitting import check_groups, check_ratio, split_by_ratio

_SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class SplitRule:
    """``val=subject % 2 == 0``, or ``train`` alone for all that no rule before it has taken."""

    split: str
    condition: str | None

    @classmethod
    def parse(cls, text: str) -> "SplitRule":
        """From the command line.

        Raises:
            ConfigError: no split name before the equals sign.
        """
        split, separator, condition = text.partition("=")
        if not _SPLIT_NAME.fullmatch(split.strip()) or (separator and not condition.strip()):
            raise ConfigError(
                f"--split-rule {text!r}: write one such as 'train=subject % 2 == 1', or 'val' for the rest"
            )
        return cls(split.strip(), condition.strip() or None)


def _compiled(regex: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(f"--name-regex {regex!r}: not a regular expression ({error})") from error
    if "label" not in pattern.groupindex:
        raise ConfigError(f"--name-regex {regex!r}: has no (?P<label>...), the part of the name that is the class")
    return pattern


def splits_by_rules(matches: Sequence[re.Match[str]], rules: Sequence[SplitRule]) -> list[str]:
    """The split of each name by the first rule that holds; empty where none does.

    Raises:
        ConfigError: a rule that does not work.
    """
    table = pd.DataFrame([match.groupdict() for match in matches])
    for name in table.columns:
        # Longer ones do not fit into 64 bits, and stay texts.
        if table[name].notna().all() and table[name].str.fullmatch(r"\d{1,18}").all():
            table[name] = table[name].astype("int64")
    found = pd.Series([""] * len(matches))
    for rule in rules:
        holds = found == ""
        if rule.condition is not None:
            try:
                # Nothing but the names' parts is in scope.
                value = table.eval(rule.condition, engine="python", local_dict={}, global_dict={})
            except Exception as error:
                names = ", ".join(map(str, table.columns))
                raise ConfigError(
                    f"--split-rule {rule.split}={rule.condition}: does not work ({error}); the names have {names}"
                ) from error
            if not isinstance(value, pd.Series) or value.dtype != bool:
                raise ConfigError(f"--split-rule {rule.split}={rule.condition}: is no condition on the names")
            holds &= value
        found[holds] = rule.split
    return [str(split) for split in found]


def read_named_files(
    source: str | os.PathLike[str],
    regex: str,
    *,
    accepts: Callable[[str], bool],
    rules: Sequence[SplitRule] = (),
    split: float | None = None,
    seed: int = 0,
    only: Path | None = None,
    leave_out: Path | None = None,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    first_label: int = 0,
) -> SourceList:
    """List files by what their names say.

    Args:
        source: folder; files may lie at any depth.
        regex: matched at the start of the file name without its extension. The group ``label`` is the class, ``group``
            keeps clips together, and all named groups can be used in rules; up to 18 digits are a number there.
        accepts: which file names are samples, by their extension.
        rules: the split of each file, by the first rule that holds.
        split: share of train, in place of rules.
        only: file with one name per line (what ``regex`` matches): all others are passed over.
        leave_out: file with one name per line: these are passed over; its other lines mean nothing.
        classes: class names in the order of their indices.
        num_classes: how many there are, where labels are numbers.
        first_label: the number of the first class in the names, 0 or 1.

    Raises:
        DataError: no files, names of ``only`` without a file, labels that do not fit, or files that no rule takes.
        ConfigError: a pattern or a rule that does not work.
    """
    root = Path(source)
    if not is_folder_at(root):
        raise DataError(f"{root}: no such folder")
    if (split is None) == (not rules):
        raise ConfigError("give --split-rule, such as 'train=subject % 2 == 1', or else --split 0.9")
    pattern = _compiled(regex)
    skipped: Counter[str] = Counter()
    wanted = None if only is None else {line.strip(): number for number, line in read_lines(only)}
    unwanted = set() if leave_out is None else {line.strip() for _, line in read_lines(leave_out)}
    found: list[tuple[str, re.Match[str]]] = []
    for path in walk_videos(os.fspath(root), (), skipped, accepts):
        match = pattern.match(PurePosixPath(path).stem)
        if match is None:
            skipped["name that --name-regex does not match"] += 1
        elif wanted is not None and match[0] not in wanted:
            skipped["name that is not in --only"] += 1
        elif match[0] in unwanted:
            skipped["name that is in --leave-out"] += 1
        else:
            found.append((path, match))
    if not found:
        listed = ", ".join(f"{count} x {reason}" for reason, count in skipped.most_common()) or "it is empty"
        raise DataError(f"{root}: no file fits --name-regex {regex!r}: {listed}")
    if wanted is not None and (
        lost := sorted(wanted.keys() - {match[0] for _, match in found}, key=wanted.__getitem__)
    ):
        raise DataError(
            f"{only}:{wanted[lost[0]]}: no file for {lost[0]!r} and {len(lost) - 1} other names below {root}"
        )
    prefix = len(os.path.join(os.fspath(root), ""))  # noqa: PTH118 -- a length in the plain string
    rows = [Row(text_of(path), text_of(path[prefix:]), (match["label"],)) for path, match in found]
    indices, class_names, warnings = resolve_labels(
        rows, classes=classes, num_classes=num_classes, first_label=first_label
    )
    groups = [match.groupdict().get("group") for _, match in found]
    splits = splits_by_rules([match for _, match in found], rules) if rules else [""] * len(found)
    items = [
        SourceItem(path, row.path, name, labels, None if group is None else text_of(group))
        for (path, _), row, name, labels, group in zip(found, rows, splits, indices, groups, strict=True)
    ]
    if split is not None:
        check_ratio(split)
        items = split_by_ratio(items, ratio=split, seed=seed)
    elif untaken := [item.id for item in items if not item.split]:
        raise DataError(
            f"no --split-rule takes {len(untaken)} of {len(items)} files, such as {untaken[0]}; "
            "add one, or a split name alone for the rest"
        )
    check_groups(items)
    options: dict[str, object] = {"source": "named files", "name_regex": regex, "split": split}
    options |= {"first_label": first_label}
    if rules:
        options["split_rules"] = [
            rule.split if rule.condition is None else f"{rule.split}={rule.condition}" for rule in rules
        ]
    if split is not None:
        options["split_seed"] = seed
    return SourceList(root.resolve().name, tuple(items), class_names, False, skipped, tuple(warnings), options)


def with_reader(source: SourceList, reader: object, *, task: str, **options: object) -> SourceList:
    """The same samples, each read by ``reader``; ``options`` are noted in dataset.json."""
    items = tuple(replace(item, reader=reader) for item in source.items)  # type: ignore[arg-type]
    return replace(source, items=items, task=task, options=source.options | options)
