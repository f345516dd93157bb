"""OmniSource's pictures and parts of videos, good and bad."""

import json

import cv2
import numpy as np
import pytest

from vidflow.errors import DataError
from vidflow.shards.recipes.listing import ListFile
from vidflow.shards.recipes.parsers.omnisource_json import omnisource_json
from vidflow.shards.recipes.reading import read_recipe
from vidflow.shards.recipes.recipe import load_recipe


def test_pictures_are_kept_byte_for_byte_as_one_frame_each(published, packed, read_back, tmp_path):
    root, _ = published("omnisource-webimage")
    _, png = cv2.imencode(".png", np.zeros((10, 20, 3), np.uint8))
    first, second = (root / "googleimage_200" / f"00{i}" / "00" / "000001.jpg" for i in (0, 1))
    second.write_bytes(png.tobytes())  # web pictures often are of another kind than their names say
    packed(read_recipe(load_recipe("omnisource-webimage"), root))
    samples = {sample["json"]["id"]: sample for sample in read_back(tmp_path / "out")}
    of_first, of_second = (samples[str(path.relative_to(root))] for path in (first, second))
    assert of_first["fields"]["rgb.00001.jpg"] == first.read_bytes()
    assert of_second["fields"]["rgb.00001.png"] == png.tobytes()
    frames = of_second["json"]["frames"]
    assert (frames["num_frames"], frames["height"], frames["width"], frames["container"]) == (1, 10, 20, "png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "0 bytes"), (b"<html>gone</html>", "neither JPEG nor PNG"), (None, "damaged or cut short")],
)
def test_a_picture_that_does_not_decode_is_rejected_and_the_others_are_packed(published, packed, data, reason):
    root, _ = published("omnisource-googleimage")
    path = root / "googleimage_200" / "000" / "00" / "000001.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path.write_bytes(cv2.imencode(".jpg", noise)[1].tobytes()[:1000] if data is None else data)
    report = packed(read_recipe(load_recipe("omnisource-googleimage"), root))
    (rejected,) = report.rejected
    assert rejected.id == "000/00/000001.jpg"
    assert reason in rejected.reason
    assert report.packed == 1


@pytest.mark.parametrize(
    "change",
    [
        {"label": "1"},
        {"video_dir": ""},
        {"positive_clip_inds": [3]},
        {"positive_clip_inds": [-1]},
        {"positive_clip_inds": [1, 1]},
        {"positive_clip_inds": None},
        {"num_clips": None},
    ],
)
def test_entries_of_parts_that_do_not_parse_are_errors_with_their_place(tmp_path, change):
    good = {"video_dir": "pref_/a", "label": 1, "num_clips": 3, "positive_clip_inds": [0, 2]}
    file = tmp_path / "list.json"
    file.write_text(json.dumps([good, good | change]))
    with pytest.raises(DataError, match=r"list\.json: entry 1: no video_dir, label, num_clips and positive_clip_inds"):
        list(omnisource_json({"train": (ListFile(file),)}, ()))


def test_parts_of_one_video_stay_together_and_the_others_are_counted(published):
    root, _ = published("omnisource-raw")
    source = read_recipe(load_recipe("omnisource-raw"), root)
    assert {item.group for item in source.items} == {"pref_/___dTOdxzXY", "prefZ/Zzzzzzzzzzz"}
    assert "1 parts do not show their action, and were left out" in source.warnings
