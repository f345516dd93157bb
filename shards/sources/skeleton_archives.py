"""Skeletons in ``.npz`` files, one sample each, as ``vidflow extract pose`` writes them."""

from dataclasses import dataclass, replace
from pathlib import Path

from vidflow.shards.contents import Contents
from vidflow.shards.pose.archive import SkeletonArchive, read_archive
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy, skeleton_contents


@dataclass(frozen=True, slots=True)
class SkeletonNpz:
    """Reader of such a file; what the policy says of layout and rate goes before what the file says."""

    policy: SkeletonPolicy

    def read(self, path: str, *, conceal: bool) -> Contents:
        """Keypoints [M, T, K, C] and scores [M, T, K]; the rate is the mean over the times of the frames."""
        return archive_contents(read_archive(Path(path)), self.policy, conceal=conceal)


def archive_contents(archive: SkeletonArchive, policy: SkeletonPolicy, *, conceal: bool) -> Contents:
    """The sample that an archive is packed as; see ``SkeletonNpz``.

    Raises:
        DataError: as ``skeleton_contents`` says.
    """
    policy = replace(policy, fps=policy.fps or archive.fps, layout=policy.layout or archive.layout)
    return skeleton_contents(archive.keypoints, archive.scores, policy, conceal=conceal, size=archive.size)
