"""Other loaders, timed in the same run over the same samples."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vidflow.bench.peers.dali_frames import dali_pass
from vidflow.bench.peers.files import file_pass
from vidflow.bench.peers.job import PeerJob
from vidflow.bench.peers.raw import cat_pass, litdata_pass, range_pass
from vidflow.bench.peers.tars import tar_pass
from vidflow.bench.timing import Pass
from vidflow.errors import MissingExtraError


@dataclass(frozen=True)
class Peer:
    """One other way to the same data."""

    make: Callable[[str, PeerJob], Pass]
    module: str | None
    """What must be installed."""
    stage: Literal["loader", "read"]
    """The stage of ours that it is compared with: whole clips, or encoded bytes."""


PEERS: dict[str, Peer] = {
    "decord": Peer(file_pass, "decord", "loader"),
    "torchcodec": Peer(file_pass, "torchcodec", "loader"),
    "opencv": Peer(file_pass, "cv2", "loader"),
    "webdataset": Peer(tar_pass, "webdataset", "loader"),
    "dali": Peer(dali_pass, "nvidia.dali", "loader"),
    "cat": Peer(cat_pass, None, "read"),
    "litdata": Peer(litdata_pass, "litdata", "read"),
    "ranges": Peer(range_pass, None, "read"),
}


def is_installed(name: str) -> bool:
    """Whether what a peer needs is there."""
    module = PEERS[name].module
    if module is None:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def peers_for(kind: str, *, remote: bool) -> list[str]:
    """The installed peers that can do the job: what ``--baseline all`` means.

    Args:
        kind: kind of the samples.
        remote: whether the data set lies on a server.
    """
    if kind == "video":
        names = ["decord", "torchcodec", "opencv"]
        names += ["ranges"] if remote else ["webdataset", "cat", "litdata"]
    else:
        names = ["ranges"] if remote else ["cat", *(["dali"] if kind == "frames" else [])]
    return [name for name in names if is_installed(name)]


def peer_pass(name: str, job: PeerJob) -> Pass:
    """A peer, ready to be timed.

    Raises:
        DataError: the peer cannot do this job.
        MissingExtraError: it is not installed.
    """
    peer = PEERS[name]
    if not is_installed(name):
        raise MissingExtraError(
            f"baseline {name!r} needs {peer.module}; pip install 'vidflow[bench]' or pip install {peer.module}"
        )
    return peer.make(name, job)
