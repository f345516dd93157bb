"""``vidflow zoo`` and ``vidflow flops``."""

import json

import pytest
from typer.testing import CliRunner

from vidflow.cli.main import app
from vidflow.errors import ConfigError

TSM = "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb"


def run(*words):
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_can_be_narrowed_by_task_and_data_set():
    entries = json.loads(run("zoo", "--task", "recognition", "--dataset", "sthv1", "--json"))
    assert {entry["dataset"] for entry in entries} == {"SthV1"}
    assert len(entries) == 5
    assert all(entry["params"] and entry["source"] for entry in entries)


def test_the_table_names_what_it_lists():
    text = run("zoo", "--dataset", "MSRVTT")
    assert "MdR" in text
    assert "1 models" in text


def test_one_model_is_shown_in_full():
    text = run("zoo", TSM)
    for part in ("top1 73.18, top5 90.56", "24,327,632", "32.88 G", f"vidflow train --cfg {TSM}.toml"):
        assert part in text
    assert json.loads(run("zoo", TSM, "--json"))["has_config"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("zoo", "tsn"), "no published model 'tsn'"),
        (("zoo", "--task", "cooking"), "--task cooking: there are recognition, detection"),
        (("zoo", "--dataset", "Imagenet"), "--dataset Imagenet: there are Kinetics-400"),
        (("zoo", TSM, "--task", "recognition"), "leave --task and --dataset out"),
        (
            ("flops", "stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d", "--size", "64"),
            "--size 64: skeletons have no pixels",
        ),
        (("flops", "no-such-config"), "no config 'no-such-config'"),
        (("flops", "tsm-small"), "--set model.num_classes=NUMBER"),
        (("flops", "tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv2-rgb", "--frames", "6"), "made for clips of 8"),
    ],
)
def test_wrong_words_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        run(*words)


def test_a_published_config_is_counted_at_its_published_size():
    report = json.loads(run("flops", TSM, "--json"))
    assert (report["input"], report["params"]) == ([3, 8, 224, 224], 24_327_632)
    assert report["macs"] / 1e9 == pytest.approx(report["published_gmacs"], rel=0.01)
    assert report["modules"]["backbone.layer1"] > 0


def test_any_other_config_is_counted_at_the_size_of_its_test():
    report = json.loads(run("flops", "tsm-small", "--set", "model.num_classes=4", "--json"))
    assert report["input"] == [3, 4, 96, 128]
    assert report["published_gmacs"] is None


def test_a_graph_network_is_counted_for_its_skeletons():
    name = "stgcnpp_8xb16-joint-u100-80e_ntu60-xsub-keypoint-3d"
    report = json.loads(run("flops", name, "--json"))
    assert (report["input"], report["params"]) == ([2, 100, 25, 3], 1_403_144)
    assert report["macs"] / 1e9 == pytest.approx(report["published_gmacs"], rel=1e-3)
    assert "2 x 50 x 25 x 3 (people, frames, keypoints, coordinates)" in run("flops", name, "--frames", "50")
    assert "2 x 100 x 25 x 3 (people, frames, keypoints, coordinates)" in run("zoo", name)
    ours = json.loads(run("flops", "ctrgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d", "--json"))
    assert (ours["input"], ours["published_gmacs"]) == ([2, 100, 17, 3], None)


def test_frames_and_size_can_be_chosen():
    other = json.loads(run("flops", TSM, "--frames", "4", "--size", "448", "--json"))
    whole = json.loads(run("flops", TSM, "--json"))
    assert other["input"] == [3, 4, 448, 448]
    assert other["macs"] == pytest.approx(2 * whole["macs"], rel=0.01)
    assert other["published_gmacs"] is None


def test_the_table_goes_as_deep_as_asked():
    assert "backbone.layer1" not in run("flops", TSM, "--depth", "1")
    text = run("flops", TSM)
    assert "backbone.layer1" in text
    assert "published: 32.882 G, -0.00%" in text
