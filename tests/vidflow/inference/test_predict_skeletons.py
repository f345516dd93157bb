"""Prediction on skeleton files gives what testing gives on the packed set, from every format that packing reads."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from moving_figures import HEIGHT, WIDTH, annotation, scores_of

from vidflow.cli.main import main
from vidflow.inference import Predictor


@pytest.fixture(scope="module")
def predictor(skeletons) -> Predictor:
    return Predictor(skeletons.run, num_threads=2)


def test_a_pickle_gives_the_scores_that_testing_gives_its_packed_copy(skeletons, predictor):
    predictions = {found.path: found for found in predictor([skeletons.pickle])}
    assert len(predictions) == 24
    assert len(skeletons.tested) == 12
    for name, expected in skeletons.tested.items():
        np.testing.assert_allclose(scores_of(predictions[f"{skeletons.pickle}[{name}]"]), expected, atol=1e-5)
    assert np.ptp(list(skeletons.tested.values()), axis=0).max() > 1e-3


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_does_not_change_the_outcome(skeletons, predictor, batch_size):
    one, other = predictor([skeletons.pickle], batch_size=batch_size), predictor([skeletons.pickle])
    for here, there in zip(one, other, strict=True):
        np.testing.assert_allclose(scores_of(here), scores_of(there), atol=1e-6)


def test_every_format_gives_the_same_scores(skeletons, predictor, tmp_path):
    """One sample with what a format can hold of it, in all formats."""
    entry = annotation(13)
    keypoints, scores = entry["keypoint"], entry["keypoint_score"]
    for name, content in {"one.pkl": entry, "list.pkl": [entry]}.items():
        (tmp_path / name).write_bytes(pickle.dumps(content))
    np.savez(tmp_path / "a.npz", keypoint=keypoints, keypoint_score=scores, size=np.array([WIDTH, HEIGHT]))
    found = predictor([tmp_path / name for name in ("one.pkl", "list.pkl", "a.npz")])
    assert [prediction.path.removeprefix(f"{tmp_path}/") for prediction in found] == [
        "one.pkl", "list.pkl[clip_13]", "a.npz",
    ]  # fmt: skip
    for prediction in found:
        np.testing.assert_allclose(scores_of(prediction), skeletons.tested["clip_13"], atol=1e-6)
        assert prediction.num_frames == entry["total_frames"]


def test_unpacked_samples_give_the_same_scores(skeletons, predictor, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["unpack", str(skeletons.run.parents[1] / "packed"), str(tmp_path / "files"), "--quiet"])
    assert not end.value.code
    found = predictor([tmp_path / "files"])
    assert len(found) == 24
    by_name = {Path(prediction.path).name: prediction for prediction in found}
    for name, expected in skeletons.tested.items():
        np.testing.assert_allclose(scores_of(by_name[name]), expected, atol=1e-6)


def test_an_array_with_scores_beside_it_is_one_sample(predictor, tmp_path):
    entry = annotation(13)
    np.save(tmp_path / "a.keypoint.npy", entry["keypoint"])
    np.save(tmp_path / "a.keypoint_score.npy", entry["keypoint_score"])
    np.savez(tmp_path / "a.npz", keypoint=entry["keypoint"], keypoint_score=entry["keypoint_score"])
    array, archive = predictor([tmp_path])
    assert array.path.endswith("a.keypoint.npy")
    np.testing.assert_allclose(scores_of(array), scores_of(archive), atol=1e-6)


def test_an_array_of_many_samples_has_a_prediction_for_each(predictor, tmp_path):
    keypoints = annotation(1)["keypoint"]  # [M, T, V, C] -> [N, C, T, V, M]
    np.save(tmp_path / "a.npy", np.stack([keypoints, keypoints[:, ::-1]]).transpose(0, 4, 2, 3, 1))
    np.savez(tmp_path / "b.npz", keypoint=keypoints)
    first, second, alone = predictor([tmp_path])
    assert first.path == f"{tmp_path / 'a.npy'}[0]"
    np.testing.assert_allclose(scores_of(first), scores_of(alone), atol=1e-6)
    assert scores_of(first) != scores_of(second)


def test_bad_files_are_reported_in_their_places_and_stop_no_other(skeletons, predictor, tmp_path):
    entry = annotation(13)
    nan = entry["keypoint"].copy()
    nan[0, 3, 5] = np.nan
    contents = {
        "nan.npz": ({"keypoint": nan}, "1 of .* keypoints are not finite, first person 0, frame 3, keypoint 5"),
        "nobody.npz": ({"keypoint": np.zeros((1, 4, 17, 2))}, "holds nobody"),
        "depth.npz": ({"keypoint": np.ones((1, 4, 17, 3))}, "three coordinates"),
        "ntu.npz": ({"keypoint": np.ones((1, 4, 25, 2))}, "the model does not take skeletons"),
        "flat.npz": ({"keypoint": np.ones((4, 17, 2))}, r"numbers \[M, T, K, C\] are needed"),
        "other.npz": ({"something": np.ones(3)}, "holds something"),
    }
    for name, (arrays, _) in contents.items():
        np.savez(tmp_path / name, **arrays)
    files = {name: message for name, (_, message) in contents.items()}
    for name, content, message in (
        ("list.pkl", [{"label": 1}], "has no keypoint, only label"),
        ("text.pkl", "text", "neither annotations of skeletons"),
        ("short.pkl", entry | {"total_frames": 99}, "total_frames is 99"),
        ("shape.pkl", entry | {"img_shape": 3}, "img_shape is 3, not height and width in pixels"),
        ("flat.pkl", entry | {"img_shape": (0, 0)}, "a picture 0 pixels wide and 0 high"),
        ("ragged.pkl", [entry | {"frame_dir": "v", "keypoint": [[1], [2, 3]]}], r"\[v\]: keypoint is .* not an array"),
        ("empty.pkl", [], "holds no samples"),
    ):
        (tmp_path / name).write_bytes(pickle.dumps(content))
        files[name] = message
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(entry)[:-50])
    (tmp_path / "text.skeleton").write_text("no numbers\n")
    np.save(tmp_path / "st_gcn.npy", np.ones((3, 10, 17, 1), np.float32))
    files |= {"cut.pkl": "not a readable pickle", "text.skeleton": "is no row of numbers"}
    files |= {
        "st_gcn.npy": r"save array\[None\]",
        "gone.npz": "(?i)no such file",
        "a.mid": "no such file",
    }
    np.savez(tmp_path / "good.npz", keypoint=entry["keypoint"])
    good = tmp_path / "good.npz"
    predictions = predictor([good, *(tmp_path / name for name in files), good])
    assert scores_of(predictions[0]) == pytest.approx(scores_of(predictions[-1]), abs=1e-6)
    for (name, message), prediction in zip(files.items(), predictions[1:-1], strict=True):
        assert prediction.error is not None, name
        assert prediction.error.startswith(str(tmp_path / name))
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(prediction.error)


def test_a_damaged_file_may_be_concealed(skeletons, tmp_path):
    keypoints = annotation(13)["keypoint"].copy()
    keypoints[0, 3, 5] = np.nan
    np.savez(tmp_path / "nan.npz", keypoint=keypoints)
    (found,) = Predictor(skeletons.run, on_damage="conceal")([tmp_path / "nan.npz"])
    assert found.error is None


def test_a_pickle_that_would_run_code_is_refused(predictor, tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n(S'touch marker'\ntR.")
    (found,) = predictor([tmp_path / "a.pkl"])
    assert "nothing was loaded" in found.error
