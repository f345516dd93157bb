"""Arrays as ``vidflow unpack`` writes them: a folder per sample with its ``.npy`` members and ``info.json``.

``info.json`` is what the record says of the media, under the name of the kind: ``{"skeleton": {"width": 340, ...}}``.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from vidflow.errors import DataError
from vidflow.members import FEATURE, KEYPOINT, SCORE, from_npy
from vidflow.schema import FeatureInfo, SkeletonInfo
from vidflow.shards.contents import Contents
from vidflow.shards.sources.feature_files import feature_contents
from vidflow.shards.sources.items import SampleReader
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents

INFO_NAME = "info.json"


def info_json(info: SkeletonInfo | FeatureInfo, kind: str) -> bytes:
    """The content of ``info.json``."""
    return (json.dumps({kind: info.model_dump(mode="json")}, indent=1) + "\n").encode()


def _info(folder: Path, kind: str) -> object:
    file = folder / INFO_NAME
    try:
        return json.loads(file.read_bytes())[kind]
    except FileNotFoundError as error:
        raise DataError(f"{folder}: a folder without {INFO_NAME}, not written by vidflow unpack") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: says nothing about a sample of kind {kind} ({error!r})") from error


@dataclass(frozen=True, slots=True)
class UnpackedSkeleton:
    """Reader of unpacked skeletons; ``other`` reads what is no folder."""

    policy: SkeletonPolicy
    """What it says of layout and rate goes before what ``info.json`` says."""
    other: SampleReader

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints and scores as they were packed."""
        folder = Path(path)
        if not folder.is_dir():
            return self.other.read(path, conceal=conceal)
        try:
            info = SkeletonInfo.model_validate(_info(folder, "skeleton"))
        except ValidationError as error:
            raise DataError(f"{folder / INFO_NAME}: {error}") from error
        keypoints = from_npy((folder / KEYPOINT).read_bytes(), str(folder / KEYPOINT))
        scores = from_npy((folder / SCORE).read_bytes(), str(folder / SCORE)) if info.has_scores else None
        policy = replace(
            self.policy, layout=self.policy.layout or info.layout, fps=self.policy.fps or info.fps, nobody="keep"
        )
        size = (info.width, info.height) if info.width and info.height else None
        contents = skeleton_contents(keypoints, scores, policy, conceal=conceal, size=size)
        assert isinstance(contents.info, SkeletonInfo)
        damaged = contents.info.num_damaged + info.num_damaged
        return replace(contents, info=contents.info.model_copy(update={"num_damaged": damaged}))


@dataclass(frozen=True, slots=True)
class UnpackedFeature:
    """Reader of unpacked features; ``other`` reads what is no folder."""

    other: SampleReader

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Features as they were packed."""
        folder = Path(path)
        if not folder.is_dir():
            return self.other.read(path, conceal=conceal)
        try:
            info = FeatureInfo.model_validate(_info(folder, "feature"))
        except ValidationError as error:
            raise DataError(f"{folder / INFO_NAME}: {error}") from error
        array = from_npy((folder / FEATURE).read_bytes(), str(folder / FEATURE))
        return feature_contents(array, info.duration, info.seconds_per_step)
