"""PoseC3D and RGBPose-Conv3D: against MMAction2 1.2.0, learning, and what they refuse.

``VIDFLOW_PARITY`` names another folder of reference files, of which all that are listed here are compared.
"""

import os
from pathlib import Path

import pytest
import torch

from vidflow.batch import Batch
from vidflow.config.loading import load_config
from vidflow.errors import ConfigError, WeightsError
from vidflow.models import build_model
from vidflow.models.backbones.rgb_pose import RGBPoseConfig
from vidflow.models.export import export_model, open_exported
from vidflow.models.flops import count_macs
from vidflow.models.weights import load_weights
from vidflow.models.weights.convert import convert

HERE = Path(__file__).parents[1] / "data" / "parity"
FOLDER = Path(os.environ.get("VIDFLOW_PARITY", HERE))
# Config, which is the reference's name -> parameters.
COUNTS = {
    "slowonly_r50_8xb16-u48-240e_gym-keypoint": 2_044_867,
    "slowonly_r50_8xb16-u48-240e_gym-limb": 2_044_867,
    "slowonly_r50_8xb16-u48-240e_ntu60-xsub-keypoint": 2_024_860,
    "slowonly_r50_8xb16-u48-240e_ntu60-xsub-limb": 2_024_860,
    "slowonly_kinetics400-pretrained-r50_8xb16-u48-120e_hmdb51-split1-keypoint": 3_029_523,
    "slowonly_kinetics400-pretrained-r50_8xb16-u48-120e_ucf101-split1-keypoint": 3_055_173,
    "slowonly_r50_8xb32-u48-240e_k400-keypoint": 3_208_560,
    "rgbpose_conv3d": 36_147_928,
}
MMACTION2_LIMBS = [
    (0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15),
    (6, 12), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (11, 12),
]  # fmt: skip
POSE = [name for name in COUNTS if name.startswith("slowonly") and (FOLDER / f"{name}.json.gz").is_file()]


def configured(name):
    """The model of a shipped config."""
    config = load_config(name)
    return build_model(config.model.name, num_classes=config.model.num_classes, **config.model.options)


def test_the_folder_holds_references_for_both_sizes():
    assert {load_config(name).model.name for name in POSE} == {"posec3d-r50", "posec3d-r50-k400"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if "ntu60" in name else pytest.mark.slow) for name in POSE]
)
def test_scores_equal_the_reference(name, load_reference, tmp_path):
    reference = load_reference(FOLDER / f"{name}.json.gz")
    model, maps = reference.load_into(configured(name), tmp_path)
    with torch.inference_mode():
        reference.assert_output(model.logits(maps)[:, 0])  # [B, V=1, K] -> [B, K]


def test_scores_of_both_streams_equal_the_reference(load_reference, tmp_path):
    reference = load_reference(FOLDER / "rgbpose_conv3d.json.gz")
    model, clips = reference.load_into(build_model("rgbposeconv3d-r50", num_classes=60), tmp_path)
    maps = reference.input(1).abs().to(clips.dtype)
    with torch.inference_mode():
        scores = model.stream_logits(clips, maps)
    for stream, expected in reference.values["outputs"].items():
        values = torch.tensor(expected["values"], dtype=torch.float64)
        assert len(values) == 120
        found = scores[stream].flatten()[:: expected["stride"]]
        torch.testing.assert_close(found, values, rtol=0, atol=2e-5 * max(1.0, expected["std"]))


@pytest.mark.parametrize("name", COUNTS)
def test_configs_have_the_published_models_parameter_count(name):
    with torch.device("meta"):
        assert sum(p.numel() for p in configured(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", [name for name in COUNTS if name != "rgbpose_conv3d"])
def test_pose_configs_have_the_published_settings(name):
    config, small = load_config(name), "pretrained" in name
    data, k400 = config.data, "k400-keypoint" in name
    for pipeline in (data.train, data.val, data.test_pipeline):
        heatmap = pipeline.heatmap
        assert (heatmap.sigma, heatmap.use_scores, pipeline.compact.ratio, pipeline.sampling.length) == (
            0.6,
            True,
            1.0,
            48,
        )
        assert heatmap.kind == ("limbs" if name.endswith("limb") else "keypoints")
        assert (list(heatmap.limbs) if heatmap.limbs else None) == (MMACTION2_LIMBS if name.endswith("limb") else None)
    assert (data.train.size, data.val.size) == (((48, 48), (56, 56)) if small else ((56, 56), (64, 64)))
    assert (data.train.short_side, data.train.crop.area, data.train.flip) == (64, (0.56, 1.0), 0.5)
    assert data.test_pipeline.crop.kind == ("full" if k400 else "center")
    assert (data.test_pipeline.sampling.num_clips, data.test_pipeline.heatmap.twice) == (10, True)
    assert not data.train.heatmap.twice
    assert not data.val.heatmap.twice
    assert (config.optim.lr, config.optim.weight_decay) == (
        0.01 if small else 0.4 if k400 else 0.2,
        1e-4 if k400 else 3e-4,
    )
    assert (config.optim.options, config.optim.clip_norm) == ({"momentum": 0.9}, 40)
    assert (config.train.epochs, config.train.batch_size * 8) == (120 if small else 240, config.optim.base_batch)
    assert config.schedule.kind == ("multi_step" if small else "cosine")


def heatmap_batch(count, *, views=1, labels=None, seed=0):
    """17 heatmaps of 4 frames of 16 x 16 pixels."""
    generator = torch.Generator().manual_seed(seed)
    return batch_of({"clips": torch.rand(count, views, 17, 4, 16, 16, generator=generator)}, count, labels)


def pair_batch(count, *, views=1, labels=None, seed=0):
    """2 frames of 32 x 32 pixels, and 8 heatmaps of a quarter of that."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {
        "clips": torch.randn(count, views, 3, 2, 32, 32, generator=generator),
        "heatmaps": torch.rand(count, views, 17, 8, 8, 8, generator=generator),
    }
    return batch_of(inputs, count, labels)


def batch_of(inputs, count, labels):
    return Batch(
        ids=[str(i) for i in range(count)],
        indices=torch.arange(count),
        inputs=inputs,
        targets={"labels": torch.zeros(count, dtype=torch.int64) if labels is None else labels},
        padding=torch.zeros(count, dtype=torch.bool),
    )


@pytest.fixture(params=["posec3d-tiny", "rgbposeconv3d-tiny"])
def case(request):
    """A model of 3 classes, and what makes batches for it."""
    torch.manual_seed(0)
    model = build_model(request.param, num_classes=3, dropout=0.0)
    return model, heatmap_batch if request.param == "posec3d-tiny" else pair_batch


def test_steps_lower_the_loss_and_reach_every_parameter(case):
    model, make = case
    batch = make(3, labels=torch.tensor([0, 1, 2]))
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
    losses, reached = [], set()
    for _ in range(4):  # blocks that start as the identity learn inside from the second step on
        loss = sum(model.loss(batch).values())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        reached |= {key for key, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    assert losses[3] < losses[0], losses
    assert reached == {key for key, _ in model.named_parameters()}


@torch.inference_mode()
def test_samples_and_views_do_not_see_each_other(case):
    model, make = case
    whole = make(2, views=2)
    part = batch_of({name: value[1:, 1:] for name, value in whole.inputs.items()}, 1, None)
    scores = model.eval()(whole)
    assert list(scores.shape) == [2, 2, 3]
    torch.testing.assert_close(scores[1:, 1:], model(part), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_predictions_do_not_depend_on_how_many_views_run_at_once(case):
    model, make = case
    batch, name = make(3, views=2), "posec3d-tiny" if case[1] is heatmap_batch else "rgbposeconv3d-tiny"
    few = build_model(name, num_classes=3, dropout=0.0, max_views=4).eval()
    few.load_state_dict(model.state_dict())
    expected = model.eval().predict(batch).scores
    torch.testing.assert_close(few.predict(batch).scores, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(expected.sum(dim=1), torch.ones(3))


@torch.inference_mode()
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0), (0.0, 2.0)])
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_prediction_is_the_weighted_mean_of_both_streams(weights, multi_label):
    torch.manual_seed(0)
    model = build_model(
        "rgbposeconv3d-tiny", num_classes=3, stream_weights=weights, multi_label=multi_label, dropout=0.0
    ).eval()
    batch = pair_batch(2, views=2)
    streams = model.stream_logits(batch.clips, batch.inputs["heatmaps"])
    probabilities = [scores.sigmoid() if multi_label else scores.softmax(-1) for scores in streams.values()]
    expected = sum(w * p for w, p in zip(weights, probabilities, strict=True)).mean(dim=1) / sum(weights)
    torch.testing.assert_close(model.predict(batch).scores, expected)


def test_losses_of_the_streams_are_weighted():
    torch.manual_seed(0)
    model = build_model("rgbposeconv3d-tiny", num_classes=3, loss_weights=(0.5, 2.0), dropout=0.0).eval()
    batch = pair_batch(2, labels=torch.tensor([1, 2]))
    streams = model.stream_logits(batch.clips, batch.inputs["heatmaps"])
    losses = model.loss(batch)
    assert set(losses) == {"rgb_loss", "pose_loss"}
    for name, weight in (("rgb", 0.5), ("pose", 2.0)):
        expected = weight * torch.nn.functional.cross_entropy(streams[name][:, 0], batch.labels)
        torch.testing.assert_close(losses[f"{name}_loss"], expected)


def test_dropped_paths_cut_the_streams_apart_in_training_only():
    torch.manual_seed(0)
    model = build_model("rgbposeconv3d-tiny", num_classes=3, drop_paths=(1.0, 1.0), dropout=0.0)
    batch = pair_batch(2)
    clips, maps = batch.clips, batch.inputs["heatmaps"]
    model.train()
    first, second = model.stream_logits(clips, maps), model.stream_logits(clips, maps + 1)
    torch.testing.assert_close(first["rgb"], second["rgb"])
    assert not torch.allclose(first["pose"], second["pose"])
    (first["rgb"].sum() + first["pose"].sum()).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
    model.eval()
    assert not torch.allclose(model.stream_logits(clips, maps)["rgb"], model.stream_logits(clips, maps + 1)["rgb"])


@pytest.mark.parametrize(("ending", "to"), [("pt2", "torch"), ("onnx", "onnx")])
def test_a_model_of_two_inputs_is_exported(ending, to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxscript", reason="needs vidflow[onnx]")
        pytest.importorskip("onnxruntime", reason="needs vidflow[onnx]")
    torch.manual_seed(0)
    model, out = build_model("rgbposeconv3d-tiny", num_classes=3), tmp_path / f"model.{ending}"
    shapes = model.input_shapes((3, 2, 32, 32))
    assert shapes == {"clips": (3, 2, 32, 32), "heatmaps": (17, 8, 8, 8)}
    assert export_model(model, out, to=to, shapes=shapes, about={}) < 1e-4
    batch = pair_batch(3, views=2)
    with torch.no_grad():
        torch.testing.assert_close(open_exported(out)(batch.inputs), model(batch), rtol=1e-4, atol=1e-5)


def test_multiply_adds_of_both_streams_are_counted():
    with torch.device("meta"):
        model = build_model("rgbposeconv3d-r50", num_classes=60)
        pose = build_model("posec3d-r50", num_classes=60)
    both = count_macs(model, (3, 8, 224, 224)).by_module
    assert both["backbone.pose.conv1"] * 48 == count_macs(pose, (17, 48, 56, 56)).by_module["backbone.conv1"] * 32
    assert both["backbone.rgb"] > both["backbone.pose"] > 0


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("slowonly_r50_8xb16-u48-240e_ntu60-xsub-keypoint", "posec3d-r50"),
        ("slowonly_kinetics400-pretrained-r50_8xb16-u48-120e_hmdb51-split1-keypoint", "posec3d-r50-k400"),
        ("rgbpose_conv3d", "rgbposeconv3d-r50"),
    ],
)
def test_files_tell_which_model_they_are_of(config, name, load_reference, tmp_path):
    torch.save(load_reference(HERE / f"{config}.json.gz").checkpoint(), tmp_path / "a.pth")
    report = convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert report.model == name
    assert report.options["num_classes"] == (51 if "hmdb51" in config else 60)
    assert report.left_out == ()


def joined_streams(*connections):
    """A model, and its tensors without those of connections other than the named ones."""
    torch.manual_seed(0)
    model = build_model("rgbposeconv3d-tiny", num_classes=3)
    state = model.state_dict()
    return model, {key: state[key] for key in state if ".to_" not in key or key.startswith(connections)}


def test_training_starts_from_two_joined_streams_with_fresh_connections(tmp_path):
    whole, state = joined_streams()
    torch.save({"state_dict": state}, tmp_path / "init.pth")
    torch.manual_seed(1)
    model = build_model("rgbposeconv3d-tiny", num_classes=3)
    fresh = {key: value.clone() for key, value in model.state_dict().items() if ".to_" in key}
    report = load_weights(model, tmp_path / "init.pth", mode="finetune")
    # A convolution each, and four tensors of BatchNorm towards the heatmaps.
    assert len(report.missing) == 12
    assert set(report.replaced) == set(fresh)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, fresh.get(key, whole.state_dict()[key]), rtol=0, atol=0)
    with pytest.raises(WeightsError, match=r"12 missing: backbone\.to_rgb\.0\.weight"):
        load_weights(model, tmp_path / "init.pth", mode="strict")


@pytest.mark.parametrize("connections", ["backbone.to_rgb.0.", "backbone.to_rgb.", "backbone.to_pose."])
def test_a_file_with_only_some_connections_is_refused(connections, tmp_path):
    model, state = joined_streams(connections)
    torch.save({"state_dict": state}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"\d missing: backbone\.to_"):
        load_weights(model, tmp_path / "part.pth", mode="finetune")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_weights": (1.0,)}, r"loss_weights \(\[1\.0\]\) must be two numbers"),
        ({"stream_weights": (0, 0)}, "stream_weights must not both be 0"),
        ({"drop_paths": (0.5, 1.5)}, r"drop_paths \(\[0\.5, 1\.5\]\) must lie in"),
        ({"stream_weights": (-1, 2)}, "none negative"),
        ({"pose_channels": 0}, r"pose_channels \(0\)"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_model("rgbposeconv3d-tiny", num_classes=3, **options)


@pytest.mark.parametrize(("kernel", "alpha"), [(4, 4), (3, 4), (7, 0)])
def test_connections_that_do_not_fit_are_refused(kernel, alpha):
    with pytest.raises(ValueError, match=r"fusion_kernel \(\d\) must be odd"):
        RGBPoseConfig(fusion_kernel=kernel, alpha=alpha)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heatmaps": torch.rand(1, 1, 17, 6, 8, 8)}, "2 frames of 32x32 pixels need 8 heatmaps of 8x8, not 6 of 8x8"),
        ({"heatmaps": torch.rand(1, 1, 17, 8, 9, 8)}, "need 8 heatmaps of 8x8, not 8 of 9x8"),
        ({"heatmaps": torch.rand(1, 1, 16, 8, 8, 8)}, r"heatmaps must be \[1, 1, 17, T, H, W\]"),
        ({"heatmaps": torch.rand(1, 2, 17, 8, 8, 8)}, r"heatmaps must be \[1, 1, 17, T, H, W\]"),
        ({"clips": torch.rand(1, 1, 4, 2, 32, 32)}, r"clips must be \[B, V, 3, T, H, W\]"),
    ],
)
def test_inputs_that_do_not_fit_together_are_refused(change, message):
    batch = pair_batch(1)
    with pytest.raises(ValueError, match=message):
        build_model("rgbposeconv3d-tiny", num_classes=3)(batch_of({**batch.inputs, **change}, 1, None))


def test_a_batch_without_heatmaps_names_the_pipeline():
    batch = pair_batch(1)
    with pytest.raises(ValueError, match="no heatmaps; use a pipeline of kind = 'rgb_pose'"):
        build_model("rgbposeconv3d-tiny", num_classes=3).loss(batch_of({"clips": batch.clips}, 1, None))


def test_heatmaps_of_another_number_of_keypoints_are_refused_by_posec3d():
    with pytest.raises(ValueError, match=r"clips must be \[B, V, 17, T, H, W\], not \[1, 1, 3, 4, 16, 16\]"):
        build_model("posec3d-tiny", num_classes=3).logits(torch.rand(1, 1, 3, 4, 16, 16))
