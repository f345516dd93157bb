"""The demo data: motion tells the classes, a single frame does not."""

import hashlib
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vidflow.demo import CLASSES, MARKER_NAME, DemoClip, draw_clip, encode_clip, list_clips, write_demo_data
from vidflow.errors import ConfigError, DataError


def _decode(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> dict[str, list[tuple[int, np.ndarray]]]:
    """Split -> (class index, decoded frames) of the default data set."""
    root = tmp_path_factory.mktemp("demo") / "data"
    write_demo_data(root)
    return {
        split: [(CLASSES.index(path.parent.name), _decode(path)) for path in sorted(root.glob(f"{split}/*/*.mp4"))]
        for split in ("train", "val")
    }


def _frame_features(frame: np.ndarray) -> np.ndarray:
    """Small picture, histograms, and energies of the first and second derivatives in both directions."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (12, 12), interpolation=cv2.INTER_AREA).ravel() / 255
    histogram = np.concatenate(
        [np.histogram(frame[..., c], bins=12, range=(0, 256), density=True)[0] * 40 for c in range(3)]
    )
    image = gray.astype(np.float32)
    energies = [
        np.log1p(np.abs(cv2.Sobel(image, -1, dx, dy)).mean()) for dx, dy in ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
    ]
    energies.append(np.log1p(np.abs(cv2.Laplacian(image, -1)).mean()))
    return np.concatenate([small, histogram, energies])


def _standardised(train: np.ndarray, val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = train.mean(0), train.std(0) + 1e-6
    return (train - mean) / std, (val - mean) / std


def test_the_default_is_240_clips_with_equal_classes_and_60_for_validation(demo):
    assert {split: len(clips) for split, clips in demo.items()} == {"train": 180, "val": 60}
    for clips in demo.values():
        assert len({sum(label == k for label, _ in clips) for k in range(len(CLASSES))}) == 1


def test_clips_are_short_and_of_the_asked_size(demo):
    shapes = {clip.shape[1:] for clips in demo.values() for _, clip in clips}
    lengths = {len(clip) for clips in demo.values() for _, clip in clips}
    assert shapes == {(96, 96, 3)}
    assert min(lengths) >= 16
    assert max(lengths) <= 32
    assert len(lengths) > 3


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0])
def test_one_frame_does_not_tell_the_class(demo, moment):
    sides = []
    for split in ("train", "val"):
        features = [_frame_features(clip[round(moment * (len(clip) - 1))]) for _, clip in demo[split]]
        sides.append((np.stack(features), np.array([label for label, _ in demo[split]])))
    (x, y), (x_val, y_val) = sides
    x, x_val = _standardised(x, x_val)
    nearest = y[np.linalg.norm(x_val[:, None] - x[None], axis=-1).argmin(1)]
    # Ridge regression to one-hot targets.
    ridge = np.linalg.solve(x.T @ x + 10.0 * np.eye(x.shape[1]), x.T @ (np.eye(len(CLASSES))[y] - 1 / len(CLASSES)))
    linear = (x_val @ ridge).argmax(1)
    # Chance is 0.17; 60 clips give it a standard deviation of 0.05.
    assert (nearest == y_val).mean() < 0.35
    assert (linear == y_val).mean() < 0.35


def _sharpness(clip: np.ndarray) -> np.ndarray:
    """Energies of small details in strips along both axes: where frames are drawn or coded with more or less blur."""
    values = []
    for frame in clip[2::3]:
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        details = [cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1), cv2.Laplacian(gray, -1)]
        details.append(gray - cv2.GaussianBlur(gray, (3, 3), 0))
        blocks = [np.abs(d).reshape(12, 8, 12, 8) for d in details]
        values.append(
            np.concatenate([np.log(b.mean(axis=axes) + 0.01) for b in blocks for axes in ((0, 1, 3), (1, 2, 3))])
        )
    return np.mean(values, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("pair", [("left", "right"), pytest.param(("grow", "turn"), marks=pytest.mark.long)])
def test_neither_blur_nor_coding_artefacts_tell_the_class(pair, tmp_path):
    count = 100
    features = []
    for label in pair:
        for number in range(count):
            path = tmp_path / "clip.mp4"
            encode_clip(path, *draw_clip(DemoClip("train", label, number, seed=7), 96))
            features.append(_sharpness(_decode(path)))
    labels = np.repeat([-1.0, 1.0], count)
    order = np.random.default_rng(0).permutation(2 * count)
    right = 0
    for fold in range(4):
        val = order[fold::4]
        train = np.setdiff1d(order, val)
        x, x_val = _standardised(np.stack(features)[train], np.stack(features)[val])
        weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ labels[train])
        right += int((np.sign(x_val @ weights) == labels[val]).sum())
    # Chance is 0.5 with a standard deviation of 0.035; artefacts of a usual CRF of 18 give 0.8.
    assert right / (2 * count) < 0.62


def _motion(clip: np.ndarray) -> np.ndarray:
    """Mean flow, expansion and rotation between the frames at one and two thirds of a clip, in comparable units."""
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    first = len(gray) // 3
    total = np.zeros(4)
    side = clip.shape[1]
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2)
    for before, after in zip(gray[first : first + 6], gray[first + 1 : first + 7], strict=True):
        flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 21, 3, 7, 1.5, 0)
        u, v = flow[..., 0], flow[..., 1]
        total += [u.mean(), v.mean(), (u * x + v * y).mean(), (v * x - u * y).mean()]
    return total


def test_motion_tells_the_class(demo):
    right = 0
    for label, clip in demo["val"]:
        u, v, expansion, rotation = _motion(clip)
        scores = {"left": -u, "right": u, "up": -v, "down": v, "grow": 1.5 * expansion, "turn": 1.5 * abs(rotation)}
        right += max(scores, key=scores.__getitem__) == CLASSES[label]
    assert right / len(demo["val"]) > 0.9


def test_motion_is_equally_strong_in_every_class(demo):
    change = np.zeros(len(CLASSES))
    for label, clip in demo["train"]:
        change[label] += np.abs(np.diff(clip.astype(np.float32), axis=0)).mean() / len(demo["train"]) * len(CLASSES)
    assert change.max() / change.min() < 1.5


def test_no_two_clips_share_a_texture():
    firsts = {draw_clip(clip, 32)[0][0].tobytes() for clip in list_clips(num_clips=48)}
    assert len(firsts) == 48


def _digests(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_same_seed_same_bytes_and_another_seed_other_clips(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert write_demo_data(tmp_path / name, num_clips=12, size=32, seed=seed) == 12
    a, b, c = (_digests(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a)


def test_a_complete_folder_is_left_alone(tmp_path):
    write_demo_data(tmp_path / "demo", num_clips=12, size=32)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*.mp4")}
    calls: list[None] = []
    assert write_demo_data(tmp_path / "demo", num_clips=12, size=32, on_clip=lambda: calls.append(None)) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*.mp4")} == times
    assert len(calls) == 12


def test_an_interrupted_run_is_completed_with_the_same_bytes(tmp_path):
    write_demo_data(tmp_path / "whole", num_clips=12, size=32)
    write_demo_data(tmp_path / "broken", num_clips=12, size=32)
    (tmp_path / "broken/train/left/000.mp4").rename(tmp_path / "broken/train/left/000.mp4.part")
    assert write_demo_data(tmp_path / "broken", num_clips=12, size=32) == 1
    assert _digests(tmp_path / "broken") == _digests(tmp_path / "whole")


def test_a_folder_of_someone_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty and not made by `vidflow demo-data`"):
        write_demo_data(tmp_path, num_clips=12, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_other_parameters_in_the_same_folder_are_refused(tmp_path):
    write_demo_data(tmp_path / "demo", num_clips=12, size=32)
    with pytest.raises(DataError, match=r'"seed": 0.*"seed": 1.*delete it or give another folder'):
        write_demo_data(tmp_path / "demo", num_clips=12, size=32, seed=1)


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(DataError, match="is a file"):
        write_demo_data(tmp_path / "demo", num_clips=12, size=32)


def test_a_broken_marker_is_named(tmp_path):
    (tmp_path / MARKER_NAME).write_text("{")
    with pytest.raises(DataError, match=r"vidflow-demo\.json: not JSON"):
        write_demo_data(tmp_path, num_clips=12, size=32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_clips": 0}, "--clips 0"),
        ({"num_clips": 13}, "--clips 13: must be a positive multiple of 12"),
        ({"num_clips": 12, "size": 33}, "--size 33: must be an even number"),
        ({"num_clips": 12, "size": 16}, "--size 16"),
        ({"num_clips": 12, "seed": -1}, "--seed -1"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        write_demo_data(tmp_path / "demo", **values)
    assert not (tmp_path / "demo").exists()


def test_the_marker_holds_the_parameters(tmp_path):
    write_demo_data(tmp_path / "demo", num_clips=12, size=32, seed=5)
    assert json.loads((tmp_path / "demo" / MARKER_NAME).read_text()) == {
        "generator": 1,
        "clips": 12,
        "size": 32,
        "seed": 5,
    }
