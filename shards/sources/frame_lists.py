"""Lists of frame folders as TSN and MMAction2 use them: ``folder [offset] total_frames label`` lines."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidflow.errors import ConfigError, DataError
from vidflow.shards.files import is_folder_at
from vidflow.shards.sources.annotations import SAME_PATH
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.frame_folders import FrameFolder
from vidflow.shards.sources.items import SourceItem, SourceList, text_of
from vidflow.shards.sources.labels import resolve_labels
from vidflow.shards.sources.lines import Row, raise_all
from vidflow.shards.sources.splitting import check_ratio, split_by_ratio

_WHOLE = re.compile(r"\d{1,4000}")  # Python makes no number of more digits


@dataclass(frozen=True, slots=True)
class _Line:
    row: Row
    folder: str
    offset: int
    num_frames: int


def _parse(
    line: str, where: str, *, with_offset: bool, multi_label: bool
) -> tuple[str, list[int], tuple[str, ...]] | str:
    """Folder, the numbers (offset, total) and labels; or what is wrong."""
    num_numbers = 2 if with_offset else 1
    # The folder may hold spaces; single labels are one word, so the numbers can be counted from the end.
    words = re.split(r"[\s,]+", line.strip())
    if "\t" in line:
        folder, _, rest = line.strip().partition("\t")
        words = [folder.strip(), *re.split(r"[\s,]+", rest.strip())]
    form = f"folder {'offset ' if with_offset else ''}total_frames label"
    if len(words) < num_numbers + 2:
        return f"{where}: {line.strip()!r} is not '{form}'"
    if multi_label:
        first = next((i for i, word in enumerate(words) if i and _WHOLE.fullmatch(word)), len(words))
        folder_words, values = words[:first], words[first:]
    else:
        folder_words, values = words[: -num_numbers - 1], words[-num_numbers - 1 :]
    numbers, labels = values[:num_numbers], values[num_numbers:]
    if not labels or not all(_WHOLE.fullmatch(number) for number in numbers):
        return f"{where}: {line.strip()!r} is not '{form}'"
    if int(numbers[-1]) < 1:
        return f"{where}: total_frames is {numbers[-1]}"
    if not multi_label and len(folder_words) > 1 and _WHOLE.fullmatch(folder_words[-1]):
        return f"{where}: {line.strip()!r} has a number too many for '{form}'; see --with-offset and --multi-label"
    return " ".join(folder_words), [int(number) for number in numbers], tuple(labels)


def read_frame_lists(
    files: Sequence[tuple[str | None, Path]],
    *,
    root: Path | None = None,
    with_offset: bool = False,
    multi_label: bool = False,
    template: str | None = None,
    fps: float | None = None,
    split: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    num_classes: int | None = None,
    first_label: int = 0,
    allow_missing: bool = False,
) -> SourceList:
    """List the frame folders that files name. A line that repeats another word for word counts once.

    Args:
        files: split (None needs ``split``) and file each.
        root: folder that the lines' folders are relative to; None takes each list's own.
        with_offset: a line has the number of frames to leave out at the folder's start, before their total.
        multi_label: any number of labels per line.
        template: names of the frames, such as ``img_%05d.jpg``; None finds them.
        fps: frames per second, where known.
        split: share of train, for lists without splits.
        seed: decides the split.
        classes: class names in the order of their indices.
        num_classes: how many there are, where labels are numbers.
        first_label: the number of the first class, 0 or 1.
        allow_missing: leave folders that are missing to be rejected in packing.

    Raises:
        DataError: with file:line, what does not parse, labels that do not fit, missing folders, a sample twice, or two
            folders of one path.
    """
    lines: list[_Line] = []
    problems: list[str] = []
    for given, file in files:
        if (given is None) == (split is None):
            raise ConfigError(f"--annotations {file}: give SPLIT={file} or --split 0.9, one of them")
        folder_of = root if root is not None else file.parent
        for number, line in read_lines(file):
            where = f"{file}:{number}"
            parsed = _parse(line, where, with_offset=with_offset, multi_label=multi_label)
            if isinstance(parsed, str):
                problems.append(parsed)
                continue
            name, numbers, labels = parsed
            path = os.path.join(folder_of, name)  # noqa: PTH118 -- perhaps a million, and a string is what is kept
            offset = numbers[0] if with_offset else 0
            lines.append(_Line(Row(where, name, labels, given or ""), path, offset, numbers[-1]))
    raise_all(problems, "lines that do not parse:")
    if not lines:
        raise DataError(f"{files[0][1]}: no lines in it")
    if not allow_missing:
        lost = [f"{line.row.where}: {text_of(line.folder)}" for line in lines if not is_folder_at(line.folder)]
        raise_all(lost, "folders of the list are missing; mend it, or give --allow-missing to go on without them:")
    indices, class_names, warnings = resolve_labels(
        [line.row for line in lines], classes=classes, num_classes=num_classes, first_label=first_label
    )
    items, skipped = _items(lines, indices, template, fps, with_offset=with_offset)
    if split is not None:
        check_ratio(split)
        items = split_by_ratio(items, ratio=split, seed=seed)
    options: dict[str, object] = {"source": "frame lists", "split": split, "with_offset": with_offset}
    options |= {"template": template, "fps": fps, "first_label": first_label}
    if split is not None:
        options["split_seed"] = seed
    name = (root if root is not None else files[0][1].parent).resolve().name
    return SourceList(name, tuple(items), class_names, multi_label, skipped, tuple(warnings), options)


def _items(
    lines: Sequence[_Line],
    indices: Sequence[tuple[int, ...]],
    template: str | None,
    fps: float | None,
    *,
    with_offset: bool,
) -> tuple[list[SourceItem], Counter[str]]:
    """One item per folder and offset; exact repeats once."""
    skipped: Counter[str] = Counter()
    seen: dict[tuple[str, int], tuple[_Line, tuple[int, ...]]] = {}
    named: dict[str, _Line] = {}
    items, problems, alike = [], [], []
    for line, labels in zip(lines, indices, strict=True):
        place = (os.path.normpath(line.folder), line.offset)
        first, first_labels = seen.setdefault(place, (line, labels))
        if first is line:
            # Several samples of one folder need names of their own; such folders are the groups.
            name = text_of(line.row.path)
            other = named.setdefault(name, line)
            if os.path.normpath(other.folder) != place[0]:
                alike.append(
                    f"{line.row.where}: {name} is {text_of(line.folder)}, at {other.row.where} {text_of(other.folder)}"
                )
            items.append(
                SourceItem(
                    line.folder,
                    f"{name}/{line.offset}" if with_offset else name,
                    line.row.split or "",
                    labels,
                    name if with_offset else None,
                    FrameFolder(template, line.offset, line.num_frames, fps),
                )
            )
        elif (first.row.split, first.num_frames, first_labels) == (line.row.split, line.num_frames, labels):
            skipped["line that repeats another"] += 1
        else:
            problems.append(f"{line.row.where}: {text_of(line.row.path)} was at {first.row.where} already, otherwise")
    raise_all(problems, "folders are listed twice; leave one line each:")
    raise_all(alike, SAME_PATH)
    return items, skipped
