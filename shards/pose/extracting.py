"""One video in, one skeleton archive out: what a worker process does, and what decides the result."""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidflow.errors import ConfigError
from vidflow.media.decode import iter_rgb_frames
from vidflow.media.probe import OnDamage, probe_video
from vidflow.schema import VideoInfo
from vidflow.shards.extraction.jobs import Job
from vidflow.shards.extraction.sources import FoundFiles, names_of
from vidflow.shards.pose.archive import SkeletonArchive, write_archive
from vidflow.shards.pose.estimator import TimedFrame, checked, find_estimator, make_estimator
from vidflow.shards.pose.following import Follower


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseOptions:
    """What decides the skeletons; picklable.

    Raises:
        ConfigError: no people, no such model file, or an estimator that cannot be imported.
    """

    estimator: str
    """See ``find_estimator``."""
    model: str | None = None
    """Path of a model file, where the estimator takes one."""
    max_people: int = 2
    """Largest number of rows, and of people per frame."""
    on_damage: OnDamage = "error"

    def __post_init__(self) -> None:
        if self.max_people < 1:
            raise ConfigError(f"--max-people {self.max_people}: must be at least 1")
        if self.model is not None and not Path(self.model).is_file():
            raise ConfigError(f"--model {self.model}: no such file")
        find_estimator(self.estimator)

    def table(self) -> dict[str, Any]:
        """All that decides the result, for the ledger: of the model its content, not where it lies."""
        model = None if self.model is None else hashlib.sha256(Path(self.model).read_bytes()).hexdigest()
        package = self.estimator.partition(":")[0].partition(".")[0]
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = None  # a module of the user's own has none
        return asdict(self) | {"model": model, "version": version}


def pose_jobs(found: FoundFiles) -> list[Job]:
    """One ``.npz`` file per video."""
    names = names_of(found.files, ".npz")
    return [Job(file.id, file.path, (name,)) for file, name in zip(found.files, names, strict=True)]


def estimate_skeletons(source: Path, info: VideoInfo, options: PoseOptions) -> SkeletonArchive:
    """Find and follow the people of a probed video, frame by frame.

    Raises:
        DecodeError: the video does not decode.
        DataError: the estimator gives values that are not finite.
        ConfigError: an estimator that cannot be made, or that breaks its protocol.
    """
    estimator = make_estimator(options.estimator, options.model, options.max_people)
    follower = Follower(options.max_people)
    found = estimator.estimate(_timed_frames(source, info))
    for people in checked(found, info.num_frames, options.estimator, source):
        follower.add(people)
    keypoints, scores = follower.result()
    return SkeletonArchive(keypoints, scores, info.seconds, (info.width, info.height), "coco")


def extract_pose(job: Job, parts: tuple[Path, ...], options: PoseOptions) -> dict[str, int]:
    """Write the skeletons of a video; the work of one job.

    Returns:
        Number of frames, of frames with somebody, and of people.

    Raises:
        DecodeError, DataError, ConfigError: as ``estimate_skeletons`` says.
    """
    source = Path(job.source)
    info = probe_video(source, on_damage=options.on_damage)
    archive = estimate_skeletons(source, info, options)
    write_archive(parts[0], archive)
    seen = archive.keypoints.any(axis=(2, 3))  # [M, T]
    return {
        "num_frames": info.num_frames,
        "num_frames_with_people": int(np.count_nonzero(seen.any(axis=0))),
        "num_people": len(archive.keypoints),
    }


def _timed_frames(source: Path, info: VideoInfo) -> Iterator[TimedFrame]:
    for pixels, seconds in zip(iter_rgb_frames(source, info), info.seconds.tolist(), strict=True):
        yield TimedFrame(pixels, seconds)
