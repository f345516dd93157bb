"""Skeletons of figures that move by their class, and a run of a small model over a packed set of them."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dot_people import FIGURE
from small_run import small_run

from vidflow.inference import FilePrediction
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.profiles import choose_profile
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_pickles import read_skeleton_pickle

CLASSES = ("left", "right", "jump")
HEIGHT, WIDTH = 160, 240


def annotation(number: int) -> dict[str, object]:
    """A figure that moves by its class: keypoints [M, T, 17, 2] in pixels, one or two people, 12 to 16 frames."""
    rng = np.random.default_rng(number)
    label, num_frames, num_people = number % 3, 12 + number % 5, 1 + number % 2
    step = np.array([(-4, 0), (4, 0), (0, -3)][label], np.float32)
    path = np.arange(num_frames, dtype=np.float32)[:, None] * step + [100, 40]  # [T, 2]
    one = FIGURE + path[:, None] + rng.normal(0, 0.5, (num_frames, 17, 2))
    keypoints = np.stack([one, one + np.array([60, 0])][:num_people]).astype(np.float32)
    return {
        "frame_dir": f"clip_{number:02d}",
        "label": label,
        "img_shape": (HEIGHT, WIDTH),
        "total_frames": num_frames,
        "keypoint": keypoints,
        "keypoint_score": rng.uniform(0.5, 1, keypoints.shape[:3]).astype(np.float32),
    }


@dataclass(frozen=True)
class SkeletonRun:
    run: Path
    pickle: Path
    tested: dict[str, np.ndarray]
    """Id -> scores that testing gives on the packed set."""


def run_of_skeletons(root: Path) -> SkeletonRun:
    """A run of one epoch, below a folder."""
    entries = [annotation(number) for number in range(24)]
    names = [entry["frame_dir"] for entry in entries]
    file = root / "set.pkl"
    file.write_bytes(pickle.dumps({"split": {"train": names[:12], "val": names[12:]}, "annotations": entries}))
    source = read_skeleton_pickle(file, SkeletonPolicy(), classes=CLASSES)
    pack(source, root / "packed", PackOptions(profile=choose_profile("copy")), workers=1)
    pipeline = {
        "kind": "skeleton",
        "sampling": {"kind": "bins", "length": 16, "num_clips": 2},
        "normalize": {"kind": "screen"},
        "features": ["joint", "bone"],
    }
    run, tested = small_run(
        root, pipeline, {"name": "stgcnpp-tiny", "options": {"layout": "coco", "in_channels": 6}}, lr=0.1
    )
    return SkeletonRun(run, file, tested)


def scores_of(prediction: FilePrediction) -> list[float]:
    """Scores of a prediction in the order of the classes."""
    assert prediction.error is None, prediction.error
    return [found.score for found in sorted(prediction.top, key=lambda found: found.label)]
