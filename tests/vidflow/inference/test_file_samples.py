"""From what a user names to samples: which files are taken, and what packing would make of them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from vidflow.errors import ConfigError, DataError
from vidflow.inference.samples import FileReading, OpenedSample
from vidflow.members import skeleton_arrays
from vidflow.shards.pose.extracting import PoseOptions
from vidflow.shards.sources.unpacked_arrays import info_json

SKELETONS = FileReading(reads="skeleton")


def opened(path: Path, reading: FileReading = SKELETONS) -> OpenedSample:
    (sample,) = reading.samples_of([path])
    return sample.open()


def names(folder: Path, reading: FileReading = SKELETONS) -> list[str]:
    return [sample.name.removeprefix(f"{folder}/") for sample in reading.samples_of([folder])]


def msr_text(num_frames: int) -> str:
    rows = [f"{joint / 10} {frame} 2.5 1" for frame in range(1, num_frames + 1) for joint in range(1, 21)]
    return "\n".join(rows) + "\n"


def ntu_text(num_frames: int) -> str:
    joints = "\n".join(f"{joint / 10} 1 3 0 0 0 0 0 0 0 0 2" for joint in range(1, 26))
    body = f"72057594037931101 0 1 1 1 1 0 0.1 0.2 2\n25\n{joints}\n"
    return f"{num_frames}\n" + f"1\n{body}" * num_frames


def openpose_json(num_frames: int) -> str:
    body = {"pose": [0.5] * 36, "score": [0.9] * 18}
    frames = [{"frame_index": number, "skeleton": [body]} for number in range(1, num_frames + 1)]
    return json.dumps({"data": frames, "label": "x", "label_index": 0})


@pytest.mark.parametrize(
    ("name", "content", "layout", "shape"),
    [
        ("a01_s01_e01_skeleton3D.txt", msr_text(3), "msr20", (1, 3, 20, 3)),
        ("S001C001P001R001A001.skeleton", ntu_text(4), "nturgb+d", (1, 4, 25, 3)),
        ("clip.json", openpose_json(5), "openpose", (1, 5, 18, 2)),
    ],
)
def test_text_formats_of_data_sets_are_read(tmp_path, name, content, layout, shape):
    (tmp_path / name).write_text(content)
    sample = opened(tmp_path / name)
    assert sample.record.skeleton.layout == layout
    assert skeleton_arrays(sample.record, sample.data)[0].shape == shape
    assert sample.record.id == str(tmp_path / name)


def test_figures_tell_who_is_seen_and_which_keypoints_to_join(tmp_path):
    (tmp_path / "a.json").write_text(openpose_json(5))
    figures = opened(tmp_path / "a.json").figures()
    assert figures.keypoints.shape == (1, 5, 18, 2)
    assert figures.size == (340, 256)
    assert (1, 0) in figures.limbs or (0, 1) in figures.limbs
    np.savez(tmp_path / "b.npz", keypoint=np.ones((1, 3, 5, 2)))
    assert opened(tmp_path / "b.npz").figures().limbs == ()
    table = {"num_keypoints": 5, "edges": [[0, 1], [1, 2], [2, 3], [3, 4]]}
    assert len(opened(tmp_path / "b.npz").figures(table).limbs) == 4


def test_folders_are_searched_for_skeletons_and_nothing_else(tmp_path):
    contents = {
        "b/a.txt": msr_text(1), "a.skeleton": ntu_text(1), "c.json": openpose_json(1), "readme.txt": "two words\n",
        "classes.txt": "1 2 3\n", "d/info.json": "{}", ".hidden.txt": msr_text(1), ".git/x.txt": msr_text(1),
        "film.mp4": "", "sound.wav": "",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    np.savez(tmp_path / "e.npz", keypoint=np.ones((1, 3, 17, 2)))
    assert names(tmp_path) == ["a.skeleton", "b/a.txt", "c.json", "e.npz"]
    with_videos = FileReading(reads="skeleton", pose=PoseOptions(estimator="dot_people:DotEstimator"))
    assert "film.mp4" in names(tmp_path, with_videos)
    assert names(tmp_path, FileReading(reads="audio")) == ["film.mp4", "sound.wav"]
    assert names(tmp_path, FileReading(reads="clip")) == ["film.mp4"]


@pytest.mark.parametrize(
    ("reads", "message"),
    [("clip", "file with a video's extension"), ("skeleton", "skeleton file"), ("audio", "sound file")],
)
def test_a_folder_without_fitting_files_is_an_error(tmp_path, reads, message):
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(DataError, match=f"has no {message}"):
        FileReading(reads=reads).samples_of([tmp_path])


def test_a_skeleton_file_of_nobody_is_refused(tmp_path):
    (tmp_path / "a.skeleton").write_text("3\n0\n0\n0\n")
    with pytest.raises(DataError, match=r"a\.skeleton: holds nobody"):
        opened(tmp_path / "a.skeleton")


@pytest.mark.parametrize(
    "content", [[], {"annotations": []}, {"split": {}, "annotations": []}, np.ones((0, 3, 5, 20, 1))]
)
def test_a_file_without_samples_is_refused(tmp_path, content):
    path = tmp_path / ("a.npy" if isinstance(content, np.ndarray) else "a.pkl")
    if path.suffix == ".npy":
        np.save(path, content)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=rf"{path.name}: holds no samples"):
        opened(path)


@pytest.mark.parametrize("name", ["a.npy", "a.keypoint_score.npy"])
@pytest.mark.parametrize("content", ["zip", b"\x93NUMPY\x01\x00\x05\x00{'a':"])
def test_a_file_that_is_no_array_under_its_name_is_refused(tmp_path, name, content):
    np.save(tmp_path / "a.keypoint.npy", np.ones((1, 3, 17, 2)))
    with (tmp_path / name).open("wb") as file:
        if content == "zip":
            np.savez(file, keypoint=np.ones((1, 3, 17, 2)))
        else:
            file.write(content)
    with pytest.raises(DataError, match=rf"{name}: no readable \.npy array \(.*; save it again"):
        opened(tmp_path / name.replace("_score", ""))


@pytest.mark.parametrize("reads", ["clip", "skeleton", "audio"])
def test_an_empty_path_is_not_the_working_folder(reads):
    with pytest.raises(ConfigError, match=r"path 2 of 2 is empty; name a file, or \. for this folder"):
        FileReading(reads=reads).samples_of(["a", ""])


@pytest.mark.parametrize("name", ["gone.abc", "gone", "gone.npy", "gone.npz"])
def test_a_skeleton_file_that_does_not_exist_is_called_so(tmp_path, name):
    with pytest.raises(DataError, match=rf"{name}: no such file$"):
        opened(tmp_path / name)


def test_a_file_of_another_format_is_told_all_that_are_read(tmp_path):
    (tmp_path / "a.abc").write_text("")
    listed = r"\.skeleton, \.txt, \.json, \.npz, \.npy, \.pkl, \.pickle"
    with pytest.raises(DataError, match=rf"no skeletons are read from \.abc files, but from {listed}$"):
        opened(tmp_path / "a.abc")


def test_an_unpacked_sample_may_be_called_like_an_array(tmp_path):
    array, folder = tmp_path / "walk.keypoint.npy", tmp_path / "walk.npy"
    folder.mkdir()
    np.save(array, np.ones((1, 3, 17, 2), np.float32))
    info = opened(array).record.skeleton
    array.rename(folder / "keypoint.npy")
    (folder / "info.json").write_bytes(info_json(info, "skeleton"))
    assert opened(folder).record.skeleton == info


def test_messages_name_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", keypoint=np.full((1, 3, 17, 2), np.nan))
    with pytest.raises(DataError, match=r"a\.npz: 51 of 51 keypoints are not finite"):
        opened(tmp_path / "a.npz")
