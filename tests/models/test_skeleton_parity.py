"""The graph networks against MMAction2 1.2.0: the same weights through our conversion, the same input, the same scores.

``VIDFLOW_PARITY`` names another folder of reference files, of which all that are listed here are compared.
"""

import json
import os
import re
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch

from vidflow.config.loading import load_config, shipped_folder
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.layers.graph_adjacency import edge_adjacency, hop_adjacency
from vidflow.models.weights import load_weights
from vidflow.models.weights.convert import convert
from vidflow.skeletons.layouts import LAYOUTS

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
NTU = {"layout": "nturgb+d"}
# Reference -> our model, its classes, and options that are not the model's own.
CASES = {
    "stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d": ("stgcn", 60, {}),
    "stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-3d": ("stgcn", 60, NTU),
    "stgcn_8xb16-joint-u100-80e_ntu120-xsub-keypoint-2d": ("stgcn", 120, {}),
    "stgcn_8xb16-joint-u100-80e_ntu120-xsub-keypoint-3d": ("stgcn", 120, NTU),
    "stgcnpp_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d": ("stgcnpp", 60, {}),
    "2s-agcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-3d": ("agcn", 60, NTU),
    "ctrgcn-keypoint-2d": ("ctrgcn", 60, {}),
    "ctrgcn-keypoint-3d": ("ctrgcn", 60, NTU),
    "msg3d-keypoint-2d": ("msg3d", 60, {}),
    "msg3d-keypoint-3d": ("msg3d", 60, NTU),
}
GRAPH_CONFIGS = sorted(
    path.stem
    for path in (shipped_folder() / "skeleton").glob("*.toml")
    if path.stem.startswith(("stgcn", "2s-agcn", "ctrgcn", "msg3d"))
)
PRESENT = [name for name in CASES if (FOLDER / f"{name}.json.gz").is_file()]
# Exact parameter counts of MMAction2 1.2.0's models, by our model, classes and layout.
COUNTS = {
    ("stgcn", 60, "coco"): 3_088_704,
    ("stgcn", 60, "nturgb+d"): 3_098_832,
    ("stgcn", 120, "coco"): 3_104_124,
    ("stgcn", 120, "nturgb+d"): 3_114_252,
    ("stgcnpp", 60, "coco"): 1_393_016,
    ("stgcnpp", 60, "nturgb+d"): 1_403_144,
    ("agcn", 60, "coco"): 3_459_344,
    ("agcn", 60, "nturgb+d"): 3_469_520,
    ("ctrgcn", 60, "coco"): 1_436_496,
    ("ctrgcn", 60, "nturgb+d"): 1_446_672,
    ("msg3d", 60, "coco"): 2_975_763,
    ("msg3d", 60, "nturgb+d"): 3_194_595,
}


def test_the_folder_holds_references_for_all_graph_families():
    assert {CASES[name][0] for name in PRESENT} == {"stgcn", "stgcnpp", "agcn", "ctrgcn", "msg3d"}


@pytest.mark.parametrize("name", PRESENT)
def test_scores_equal_the_reference(name, load_reference, tmp_path):
    model_name, num_classes, options = CASES[name]
    reference = load_reference(FOLDER / f"{name}.json.gz")
    model, skeletons = reference.load_into(build_model(model_name, num_classes=num_classes, **options), tmp_path)
    with torch.inference_mode():
        reference.assert_output(model.logits(skeletons)[:, 0])  # [B, V=1, classes] -> [B, classes]


@pytest.mark.parametrize(("name", "num_classes", "layout"), COUNTS)
def test_parameter_counts_equal_the_published_models(name, num_classes, layout):
    with torch.device("meta"):
        model = build_model(name, num_classes=num_classes, layout=layout)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name, num_classes, layout]


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pytest.param("stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d", "coco", marks=pytest.mark.slow),
        pytest.param("msg3d-keypoint-2d", "coco", marks=pytest.mark.slow),
        ("2s-agcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-3d", "nturgb+d"),
    ],
)
def test_a_file_tells_its_model_and_its_layout(name, layout, load_reference, tmp_path):
    reference = load_reference(HERE / f"{name}.json.gz")
    torch.save(reference.checkpoint(), tmp_path / "file.pth")
    report = convert(tmp_path / "file.pth", tmp_path / "file.safetensors")
    assert (report.model, report.options["layout"], report.options["num_classes"]) == (CASES[name][0], layout, 60)
    model = build_model(report.model, **report.options)
    load_weights(model, report.out, mode="strict")
    assert json.dumps(report.as_dict())


def test_a_files_graph_of_windows_is_compared_too(load_reference, tmp_path):
    """MMAction2 stores MS-G3D's constants; the reference leaves out those of windows."""
    reference = load_reference(HERE / "msg3d-keypoint-2d.json.gz")
    state = OrderedDict(reference.state_dict())
    layout = LAYOUTS["coco"]
    torch.testing.assert_close(state["backbone.A"], edge_adjacency(layout))
    for stage in (1, 2, 3):
        for path, frames in ((0, 3), (1, 5)):
            state[f"backbone.gcn3d{stage}.gcn3d.{path}.gcn3d.1.A"] = hop_adjacency(
                layout, num_scales=6, window_frames=frames
            )
    torch.save({"state_dict": state}, tmp_path / "whole.pth")
    load_weights(build_model("msg3d", num_classes=60), tmp_path / "whole.pth", mode="strict")
    state["backbone.gcn3d2.gcn3d.1.gcn3d.1.A"][1, 0, 1] += 0.5
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"1 that the model does not have: backbone\.gcn3d2\.gcn3d\.1\.gcn3d\.1\.A"):
        load_weights(build_model("msg3d", num_classes=60), tmp_path / "other.pth", mode="strict")


@pytest.mark.parametrize("mode", ["strict", "finetune"])
def test_weights_of_other_edges_are_refused(mode, load_reference, tmp_path):
    reference = load_reference(HERE / "stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d.json.gz")
    torch.save(reference.checkpoint(), tmp_path / "file.pth")
    edges = [list(edge) for edge in LAYOUTS["coco"].inward if edge != (4, 2)] + [[4, 0]]
    model = build_model("stgcn", num_classes=60, layout={"num_keypoints": 17, "edges": edges})
    with pytest.raises(WeightsError, match=r"10 that the model does not have: backbone\.gcn\.0\.gcn\.A"):
        load_weights(model, tmp_path / "file.pth", mode=mode)


def test_weights_of_another_number_of_keypoints_are_refused(load_reference, tmp_path):
    reference = load_reference(HERE / "ctrgcn-keypoint-2d.json.gz")
    torch.save(reference.checkpoint(), tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=r"adjacency is \[3, 17, 17\] in the file and \[3, 25, 25\] in the model"):
        load_weights(build_model("ctrgcn", num_classes=60, **NTU), tmp_path / "file.pth", mode="finetune")


def test_a_file_of_an_unknown_number_of_keypoints_fits_no_model(tmp_path):
    layout = {"num_keypoints": 5, "edges": [[1, 0], [2, 0], [3, 0], [4, 0]]}
    model = build_model("stgcnpp-tiny", num_classes=3, layout=layout)
    torch.save(model.state_dict(), tmp_path / "file.pth")
    with pytest.raises(ConfigError, match="fits none of the models; give --model"):
        convert(tmp_path / "file.pth", tmp_path / "file.safetensors")


def test_the_graph_configs_are_those_of_graph_models():
    models = {name: load_config(name).model.name for name in GRAPH_CONFIGS}
    assert Counter(models.values()) == {"stgcn": 16, "stgcnpp": 12, "agcn": 8, "ctrgcn": 2, "msg3d": 2}
    assert [name for name, model in models.items() if not name.removeprefix("2s-").startswith(model)] == []


@pytest.mark.parametrize("name", GRAPH_CONFIGS)
def test_a_stream_is_the_feature_of_all_its_pipelines(name):
    config = load_config(name)
    stream = re.search(r"-(joint-motion|bone-motion|joint|bone)\b", name)[1].replace("-", "_")
    for pipeline in (config.data.train, config.data.val, config.data.test_pipeline):
        assert pipeline.features == (stream,)
        assert pipeline.layout == config.model.options["layout"]


@pytest.mark.parametrize("name", [name for name in GRAPH_CONFIGS if "msraction3d" not in name])
def test_a_published_config_has_the_published_pipelines_and_schedule(name):
    config, dims = load_config(name), name[-2:]
    for pipeline in (config.data.train, config.data.val, config.data.test_pipeline):
        assert pipeline.sampling.length == 100
        assert pipeline.layout == config.model.options["layout"] == {"2d": "coco", "3d": "nturgb+d"}[dims]
        assert pipeline.normalize.kind == {"2d": "screen", "3d": "body"}[dims]
    assert config.data.test_pipeline.sampling.num_clips == 10
    assert (config.optim.lr, config.optim.weight_decay, config.optim.base_batch) == (0.1, 5e-4, 128)
    assert (config.train.epochs, config.train.batch_size, config.schedule.by) == (80, 16, "step")
