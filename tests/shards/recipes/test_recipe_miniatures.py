"""Every recipe packs a miniature of the layout that its owners publish."""

import shutil

import pytest

from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.shards.profiles import PROFILES
from vidflow.shards.recipes.reading import read_recipe
from vidflow.shards.recipes.recipe import load_recipe, recipe_names
from vidflow.shards.verification import verify_dataset


def test_every_recipe_has_a_miniature(miniatures):
    assert sorted(miniatures) == list(recipe_names())


def test_the_miniature_packs_to_the_published_splits_and_labels(recipe_name, published, packed, tmp_path):
    root, miniature = published(recipe_name)
    source = read_recipe(load_recipe(recipe_name), root, allow_missing=miniature.missing > 0)
    report = packed(source, profile=PROFILES[miniature.profile])
    dataset = PackedDataset.open(tmp_path / "out")
    records = [dataset.record(i) for i in range(len(dataset))]
    classes = dataset.info.classes
    assert {(r.id, r.split, tuple(classes[label] for label in r.labels)) for r in records} == miniature.samples
    assert {name: classes.index(name) for name in miniature.indices} == miniature.indices
    assert len(report.rejected) == miniature.missing
    assert {r.reason for r in report.rejected} <= {"No such file or directory"}
    assert report.skipped["video that the lists of these splits do not name"] == miniature.unlisted
    for record in records:
        marks = tuple((s.start, s.end, classes[s.label]) for s in record.segments)
        fps = load_recipe(recipe_name).fps or 0
        boxes = tuple(
            (round(b.time * fps, 6), b.x1, b.y1, b.x2, b.y2, tuple(classes[label] for label in b.labels), b.person)
            for b in record.boxes
        )
        moments = tuple((m.start, m.end, m.text) for m in record.moments)
        questions = tuple((q.id, q.text, q.answers, q.labels, q.choices, q.right_choice) for q in record.questions)
        assert (record.captions or marks or boxes or moments or questions) == miniature.notes.get(record.id, ())
        assert record.kind == load_recipe(recipe_name).kind
    assert dataset.info.task == load_recipe(recipe_name).task
    assert dataset.info.multi_label == load_recipe(recipe_name).multi_label
    assert dataset.info.options["recipe"] == recipe_name
    assert verify_dataset(dataset, workers=1, decode=False).differences == ()


def _lists_media_files(name: str) -> bool:
    """Not so most sets of skeletons, whose samples are in the annotation file itself."""
    return load_recipe(name).kind != "skeleton" or bool(load_recipe(name).parser)


@pytest.mark.parametrize("name", list(filter(_lists_media_files, recipe_names())))
def test_missing_videos_stop_packing_unless_allowed(name, published):
    root, miniature = published(name)
    for video in miniature.videos:
        (root / video).unlink()
    for file in miniature.media:
        (root / file).unlink()
    for folder in miniature.frames:
        shutil.rmtree(root / folder)
    with pytest.raises(DataError) as error:
        read_recipe(load_recipe(name), root)
    recipe = load_recipe(name)
    assert f"listed videos are missing below {root}" in str(error.value)
    assert "--allow-missing" in str(error.value)
    assert recipe.page in str(error.value)
    assert recipe.layout.strip().splitlines()[-1] in str(error.value)


def test_each_missing_annotation_file_is_named_with_its_page_and_the_tree(recipe_name, published):
    root, _ = published(recipe_name)
    recipe = load_recipe(recipe_name)
    for path in list(root.rglob("*")):
        if path.suffix in (".txt", ".csv", ".json", ".pkl", ".pbtxt"):
            path.unlink()
    with pytest.raises(DataError) as error:
        read_recipe(recipe, root)
    message = str(error.value)
    named = message.partition(f"{recipe.title} is published")[0]  # the tree behind it shows all files
    fold = recipe.folds[0] if recipe.folds else None
    for file in recipe.files:
        is_needed = file.role not in recipe.more_splits and not file.optional
        assert (recipe.file_names(file, fold)[0] in named) == is_needed
    assert recipe.page in message
    assert all(line in message for line in recipe.layout.strip().splitlines())


def test_something_something_keeps_its_webm(numbered_video, packed, published, read_back, tmp_path):
    root, miniature = published("ssv2")
    for video in miniature.videos:
        numbered_video(root / video, 5, height=48, width=64, codec="libvpx-vp9", options={})
    packed(read_recipe(load_recipe("ssv2"), root))
    samples = read_back(tmp_path / "out")
    assert [sorted(sample["fields"]) for sample in samples] == [["json", "webm"]] * 3
    stored = {sample["json"]["id"]: sample["fields"]["webm"] for sample in samples}
    assert stored["78687"] == (root / "20bn-something-something-v2" / "78687.webm").read_bytes()
