"""What tells two lists of sources apart: files, labels, and how each sample is read from its file or folder."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidflow.errors import DataError
from vidflow.shards.order import file_states, listing_hash, order_tasks, source_lines, sources_hash
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.sources.by_kind import KindOptions, read_source
from vidflow.shards.sources.feature_files import FeatureFile, FeatureRow
from vidflow.shards.sources.frame_folders import FrameFolder
from vidflow.shards.sources.items import SourceItem, SourceList
from vidflow.shards.sources.skeleton_arrays import SkeletonPolicy
from vidflow.shards.sources.skeleton_kpfiles import KeypointFile
from vidflow.shards.sources.skeleton_pickles import SkeletonArrays
from vidflow.shards.sources.skeleton_utkinect import UtKinectPart
from vidflow.shards.sources.sound_files import SoundFile
from vidflow.shards.sources.unpacked_arrays import UnpackedFeature

POLICY = SkeletonPolicy()
ITEM = SourceItem("/data/v", "v", "train", (0,))


def marks(reader: object, item: SourceItem = ITEM) -> tuple[str, str, str]:
    """All three marks of a list of one source."""
    tasks = order_tasks([replace(item, reader=reader)], seed=0, shuffle=False)  # type: ignore[arg-type]
    states = file_states(tasks)
    return next(source_lines(tasks, states)), listing_hash(tasks), sources_hash(tasks, states)


def bodies(*frames: int) -> KeypointFile:
    return KeypointFile("v", np.array(frames), None, POLICY)


def arrays(value: float, total: int | None = None) -> SkeletonArrays:
    return SkeletonArrays(np.full((1, 2, 3, 2), value, np.float16), None, (64, 48), total, POLICY)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FrameFolder(num_frames=10), FrameFolder(num_frames=4)),
        (FrameFolder(), FrameFolder(offset=4)),
        (FrameFolder(), FrameFolder("img_%05d.jpg")),
        (FrameFolder(fps=25.0), FrameFolder(fps=30.0)),
        (FeatureFile(duration=10.0), FeatureFile(duration=100.0)),
        (FeatureFile(duration=10.0), FeatureFile(duration=10.0, seconds_per_step=0.5)),
        (UnpackedFeature(FeatureFile("rgb")), UnpackedFeature(FeatureFile("flow"))),
        (FeatureRow("feature", 0), FeatureRow("feature", 1)),
        (UtKinectPart(1, 20, POLICY), UtKinectPart(1, 30, POLICY)),
        (UtKinectPart(1, 20, POLICY), UtKinectPart(1, 20, SkeletonPolicy(nobody="keep"))),
        (bodies(0, 1, 2), bodies(0, 1, 1)),
        (arrays(1), arrays(2)),
        (arrays(1), arrays(1, total=2)),
    ],
)
def test_another_way_to_read_a_sample_is_another_source(one, other):
    assert marks(one) == marks(one)
    assert all(before != after for before, after in zip(marks(one), marks(other), strict=True))


@pytest.mark.parametrize("reader", [SoundFile(), FeatureFile(), UnpackedFeature(FeatureFile()), FrameFolder()])
def test_of_the_usual_way_to_read_a_sample_nothing_is_noted(reader):
    assert marks(reader) == marks(None)


def test_the_marks_of_a_plain_video_stay_what_they_were():
    """Data sets that are there already are known by them."""
    line, listing, sources = marks(None)
    assert json.loads(line) == {
        "id": "v", "split": "train", "labels": [0], "group": None, "size": None, "mtime_ns": None
    }  # fmt: skip
    assert listing == sources == "6696bcd8605c68d4fd823601a53adc2bf9aa8fe8510549e5e2ecf8ee3e3f6dfd"


def test_splits_whose_shards_many_disks_would_take_for_the_same_are_refused():
    items = [replace(ITEM, id=f"{number}", split=split) for number, split in enumerate(("val", "Val", "val", "vAL"))]
    with pytest.raises(DataError, match=r"1: split 'Val' differs from 'val' \(0\) in case alone; write one of them"):
        order_tasks(items, seed=0, shuffle=True)


@pytest.fixture
def frames(tmp_path):
    """``frames(totals)``: a list of folders of ten frames each, with these totals."""

    def make(*totals: int) -> SourceList:
        for number in range(len(totals)):
            folder = tmp_path / "frames" / f"v{number}"
            folder.mkdir(parents=True, exist_ok=True)
            for frame in range(1, 11):
                if not (path := folder / f"img_{frame:05d}.jpg").exists():
                    cv2.imwrite(str(path), np.full((8, 8, 3), 20 * frame, np.uint8))
        listed = tmp_path / "list.txt"
        listed.write_text("".join(f"v{number} {total} 0\n" for number, total in enumerate(totals)))
        return read_source("frames", KindOptions(annotations=[f"train={listed}"], src=tmp_path / "frames"))

    return make


def interrupted(source: SourceList, out: Path) -> None:
    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, out, PackOptions(max_count=1), workers=1, on_progress=stop)


def test_a_run_does_not_go_on_with_a_list_of_other_frames(frames, tmp_path):
    interrupted(frames(10, 10, 10), tmp_path / "out")
    with pytest.raises(DataError, match="sources_sha256 was"):
        pack(frames(4, 4, 4), tmp_path / "out", PackOptions(max_count=1), workers=1)
    assert pack(frames(10, 10, 10), tmp_path / "out", PackOptions(max_count=1), workers=1).num_resumed >= 1


def test_frames_that_join_a_packed_folder_are_noticed(frames, tmp_path, packed):
    packed(frames(10))
    (tmp_path / "frames" / "v0" / ".cache").touch()
    assert packed(frames(10)).already_complete
    (tmp_path / "frames" / "v0" / "img_00011.jpg").touch()
    with pytest.raises(DataError, match="packed otherwise: sources_sha256 was"):
        packed(frames(10))
