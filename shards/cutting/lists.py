"""What shall be cut out of which video, from the annotations of known data sets or a table.

Names are those of the field where it has some: ``<video>_<event>_<sub-action>`` for FineGym,
``<video>_<start>_<end>`` with six digits for AVA-Kinetics.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from vidflow.errors import ConfigError, DataError
from vidflow.shards.recipes.listing import csv_rows, json_value
from vidflow.shards.sources.items import has_video_extension
from vidflow.shards.sources.lines import raise_all

Format = Literal["finegym-events", "finegym-actions", "activitynet", "ava", "table"]

AVA_SPAN = (900.0, 1801.0)
"""Seconds of AVA's films that are annotated (arXiv:1705.08421; the end as in MMAction2's cut_videos.sh)."""
KEY_TIME_MARGIN_SECONDS = 2.0
"""Around the key times of a Kinetics clip, as in MMAction2's cut_kinetics.py."""

# Usual names of a table's columns; the first that the header has is taken.
_COLUMNS = {
    "path": ("path", "youtube_id"),
    "start": ("start", "time_start"),
    "end": ("end", "time_end"),
    "label": ("classname", "label"),
    "split": ("split", "subset"),
}
_SUBSETS = {"training": "train", "validation": "val", "testing": "test"}


@dataclass(frozen=True, slots=True)
class Cut:
    """One clip that shall be."""

    where: str
    """Place in the annotations."""
    video: str
    """Name of the video there: its id, or a path below the source folder."""
    start: float
    end: float
    """Seconds from the video's first frame."""
    name: str
    """Path of the clip below the output folder, without extension."""
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class CutList:
    """All clips of an annotation file, and what it names besides."""

    cuts: tuple[Cut, ...]
    left_out: Counter[str]


def guess_format(file: Path) -> Format:
    """The format of an annotation file, by its content.

    Raises:
        DataError: it cannot be read.
        ConfigError: it is none of them.
    """
    if file.suffix.lower() != ".json":
        where, header = next(csv_rows(file), (str(file), []))
        columns = {cell.lower() for cell in header}
        if all(columns.intersection(_COLUMNS[role]) for role in ("path", "start", "end")):
            return "table"
        if len(header) in (2, 7, 8) and re.fullmatch(r"[\d.]+", header[1]):
            return "ava"
        raise ConfigError(f"{where}: neither a header with path, start and end, nor AVA's lines; give --format")
    content = json_value(file, dict)
    table = content.get("database", content)
    entry = next(iter(table.values()), None) if isinstance(table, dict) else None
    if isinstance(entry, dict) and "annotations" in entry:
        return "activitynet"
    if isinstance(entry, dict) and all(isinstance(event, dict) and "timestamps" in event for event in entry.values()):
        return "finegym-actions"
    raise ConfigError(f"{file}: neither ActivityNet's form nor FineGym's; give --format")


def read_cuts(
    files: Sequence[Path], layout: Format | None, spans: Mapping[str, list[tuple[str, float, float]]]
) -> CutList:
    """All clips that annotation files ask for; those that are named twice, once.

    Args:
        layout: of all files; None finds it in each.
        spans: id -> (name of a file, its start, its end in seconds of the original), for AVA's format.

    Raises:
        DataError: the file does not parse, or two different clips would have one name.
    """
    left_out: Counter[str] = Counter()
    seen: dict[str, Cut] = {}
    problems = []
    for cut in itertools.chain.from_iterable(_read(file, layout, spans, left_out) for file in files):
        other = seen.setdefault(cut.name, cut)
        if other is cut:
            continue
        if (other.video, other.start, other.end, other.label, other.split) == (
            cut.video, cut.start, cut.end, cut.label, cut.split,
        ):  # fmt: skip
            left_out["clip that is there twice"] += 1
        else:
            problems.append(f"{cut.where}: {cut.name} would be another clip than at {other.where}")
    raise_all(problems, "clips of one name:")
    if not seen:
        raise DataError(f"{', '.join(map(str, files))}: names nothing to cut")
    return CutList(tuple(seen.values()), left_out)


def _read(
    file: Path,
    layout: Format | None,
    spans: Mapping[str, list[tuple[str, float, float]]],
    left_out: Counter[str],
) -> Iterator[Cut]:
    layout = layout or guess_format(file)
    return _ava(file, spans, left_out) if layout == "ava" else _READERS[layout](file, left_out)


def _span(start: Any, end: Any) -> tuple[float, float]:
    """Two finite numbers that are no times yet may be empty.

    Raises:
        ValueError: they are not.
    """
    low, high = float(start), float(end)
    if not (math.isfinite(low) and math.isfinite(high) and low >= 0):
        raise ValueError(f"[{start}, {end}] is no stretch of a video")
    return low, high


def _finegym(file: Path, left_out: Counter[str], *, actions: bool) -> Iterator[Cut]:
    """``{video: {"E_002407_002435": {"timestamps": [[s, e]], "segments": {"A_0003_0005": {"timestamps": ...}}}}}``.

    Times of sub-actions count from their event's start; a sub-action of several stages goes from the first to the last.
    """
    problems = []
    for video, events in json_value(file, dict).items():
        try:
            for event, content in events.items():
                start, end = _span(*content["timestamps"][0])
                parts = [("", start, end)]
                if actions:
                    segments = (content.get("segments") or {}).items()
                    times = [(name, segment["timestamps"]) for name, segment in segments]
                    parts = [(f"_{name}", *_span(start + t[0][0], start + t[-1][1])) for name, t in times]
                for suffix, low, high in parts:
                    if not low < high:
                        left_out["stretch without a length"] += 1
                        continue
                    yield Cut(f"{file}: {video}", video, low, high, f"{video}_{event}{suffix}")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{file}: {video}: no events with timestamps and segments ({error!r})")
    raise_all(problems, "videos that do not parse:")


def _finegym_events(file: Path, left_out: Counter[str]) -> Iterator[Cut]:
    return _finegym(file, left_out, actions=False)


def _finegym_actions(file: Path, left_out: Counter[str]) -> Iterator[Cut]:
    return _finegym(file, left_out, actions=True)


def _activitynet(file: Path, left_out: Counter[str]) -> Iterator[Cut]:
    """``{"database": {id: {"subset", "annotations": [{"label", "segment": [start, end]}]}}}``, as HACS has it, too."""
    content = json_value(file, dict)
    problems = []
    for video, entry in content.get("database", content).items():
        where = f"{file}: {video}"
        try:
            split = _SUBSETS.get(entry["subset"], entry["subset"])
            for note in entry.get("annotations") or ():
                label, (start, end) = note["label"], _span(*note["segment"])
                if not isinstance(label, str) or not isinstance(split, str):
                    raise ValueError("label and subset must be texts")
                if not start < end:
                    left_out["stretch without a length"] += 1
                    continue
                folder = f"{_plain(split)}/{_plain(label)}"
                yield Cut(where, video, start, end, f"{folder}/{video}_{start:.2f}_{end:.2f}", label, split)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{where}: no subset, label and segment [start, end] ({error!r})")
    raise_all(problems, "entries that do not parse:")


def _plain(name: str) -> str:
    """A name as one folder."""
    return re.sub(r"[/\\\0]", "_", name).strip(" .") or "_"


def _ava(file: Path, spans: Mapping[str, list[tuple[str, float, float]]], left_out: Counter[str]) -> Iterator[Cut]:
    """Lines of ``video,second,...``: minutes 15 to 30 of a film; of a Kinetics clip, the key times and 2 s around."""
    times: dict[str, list[float]] = {}
    places: dict[str, str] = {}
    problems = []
    for where, cells in csv_rows(file):
        try:
            second = _span(cells[1], cells[1])[0]
        except (IndexError, ValueError):
            problems.append(f"{where}: no 'video,second,...' in {','.join(cells)!r}")
            continue
        places.setdefault(cells[0], where)
        times.setdefault(cells[0], []).append(second)
    raise_all(problems, "lines that do not parse:")
    for video, seconds in times.items():
        if video not in spans:
            yield Cut(places[video], video, *AVA_SPAN, video)
            continue
        outside = set(seconds)
        for path, start, end in spans[video]:
            inside = [second for second in seconds if start < second < end]
            outside -= set(inside)
            if inside:
                low = math.floor(max(start, min(inside) - KEY_TIME_MARGIN_SECONDS))
                high = math.ceil(min(end, max(inside) + KEY_TIME_MARGIN_SECONDS))
                yield Cut(places[video], path, low - start, high - start, f"{video}_{low:06d}_{high:06d}")
        left_out["key time in none of the video's clips"] += len(outside)


def _table(file: Path, left_out: Counter[str]) -> Iterator[Cut]:
    """A CSV with the columns path, start, end, and perhaps label, split and name (of the clip, without extension).

    Tables of YouTube videos, as Kinetics and HACS Clips have them, give ``<split>/<class>/<id>_000012_000022``; where a
    column classname is there, a label -1 says that the clip does not show the class.
    """
    rows = csv_rows(file)
    where, header = next(rows, (str(file), []))
    columns = [cell.lower() for cell in header]
    roles = {role: next((name for name in names if name in columns), "") for role, names in _COLUMNS.items()}
    if missing := [role for role in ("path", "start", "end") if not roles[role]]:
        raise DataError(f"{where}: no column {', '.join(missing)} in {','.join(header)!r}")
    problems = []
    for where, cells in rows:
        values = dict(zip(columns, cells, strict=False))
        path, label, split = (values.get(roles[role], "") for role in ("path", "label", "split"))
        try:
            if len(cells) != len(columns) or not path:
                raise ValueError(f"{len(cells)} cells, or no path")
            start, end = _span(values[roles["start"]], values[roles["end"]])
            if not start < end:
                raise ValueError(f"[{start:g}, {end:g}] has no length")
        except ValueError as error:
            problems.append(f"{where}: no path, start and end in seconds in {','.join(cells)!r} ({error})")
            continue
        if roles["label"] == "classname" and values.get("label") == "-1":
            left_out["clip that does not show its class"] += 1
            continue
        split = _SUBSETS.get(split, split)
        name = values.get("name") or _table_name(path, start, end)
        if roles["path"] == "youtube_id" and "name" not in columns:
            name = "/".join([*(_plain(folder) for folder in (split, label) if folder), name])
        yield Cut(where, path, start, end, name, label or None, split or None)
    raise_all(problems, "lines that do not parse:")


def _table_name(path: str, start: float, end: float) -> str:
    stem = str(PurePosixPath(path).with_suffix("")) if has_video_extension(path) else path
    is_whole = start.is_integer() and end.is_integer()
    return f"{stem}_{int(start):06d}_{int(end):06d}" if is_whole else f"{stem}_{start:.2f}_{end:.2f}"


_READERS: dict[str, Callable[[Path, Counter[str]], Iterator[Cut]]] = {
    "finegym-events": _finegym_events,
    "finegym-actions": _finegym_actions,
    "activitynet": _activitynet,
    "table": _table,
}
