"""Cutting as jobs: one per clip, or one per video that is divided into parts of equal length; and the list of clips."""

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidflow.errors import ConfigError, DataError
from vidflow.media.probe import probe_video
from vidflow.media.window import TOLERANCE_SECONDS, Window
from vidflow.shards.cutting.copied import copy_suffix, copy_window
from vidflow.shards.cutting.encoded import CutVideo, encode_window
from vidflow.shards.cutting.lists import Cut
from vidflow.shards.cutting.videos import Videos
from vidflow.shards.extraction.jobs import Job, JobReport, Work
from vidflow.shards.extraction.sources import Found, names_of
from vidflow.shards.files import write_whole
from vidflow.shards.journal import FOLDER_NAME
from vidflow.shards.profiles import Profile
from vidflow.shards.recipes.finding import AmbiguousError
from vidflow.shards.sources.lines import raise_all

COMMAND, LIST_NAME = "cut", "clips.csv"
_WRITTEN_NAME = "lists.sha256"
"""In the ledger's folder: checksums of the lists that were written, one a line."""
SHORT_SECONDS = 0.5
"""A clip that ends this much before the annotation says is counted as short."""


@dataclass(frozen=True, kw_only=True)
class CutOptions:
    """How clips are made; ``copy`` keeps the bytes from key frame to key frame, and has no profile."""

    profile: Profile
    fps: float | None = None
    copy: bool = False
    every: float | None = None
    """Seconds of each part, where whole videos are divided."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ConfigError(f"--fps {self.fps:g}: must be positive")
        if self.copy and self.fps is not None:
            raise ConfigError("--fps has no effect on --copy, which keeps the bytes")
        if not self.copy and not self.profile.encodes:
            raise ConfigError(f"--profile {self.profile.name}: keeps the bytes; give --copy for that")

    def table(self) -> dict[str, Any]:
        """All that decides the content of the clips."""
        made = {"copy": True} if self.copy else {**self.profile.options(), "fps": self.fps}
        return made if self.every is None else made | {"every": self.every}


def clip_jobs(
    cuts: Sequence[Cut], videos: Videos, *, copy: bool, allow_missing: bool
) -> tuple[list[Job], dict[str, Cut], list[str]]:
    """A job per clip whose video is there, the clips by the ids of their jobs, and the names of missing videos.

    Raises:
        DataError: videos are missing and must not be, or a name fits several files.
    """
    jobs: list[Job] = []
    by_id: dict[str, Cut] = {}
    missing: dict[str, str] = {}
    problems: dict[str, str] = {}
    for cut in cuts:
        try:
            file = videos.find(cut.video)
        except AmbiguousError as error:
            problems[cut.video] = f"{cut.where}: {cut.video} may be {error}; leave one of them there"
            continue
        if file is None:
            missing[cut.video] = f"{cut.where}: {cut.video}"
            continue
        suffix = copy_suffix(file.name) if copy else ".mp4"
        details = {"start": cut.start, "end": cut.end}
        jobs.append(Job(cut.name, file.path, (f"{cut.name}{suffix}",), details))
        by_id[cut.name] = cut
    raise_all(list(problems.values()), "videos that are no single file:")
    if missing and not allow_missing:
        raise_all(
            list(missing.values()),
            f"of {len({cut.video for cut in cuts})} annotated videos are missing",
            "; give --allow-missing to go on without them\n  missing:",
        )
    if not jobs:
        raise DataError(f"none of {len(missing)} annotated videos is there, such as {next(iter(missing))}")
    return jobs, by_id, list(missing)


def part_jobs(files: Sequence[Found], every: float) -> list[Job]:
    """A job per video: a folder of its parts, ``part_0.mp4`` and so on.

    Raises:
        ConfigError: parts without a length.
    """
    if not 0 < every < math.inf:
        raise ConfigError(f"--every {every:g}: must be a positive number of seconds")
    return [
        Job(file.id, file.path, (name,), {"every": every}) for file, name in zip(files, names_of(files), strict=True)
    ]


def clip_work(options: CutOptions) -> Work:
    """What makes one clip."""
    return partial(_cut_clip, options=options)


def part_work(options: CutOptions) -> Work:
    """What makes the folder of a video's parts."""
    if options.copy:
        raise ConfigError("--copy cuts at key frames only, and parts of equal length begin anywhere; leave it out")
    return partial(_cut_parts, options=options)


def _cut_clip(job: Job, outputs: tuple[Path, ...], *, options: CutOptions) -> Mapping[str, Any]:
    """In a worker process: the clip at its temporary path; gives where it really begins and ends."""
    window = Window(job.details["start"], job.details["end"], options.fps)
    if options.copy:
        made = copy_window(Path(job.source), window, outputs[0], Path(job.outputs[0]).suffix)
    else:
        made = encode_window(Path(job.source), window, outputs[0], options.profile)
    return _note(made)


def _cut_parts(job: Job, outputs: tuple[Path, ...], *, options: CutOptions) -> Mapping[str, Any]:
    """In a worker process: all parts of a video in a temporary folder."""
    every = job.details["every"]
    source, folder = Path(job.source), outputs[0]
    # Probing knows each frame, so that no part is missed and none is empty.
    last = probe_video(source).seconds[-1]
    folder.mkdir()
    parts = []
    for number in range(int((last + TOLERANCE_SECONDS) // every) + 1):
        window = Window(number * every, (number + 1) * every, options.fps)
        name = f"part_{number}.mp4"
        parts.append({"name": name, **_note(encode_window(source, window, folder / name, options.profile))})
    return {"parts": parts}


def _note(made: CutVideo) -> dict[str, Any]:
    return {
        "start": round(made.start_seconds, 6),
        "end": round(made.end_seconds, 6),
        "num_frames": made.info.num_frames,
    }


def num_short(report: JobReport, clips: Mapping[str, Cut]) -> int:
    """Clips that end clearly before their annotation says, because their video does."""
    return sum(report.notes[id]["end"] < cut.end - SHORT_SECONDS for id, cut in clips.items() if id in report.notes)


def refuse_foreign_list(out: Path) -> None:
    """Refuse to replace a list that this command has not written, or that was edited since.

    Raises:
        DataError: there is one.
    """
    path, written = out / LIST_NAME, out / FOLDER_NAME / COMMAND / _WRITTEN_NAME
    if not path.exists():
        return
    known = written.read_text().split() if written.exists() else []
    if hashlib.sha256(path.read_bytes()).hexdigest() not in known:
        raise DataError(
            f"{path}: is there already, and not as `vidflow cut` has written it; rename it, or give another --out"
        )


def write_list(out: Path, jobs: Sequence[Job], clips: Mapping[str, Cut], report: JobReport) -> int:
    """Write the CSV of all clips that are there, for ``vidflow shard --annotations``; gives how many they are.

    Its columns are path, source (the video), start and end (as they really are, in seconds of the video), and label and
    split where the annotations have them.
    """
    has_label = any(cut.label is not None for cut in clips.values())
    has_split = any(cut.split is not None for cut in clips.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "source", "start", "end", *(["label"] * has_label), *(["split"] * has_split)])
    count = 0
    for job in jobs:
        note = report.notes.get(job.id)
        if note is None:
            continue
        source = clips[job.id].video if job.id in clips else job.outputs[0]
        for part in note.get("parts", [note]):
            path = f"{job.outputs[0]}/{part['name']}" if "name" in part else job.outputs[0]
            row = [path, source, part["start"], part["end"]]
            if has_label:
                row.append(clips[job.id].label or "")
            if has_split:
                row.append(clips[job.id].split or "")
            writer.writerow(row)
            count += 1
    # Names that are not UTF-8 keep their bytes.
    data, folder = text.getvalue().encode(errors="surrogateescape"), out / FOLDER_NAME / COMMAND
    with (folder / _WRITTEN_NAME).open("a") as file:  # before the list itself, lest a killed run leaves a strange one
        file.write(f"{hashlib.sha256(data).hexdigest()}\n")
    write_whole(out / LIST_NAME, data, part=folder / f"{LIST_NAME}.part")
    return count
