"""``vidflow recipes`` and ``vidflow shard --recipe`` as a user runs them."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from vidflow.cli.recipe_texts import page
from vidflow.dataset import PackedDataset
from vidflow.shards.recipes.parsers import PARSERS
from vidflow.shards.recipes.recipe import Recipe, load_recipe, recipe_names


def test_the_list_names_every_recipe_and_its_page(command):
    result = command("recipes")
    assert result.returncode == 0, result.stderr
    for name in recipe_names():
        assert name in result.stdout
    assert "[test]" in result.stdout


def test_the_list_as_json(command):
    found = json.loads(command("recipes", "--json").stdout)
    assert [recipe["name"] for recipe in found] == list(recipe_names())


def test_details_say_what_is_needed_where_it_is_published_and_how_to_pack(command):
    result = command("recipes", "hmdb51")
    assert result.returncode == 0, result.stderr
    for text in (
        "https://serre-lab.clps.brown.edu",
        "CC BY 4.0",
        "train 3,570",
        "brush_hair_test_split1.txt",
        "vidflow shard --recipe hmdb51 --src SRC --fold 1 --out data/hmdb51",
    ):
        assert text in result.stdout


def test_details_as_json(command):
    assert json.loads(command("recipes", "ssv2", "--json").stdout)["num_classes"] == 174


def test_an_unknown_recipe_gets_the_nearest_name(command):
    result = command("recipes", "Kinetics-400")
    assert result.returncode == 2
    assert "did you mean 'kinetics400'?" in result.stderr


def test_the_page_in_the_documents_is_up_to_date():
    text = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert text == page([load_recipe(name) for name in recipe_names()]), (
        "run: vidflow recipes --markdown > docs/recipes.md"
    )


def test_every_parser_is_used():
    recipes = [load_recipe(name) for name in recipe_names()]
    assert {recipe.parser for recipe in recipes} - {""} == set(PARSERS)


def test_a_known_data_set_is_packed(published, command, tmp_path):
    root, miniature = published("ucf101")
    result = command("shard", "--recipe", "ucf101", "--src", root, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "4 found = 4 packed + 0 rejected + 0 skipped" in result.stdout
    assert "warning: train: the list names 2 samples, 9537 are published" in result.stderr
    info = PackedDataset.open(tmp_path / "out").info
    assert (info.name, set(info.splits), info.options["fold"]) == ("ucf101-split1", {"train", "test"}, 1)
    assert len(info.classes) == len(miniature.indices)


def test_one_split_and_another_folder_of_annotations(published, command, tmp_path):
    root, _ = published("ssv2")
    (root / "labels").rename(tmp_path / "lists")
    arguments = ["--recipe", "ssv2", "--src", root, "--annotations", tmp_path / "lists", "--splits", "val"]
    result = command("shard", *arguments, "--out", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["packed"], list(summary["splits"])) == (1, ["val"])
    assert summary["skipped"] == {"video that the lists of these splits do not name": 3}


def test_missing_videos_are_rejected_by_name_when_allowed(published, command, tmp_path):
    root, _ = published("diving48")
    (root / "rgb" / "2x00lRzlTVQ_00001.mp4").unlink()
    arguments = ["shard", "--recipe", "diving48", "--src", root, "--out", tmp_path / "out"]
    stopped = command(*arguments)
    assert stopped.returncode == 3
    assert "2x00lRzlTVQ_00001" in stopped.stderr
    assert "http://www.svcl.ucsd.edu/projects/resound/dataset.html" in stopped.stderr
    result = command(*arguments, "--allow-missing")
    assert result.returncode == 0, result.stderr
    assert "3 found = 2 packed + 1 rejected + 0 skipped" in result.stdout
    assert "2x00lRzlTVQ_00001" in (tmp_path / "out" / "rejected.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--recipe", "ucf101"], "--recipe ucf101 needs --src"),
        (["--recipe", "ucf101", "--src", ".", "--split", "0.9"], "--split: the recipe knows that"),
        (["--recipe", "ucf101", "--src", ".", "--annotations", "a", "--annotations", "b"], "it is one folder"),
        (["--src", ".", "--fold", "1"], "--fold needs --recipe"),
        (["--src", ".", "--splits", "val"], "--splits needs --recipe"),
        (["--recipe", "ucf", "--src", "."], "no recipe 'ucf'; did you mean 'ucf101'?"),
        (["--recipe", "ucf101", "--src", ".", "--fold", "7"], "--fold 7: UCF101 publishes the folds 1, 2, 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(command, tmp_path, arguments, text):
    result = command("shard", *arguments, "--out", tmp_path / "out")
    assert result.returncode == 2, result.stderr
    assert text in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splits": ["train", "dev"]}, "no file lists the splits dev"),
        ({"files": [{"role": "lists", "names": ["a"]}, {"role": "dev", "names": ["b"]}]}, "unknown roles dev"),
        ({"class_list": "lines"}, "either a file has the role classes"),
        ({"counts": [{"split": "dev", "videos": 1, "source": "x"}]}, "unknown splits dev"),
        ({"counts": [{"split": "train", "videos": 1, "fold": 9, "source": "x"}]}, "unknown folds"),
        ({"page": "by mail"}, "page"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_recipe_whose_parts_do_not_fit_is_refused(change, message):
    values = {
        "name": "mine", "title": "Mine", "page": "https://example.org", "paper": "none", "licence": "mine",
        "num_classes": 2, "class_list": "sorted", "parser": "kinetics_csv", "splits": ["train"],
        "files": [{"role": "train", "names": ["train.csv"]}], "layout": "SRC/",
    }  # fmt: skip
    assert Recipe.model_validate(values).name == "mine"
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(values | change)
